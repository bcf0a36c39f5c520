//! The shop's rules: money, identifiers, orders, reservations, events, keys, access. Pure: no I/O, no async, and time is
//! passed in (`ids::*::generate` alone reads clock and randomness, for the edges to call).

pub mod access;
pub mod events;
pub mod ids;
pub mod jobs;
pub mod keys;
pub mod lines;
pub mod money;
pub mod order;
pub mod reservation;

/// Milliseconds since the Unix epoch, by the clock of Redis.
pub type UnixMilliseconds = i64;
