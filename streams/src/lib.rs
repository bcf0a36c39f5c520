//! Redis Streams for operators and services alike: connections, groups, exact backlog, blocking watch, consumer loop.
//!
//! Touches Redis only. Knows nothing of Kubernetes, shops or orders. Names follow Redis: a *group* reads *streams*,
//! a delivered entry is *pending* until it is acknowledged; *undelivered* entries have not been read by the group;
//! *backlog* is the work that is left, counted once.

mod back_off;
pub mod connection;
pub mod consume;
mod entry_id;
mod error;
pub mod group;
pub mod sample;
pub mod watch;

pub use connection::{Client, Endpoint, Secret, Shared};
pub use entry_id::{EntryId, InvalidEntryId};
pub use error::{Class, Error};
