//! When Redis last answered, and whether what is idle may be taken from others. Pure but for the clock and the lock.
//!
//! Idle time grows during an outage too, when no holder can renew. After one long enough to make what is in hand look
//! abandoned, holders come first: nothing is claimed for a while. Else a peer would count a delivery that nobody failed, and
//! handle what its holder still handles.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// However short `claim_min_idle` is, a silence shorter than this is none. A busy machine makes those by itself, an idle Redis
/// ends a block up to 100 ms late, and a loop whose every turn took so long would never claim.
const SHORTEST: Duration = Duration::from_secs(1);

/// Shared by the loop and the renewal: with all slots taken, only the renewal hears from Redis.
#[derive(Clone, Debug)]
pub(super) struct Contact(Arc<Mutex<Silence>>);

impl Contact {
    pub(super) fn new(claim_min_idle: Duration) -> Self {
        Self(Arc::new(Mutex::new(Silence::new(claim_min_idle, Instant::now()))))
    }

    /// Redis did what it was asked.
    pub(super) fn answered(&self) {
        let mut silence = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silence.ended(Instant::now());
    }

    /// Whether what is idle is so because nobody renews it.
    pub(super) fn may_claim(&self) -> bool {
        let silence = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silence.may_claim(Instant::now())
    }
}

#[derive(Debug)]
struct Silence {
    /// A silence this long is an outage, and so long its end is waited out. Half of `claim_min_idle`: holders renew each
    /// third of it, so without an outage it is never so still, and one that makes an entry in hand look abandoned lasts
    /// two thirds of it.
    long: Duration,
    answered: Instant,
    claim_from: Instant,
}

impl Silence {
    fn new(claim_min_idle: Duration, now: Instant) -> Self {
        Self {
            long: (claim_min_idle / 2).max(SHORTEST),
            answered: now,
            claim_from: now,
        }
    }

    fn ended(&mut self, now: Instant) {
        if self.is_long(now) {
            self.claim_from = now + self.long;
        }
        self.answered = now;
    }

    fn is_long(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.answered) >= self.long
    }

    fn may_claim(&self, now: Instant) -> bool {
        !self.is_long(now) && now >= self.claim_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_long_silence_nothing_is_claimed_for_as_long_as_a_silence_is_long() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silence = Silence::new(Duration::from_mins(1), start);
        assert!(silence.may_claim(at(0)) && silence.may_claim(at(29)));
        silence.ended(at(29));
        assert!(silence.may_claim(at(58)), "a short one is none");
        assert!(!silence.may_claim(at(59)), "it may be an outage");
        silence.ended(at(100));
        silence.ended(at(129));
        assert!(!silence.may_claim(at(100)) && !silence.may_claim(at(129)));
        assert!(silence.may_claim(at(130)));
    }
}
