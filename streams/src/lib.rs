//! Redis Streams for operators and services alike: connections, groups, exact backlog, blocking watch, consumer loop,
//! hand-over, dead letters, trim.
//!
//! Touches Redis only. Knows nothing of Kubernetes, shops or orders. Names follow Redis: a *group* reads *streams*,
//! a delivered entry is *pending* until it is acknowledged; *undelivered* entries have not been read by the group;
//! *backlog* is the work that is left, counted once. *Handed over* is what a peer may take at once. *Poison* has been
//! delivered more often than is permitted and goes to the *dead letters*.
//!
//! What takes something away (a deletion, a burial, a hand-over, a trim) is one script that first proves it may.

mod back_off;
pub mod connection;
pub mod consume;
pub mod consumer;
pub mod dead_letter;
mod entry_id;
mod error;
pub mod group;
pub mod hand_over;
pub mod sample;
pub mod trim;
pub mod watch;

pub use connection::{Client, Endpoint, Secret, Shared};
pub use entry_id::{EntryId, InvalidEntryId};
pub use error::{Class, Error};
