//! A batch's way through its handler to the acknowledgement, or to the dead letters.

use super::batch::Batch;
use super::entry::Entry;
use super::handling::Handling;
use super::hold::Held;
use super::{Counters, Settings};
use crate::back_off::BackOff;
use crate::connection::Shared;
use crate::dead_letter::{self, Buried, TOO_MANY_DELIVERIES};
use crate::error::Class;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What every entry of a loop is handled with.
#[derive(Debug)]
pub(super) struct Bench<H> {
    pub(super) shared: Shared,
    pub(super) settings: Arc<Settings>,
    pub(super) handling: H,
    pub(super) counters: Arc<Counters>,
    pub(super) shutdown: CancellationToken,
}

impl<H: Handling> Bench<H> {
    /// Handles a batch until each entry is done or given back. What keeps them in hand goes when this ends, even by a panic.
    pub(super) async fn work(self: Arc<Self>, mut batch: Batch) {
        loop {
            let outcomes = self.handling.handle(batch.entries()).await;
            let settled = batch.settle(outcomes);
            for held in settled.left {
                self.leave(held);
            }
            self.acknowledge(settled.done).await;
            for (held, reason) in settled.rejected {
                self.give_up(held, reason).await;
            }
            if settled.again.is_empty() {
                return;
            }
            let wait = tokio::time::sleep(settled.wait);
            if self.shutdown.run_until_cancelled(wait).await.is_none() {
                Counters::add(&self.counters.retried, settled.again.len());
                return;
            }
            batch = settled.again;
        }
    }

    /// Whether its deliveries, this one included, are more than permitted. One that ended its process each time was
    /// counted each time, and is caught here before it does so again.
    pub(super) fn is_poison(&self, entry: &Entry) -> bool {
        let permitted = u64::from(self.settings.max_deliveries);
        permitted > 0 && entry.delivery_count > permitted
    }

    /// Poison is not handled.
    pub(super) async fn put_aside(self: Arc<Self>, held: Held) {
        self.give_up(held, TOO_MANY_DELIVERIES).await;
    }

    fn leave(&self, held: Held) {
        self.counters.retried.fetch_add(1, Ordering::Relaxed);
        held.leave();
    }

    /// Moves an entry to the dead letters. Where that is not wanted or not permitted, it stays pending and unhandled.
    async fn give_up(&self, held: Held, reason: &'static str) {
        let (settings, id) = (&self.settings, held.id());
        if !settings.dead_letters {
            tracing::warn!(stream = settings.key, entry = %id, reason, "given up; left pending");
            return self.leave(held);
        }
        let mut back_off = BackOff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            match dead_letter::bury(
                &self.shared,
                &settings.key,
                &settings.group,
                &settings.consumer,
                id,
                reason,
            )
            .await
            {
                Ok(Buried::Yes) => {
                    tracing::warn!(stream = settings.key, entry = %id, reason, "moved to the dead letters");
                    self.counters.buried.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Ok(Buried::Gone) => {
                    self.counters.deleted.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Ok(Buried::NotOurs) => return,
                Err(error) => {
                    self.counters.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(stream = settings.key, entry = %id, reason, %error, "not moved to the dead letters");
                    if !matches!(error.class(), Class::Unreachable | Class::NotReady) {
                        return self.leave(held);
                    }
                    tokio::time::sleep(back_off.wait()).await;
                }
            }
        }
    }

    /// The effects are stored, so the acknowledgement is tried until it succeeds; only the end of the drain stops it.
    async fn acknowledge(&self, done: Vec<Held>) {
        if done.is_empty() {
            return;
        }
        let ids: Vec<String> = done.iter().map(|held| held.id().to_string()).collect();
        let mut back_off = BackOff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let mut command = redis::cmd("XACK");
            command.arg(&self.settings.key).arg(&self.settings.group).arg(&ids);
            match command.exec_async(&mut self.shared.repeating()).await {
                Ok(()) => {
                    Counters::add(&self.counters.done, ids.len());
                    return;
                }
                Err(error) => {
                    self.counters.failures.fetch_add(1, Ordering::Relaxed);
                    let error = crate::Error::from(error);
                    let (stream, entries) = (&self.settings.key, ids.len());
                    tracing::warn!(stream, entries, first = ids[0], %error, "acknowledgement failed; trying on");
                    tokio::time::sleep(back_off.wait()).await;
                }
            }
        }
    }
}
