//! One entry's way through its handler to the acknowledgement, or to the dead letters.

use super::entry::Entry;
use super::hold::Held;
use super::{Counters, Handler, Outcome, Settings};
use crate::back_off::BackOff;
use crate::connection::Shared;
use crate::dead_letter::{self, Buried, TOO_MANY_DELIVERIES};
use crate::entry_id::EntryId;
use crate::error::Class;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What every entry of a loop is handled with.
#[derive(Debug)]
pub(super) struct Bench<H> {
    pub(super) shared: Shared,
    pub(super) settings: Arc<Settings>,
    pub(super) handler: Arc<H>,
    pub(super) counters: Arc<Counters>,
    pub(super) shutdown: CancellationToken,
}

impl<H: Handler> Bench<H> {
    /// Handles `entry` until it is done or given back. `held` and `permit` go when this ends, even by a panic.
    pub(super) async fn work(self: Arc<Self>, entry: Entry, held: Held, permit: OwnedSemaphorePermit) {
        if self.is_poison(&entry) {
            self.give_up(entry.id, TOO_MANY_DELIVERIES, held).await;
            return;
        }
        loop {
            match self.handler.handle(&entry).await {
                Outcome::Done => {
                    self.acknowledge(entry.id).await;
                    break;
                }
                Outcome::Retry => {
                    self.leave(held);
                    return;
                }
                Outcome::Reject(reason) => {
                    self.give_up(entry.id, reason, held).await;
                    return;
                }
                Outcome::RetryAfter(wait) => {
                    let waited = self.shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
                    if waited.is_none() {
                        self.counters.retried.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                }
            }
        }
        drop(held);
        drop(permit);
    }

    /// Whether its deliveries, this one included, are more than permitted. One that ended its process each time was
    /// counted each time, and is caught here before it does so again.
    fn is_poison(&self, entry: &Entry) -> bool {
        let permitted = u64::from(self.settings.max_deliveries);
        permitted > 0 && entry.delivery_count > permitted
    }

    fn leave(&self, held: Held) {
        self.counters.retried.fetch_add(1, Ordering::Relaxed);
        held.leave();
    }

    /// Moves an entry to the dead letters. Where that is not wanted or not permitted, it stays pending and unhandled.
    async fn give_up(&self, id: EntryId, reason: &'static str, held: Held) {
        let settings = &self.settings;
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

    /// The effect is stored, so the acknowledgement is tried until it succeeds; only the end of the drain stops it.
    async fn acknowledge(&self, id: EntryId) {
        let mut back_off = BackOff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let mut command = redis::cmd("XACK");
            command
                .arg(&self.settings.key)
                .arg(&self.settings.group)
                .arg(id.to_string());
            match command.exec_async(&mut self.shared.repeating()).await {
                Ok(()) => {
                    self.counters.done.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(error) => {
                    self.counters.failures.fetch_add(1, Ordering::Relaxed);
                    let error = crate::Error::from(error);
                    tracing::warn!(stream = self.settings.key, entry = %id, %error, "acknowledgement failed; trying on");
                    tokio::time::sleep(back_off.wait()).await;
                }
            }
        }
    }
}
