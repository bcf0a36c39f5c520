//! The consumer loop: reads a stream as one consumer of a group and hands each entry to a handler. Touches that group.
//!
//! An entry is acknowledged after its effect is stored. Killed at any point, it comes again: to this consumer when it
//! starts under its old name, else to a peer that claims what has been idle for too long. So handlers must accept an
//! entry twice, and entries in any order.
//!
//! Every delivery is counted by Redis before the handler sees the entry, so that one that kills its process is caught
//! too: delivered too often, it goes to the dead letters unhandled. A consumer that ends hands over what it still has,
//! which a peer then takes at its next look, with the count it had.
//!
//! [`run`] handles each entry by itself; [`run_batches`] handles together what one call brought, for handlers that save
//! round trips by it. All else is the same loop.

mod batch;
mod claim;
mod contact;
mod drain;
mod entry;
mod handling;
mod hold;
mod read;
mod recover;
mod renew;
mod work;

pub use entry::{Entry, Fields};

use handling::{Singly, Together};

use crate::connection::Client;
use crate::group::StartFrom;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The most entries taken with one call.
pub const LARGEST_BATCH: usize = 64;
/// The delivery from which an entry is handled alone, not in a batch. An entry that fails its batch as a whole, by a panic,
/// would else take all of it to the dead letters; it does so where fewer deliveries are permitted.
pub const ALONE_FROM: u64 = 3;

/// How to consume one stream. An own and a foreign stream of an ACL user need separate calls, so each has its own loop.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The stream.
    pub key: String,
    /// The group.
    pub group: String,
    /// This consumer's name: the pod's. No two live consumers of a group may share one.
    pub consumer: String,
    /// How many entries are handled at once, in batches or not; at least 1.
    pub concurrency: usize,
    /// Idle for so long, a pending entry is taken from whoever holds it. Entries in hand are renewed each third of it.
    /// After an outage of half of it or more, nothing is taken for as long again, so that holders renew first.
    pub claim_min_idle: Duration,
    /// How often idle entries are looked for.
    pub claim_interval: Duration,
    /// How long a read blocks, at most 2 s. No longer than `claim_interval` or a quarter of
    /// `claim_min_idle` is used.
    pub block: Duration,
    /// How long entries in hand may take to finish after shutdown was asked for. To hand over the rest may then take the
    /// client's response timeout and 5 s more.
    pub drain: Duration,
    /// Create the group when it is missing. None waits for someone else to do so.
    pub ensure: Option<StartFrom>,
    /// How often an entry may be delivered; found to have been delivered more often, it is poison and not handled.
    /// 0 permits any number.
    pub max_deliveries: u32,
    /// Move poison and rejected entries to the dead letters. Otherwise they are left pending, for somebody else to move.
    pub dead_letters: bool,
    /// Delete the consumer from the group at the end, when nothing is pending under its name.
    pub leave: bool,
}

impl Settings {
    /// The defaults: claim after 60 s, look each second, block 2 s, drain 30 s, wait for the group, 5 deliveries,
    /// then the dead letters, leave at the end.
    pub fn new(key: impl Into<String>, group: impl Into<String>, consumer: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            group: group.into(),
            consumer: consumer.into(),
            concurrency: 16,
            claim_min_idle: Duration::from_mins(1),
            claim_interval: Duration::from_secs(1),
            block: Duration::from_secs(2),
            drain: Duration::from_secs(30),
            ensure: None,
            max_deliveries: 5,
            dead_letters: true,
            leave: true,
        }
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its effect is stored, or it needs none: acknowledge it.
    Done,
    /// Leave it pending. It is delivered again, to any consumer, once it has been idle for `claim_min_idle`, or when this
    /// consumer ends.
    Retry,
    /// Keep it in hand and in its slot, and handle it again after this time. Counts as no delivery: for a dependency
    /// that is away for a moment. Shutdown ends the wait and hands the entry over. Those of one batch are handled again
    /// together, after the longest of their times.
    RetryAfter(Duration),
    /// It can never be handled: move it to the dead letters at once, with this reason, a fixed word such as `malformed`.
    Reject(&'static str),
}

/// Handles entries. A handler that panics leaves its entry pending.
pub trait Handler: Send + Sync + 'static {
    /// Stores the effect of `entry`. May be called with the same entry again, and at the same time in another process.
    fn handle(&self, entry: &Entry) -> impl Future<Output = Outcome> + Send;
}

/// Handles together what one read, claim or look at its own brought. A handler that panics leaves all of it pending.
pub trait BatchHandler: Send + Sync + 'static {
    /// Stores the effects of `entries`, at least one and each another, and answers an outcome for each in their order.
    /// One without an outcome is left pending, as with [`Outcome::Retry`]. Entries may come again, in other company, and at
    /// the same time in another process. Poison is not among them, and from [`ALONE_FROM`] on an entry comes alone.
    fn handle(&self, entries: &[Entry]) -> impl Future<Output = Vec<Outcome>> + Send;
}

/// What a loop has done since it started; for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries delivered for the first time.
    pub delivered: AtomicU64,
    /// Entries taken over because they had been idle, or found again after a restart.
    pub claimed: AtomicU64,
    /// Entries acknowledged after their handler was done.
    pub done: AtomicU64,
    /// Entries left pending by their handler.
    pub retried: AtomicU64,
    /// Entries moved to the dead letters.
    pub buried: AtomicU64,
    /// Entries marked for peers to take at once.
    pub handed_over: AtomicU64,
    /// Entries that had been deleted from the stream while pending, and were let go.
    pub deleted: AtomicU64,
    /// Failed Redis calls.
    pub failures: AtomicU64,
    /// Entries in hand now.
    pub in_hand: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, number: usize) {
        counter.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// How a loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Entries that did not finish within the drain time. They were handed over.
    pub unfinished: usize,
}

/// Consumes until `shutdown`, then finishes what is in hand, hands over the rest and returns. Never ends for an error:
/// whatever Redis does, it is tried again, with back-off. Aborting the task drops what is in hand, as a kill would.
///
/// Commands used on the stream: XREADGROUP, XACK, XCLAIM, XPENDING, EVAL; XADD on the dead letters, and
/// XGROUP DELCONSUMER to leave. Without the last two the loop works on: poison stays pending, the consumer's name stays.
/// With `ensure` also what [`group::ensure`](crate::group::ensure) uses.
pub async fn run<H: Handler>(
    client: Client,
    settings: Settings,
    handler: Arc<H>,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) -> Drained {
    read::Reader::new(client, settings, Singly(handler), counters, shutdown)
        .run()
        .await
}

/// As [`run`], with what one call brought handled together, in one task, and acknowledged together. While a batch is being
/// handled, others are read into the slots that are left: with `concurrency` at [`LARGEST_BATCH`] or less, a full batch
/// takes them all.
///
/// Commands used: as [`run`].
pub async fn run_batches<H: BatchHandler>(
    client: Client,
    settings: Settings,
    handler: Arc<H>,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) -> Drained {
    read::Reader::new(client, settings, Together(handler), counters, shutdown)
        .run()
        .await
}
