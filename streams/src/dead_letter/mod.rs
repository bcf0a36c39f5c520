//! Dead letters: entries that were given up, each with the reason, kept beside their stream until somebody replays or
//! drops them. Touches a stream, the group that read it, and the dead letters of the two.
//!
//! A dead letter holds `dead-letter.reason`, `dead-letter.id` (the entry's own id), `dead-letter.deliveries` and
//! `dead-letter.consumer` (who had it last), then the entry's fields, unchanged and in their order. An entry with more than
//! 3,500 fields, which no script can add, has `dead-letter.packed` instead: names and values in turn, as one `MessagePack`
//! list. [`list`] shows and [`replay`] adds the fields themselves.

mod bury;
mod letters;
mod packed;

pub use bury::{Buried, Owners, TOO_MANY_DELIVERIES, bury, bury_left};
pub use letters::{DeadLetter, count, drop, list, replay};

/// The stream of a group's dead letters: `STREAM:dead:GROUP`. It carries the source stream's hash tag.
pub fn key(stream: &str, group: &str) -> String {
    format!("{stream}:dead:{group}")
}
