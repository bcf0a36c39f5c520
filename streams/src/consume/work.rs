//! One entry's way through its handler to the acknowledgement.

use super::entry::Entry;
use super::hold::Held;
use super::{Counters, Handler, Outcome, Settings};
use crate::back_off::BackOff;
use crate::connection::Shared;
use crate::entry_id::EntryId;
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
        loop {
            match self.handler.handle(&entry).await {
                Outcome::Done => {
                    self.acknowledge(entry.id).await;
                    break;
                }
                Outcome::Retry => {
                    self.counters.retried.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Outcome::RetryAfter(wait) => {
                    tokio::select! {
                        () = self.shutdown.cancelled() => {
                            self.counters.retried.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
        drop(held);
        drop(permit);
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
