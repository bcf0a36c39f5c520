//! The end of a consumer: finish what is in hand, hand over the rest, leave the group.

use super::handling::Handling;
use super::read::{Reader, log_panic};
use super::{Counters, Drained};
use crate::back_off::BackOff;
use crate::consumer::{self, Deleted};
use crate::error::{Class, Error};
use crate::hand_over::{Attempted, Own};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// By then the handlers that only waited have given their entries back.
const FIRST_HAND_OVER: Duration = Duration::from_millis(50);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// For the last calls, beyond the drain time and the time that one of them may take to fail.
const LAST_CALLS: Duration = Duration::from_secs(5);

impl<H: Handling> Reader<H> {
    /// What was given back is handed over at once and again each `claim_interval`, not only when the slowest is done.
    pub(super) async fn drain(mut self, mut renewal: JoinSet<()>) -> Drained {
        let deadline = Instant::now() + self.bench.settings.drain;
        let last_calls = self.client.response_timeout() + LAST_CALLS;
        let mut next = Instant::now() + FIRST_HAND_OVER;
        while !self.finished_by(next.min(deadline)).await && Instant::now() < deadline {
            // Tried again at the next turn, and at the end. Not cut short by the deadline: what it marks would not be counted.
            if let Ok(Err(error)) = tokio::time::timeout_at(deadline + last_calls, self.hand_over()).await {
                self.note(&error, "handing over failed; trying again");
            }
            next = Instant::now() + self.bench.settings.claim_interval;
        }
        let unfinished = self.holding.in_hand().len();
        self.tasks.shutdown().await;
        // Ended before the last hand-over, which a renewal would undo.
        renewal.shutdown().await;
        let end = Instant::now().min(deadline) + last_calls;
        if tokio::time::timeout_at(end, self.leave()).await.is_err() {
            tracing::warn!(
                stream = self.bench.settings.key,
                "left without handing over; peers claim what is pending when it is idle"
            );
        }
        Drained { unfinished }
    }

    /// Whether every handler has ended.
    async fn finished_by(&mut self, deadline: Instant) -> bool {
        loop {
            match tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
                Ok(Some(finished)) => log_panic(&self.bench.settings, finished),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Marks what is pending under this consumer's name and not in hand.
    async fn hand_over(&self) -> Result<(), Error> {
        let settings = &self.bench.settings;
        // Before what was left: an entry that its handler leaves between the two is then in both, and kept.
        let keep = self.holding.in_hand();
        let mut attempted = self.holding.left();
        let earlier = self.recovery.of_earlier_process();
        let earlier_is_known = earlier.is_some();
        attempted.extend(earlier.into_iter().flatten());
        let own = Own {
            key: &settings.key,
            group: &settings.group,
            consumer: &settings.consumer,
            claim_min_idle: settings.claim_min_idle,
            keep: &keep,
            attempted: if earlier_is_known {
                Attempted::Those(&attempted)
            } else {
                Attempted::All
            },
        };
        let handed_over = own.hand_over(&self.bench.shared, usize::MAX).await?;
        let counter = &self.bench.counters.handed_over;
        counter.fetch_add(handed_over.entries, Ordering::Relaxed);
        Ok(())
    }

    async fn leave(&self) {
        let mut back_off = BackOff::new(FIRST_WAIT, LONGEST_WAIT);
        while let Err(error) = self.hand_over().await {
            match error.class() {
                // Nothing is pending in a group that is gone, and no permission comes by waiting.
                Class::NoGroup => return,
                Class::Denied | Class::WrongType => {
                    self.note(
                        &error,
                        "handing over is refused; peers claim what is pending when it is idle",
                    );
                    break;
                }
                _ => self.note(&error, "handing over failed; trying again"),
            }
            tokio::time::sleep(back_off.wait()).await;
        }
        let settings = &self.bench.settings;
        if !settings.leave {
            return;
        }
        let deleted =
            consumer::delete_if_idle(&self.bench.shared, &settings.key, &settings.group, &settings.consumer).await;
        match deleted {
            Ok(Deleted::Yes | Deleted::Unknown) => {}
            Ok(Deleted::Holds(entries)) => {
                tracing::info!(
                    stream = settings.key,
                    entries,
                    "left with entries handed over; the name stays"
                );
            }
            // A name that stays is no harm, so a missing permission is no failure.
            Err(error) => tracing::info!(stream = settings.key, %error, "the consumer's name stays in the group"),
        }
    }

    fn note(&self, error: &Error, what: &'static str) {
        Counters::add(&self.bench.counters.failures, 1);
        tracing::warn!(stream = self.bench.settings.key, group = self.bench.settings.group, %error, "{what}");
    }
}
