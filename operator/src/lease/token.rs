//! The right to write, as a value that expires. Touches only this process's monotonic clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// This process is not, or no longer, the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the leader")]
pub struct NotLeader;

#[derive(Debug)]
struct Clock {
    start: Instant,
    /// Milliseconds after `start` until which the current term may write; 0 when there is none.
    deadline: AtomicU64,
    /// Counts the times leadership was won, so that a token of an earlier term stays worthless.
    term: AtomicU64,
}

impl Clock {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whether this process leads; cheap to clone, one for every controller.
#[derive(Clone, Debug)]
pub struct Leadership {
    clock: Arc<Clock>,
    leading: watch::Receiver<bool>,
    /// Kept so that `changed` waits for ever, instead of failing, where leadership never changes.
    _sender: Arc<watch::Sender<bool>>,
}

/// The right to write until its deadline. Check it right before each write.
#[derive(Clone, Debug)]
pub struct WriteToken {
    clock: Arc<Clock>,
    term: u64,
}

impl Leadership {
    /// Leadership that is always held: for one replica without an election.
    pub fn always() -> Self {
        let (writer, leadership) = Writer::new();
        writer.clock.deadline.store(u64::MAX, Ordering::SeqCst);
        writer.sender.send_replace(true);
        leadership
    }

    /// Whether this process leads and may write now.
    pub fn is_leader(&self) -> bool {
        self.token().is_ok()
    }

    /// The right to write in the current term.
    pub fn token(&self) -> Result<WriteToken, NotLeader> {
        let token = WriteToken {
            clock: Arc::clone(&self.clock),
            term: self.clock.term.load(Ordering::SeqCst),
        };
        token.check()?;
        Ok(token)
    }

    /// Waits until leadership has been won or lost since the last call on this clone.
    pub async fn changed(&mut self) {
        if self.leading.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl WriteToken {
    /// Whether writing is still allowed: the same term, before its deadline.
    pub fn check(&self) -> Result<(), NotLeader> {
        let same_term = self.clock.term.load(Ordering::SeqCst) == self.term;
        let in_time = self.clock.now() < self.clock.deadline.load(Ordering::SeqCst);
        if same_term && in_time { Ok(()) } else { Err(NotLeader) }
    }
}

/// The election's side of a [`Leadership`].
#[derive(Debug)]
pub(super) struct Writer {
    clock: Arc<Clock>,
    sender: Arc<watch::Sender<bool>>,
}

impl Writer {
    pub(super) fn new() -> (Self, Leadership) {
        let clock = Arc::new(Clock {
            start: Instant::now(),
            deadline: AtomicU64::new(0),
            term: AtomicU64::new(0),
        });
        let (sender, leading) = watch::channel(false);
        let sender = Arc::new(sender);
        let leadership = Leadership {
            clock: Arc::clone(&clock),
            leading,
            _sender: Arc::clone(&sender),
        };
        (Self { clock, sender }, leadership)
    }

    /// Leadership is ours until `valid_for` after `asked`, the moment before the request that won or renewed it.
    /// True when it was won just now.
    pub(super) fn won(&self, asked: Instant, valid_for: Duration) -> bool {
        let newly = !*self.sender.borrow();
        if newly {
            self.clock.term.fetch_add(1, Ordering::SeqCst);
        }
        let deadline = (asked + valid_for).saturating_duration_since(self.clock.start);
        let deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.clock.deadline.store(deadline, Ordering::SeqCst);
        if newly {
            self.sender.send_replace(true);
        }
        newly
    }

    /// Leadership is gone. True when it had been held.
    pub(super) fn lost(&self) -> bool {
        self.clock.deadline.store(0, Ordering::SeqCst);
        self.sender.send_replace(false)
    }

    /// Time left to write; zero when there is none.
    pub(super) fn remaining(&self) -> Duration {
        Duration::from_millis(
            self.clock
                .deadline
                .load(Ordering::SeqCst)
                .saturating_sub(self.clock.now()),
        )
    }

    pub(super) fn leads(&self) -> bool {
        *self.sender.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn a_token_ends_with_its_deadline_without_anybody_saying_so() {
        let (writer, leadership) = Writer::new();
        assert!(leadership.token().is_err(), "a candidate may not write");
        let an_hour_ago = Instant::now().checked_sub(LONG);
        if let Some(asked) = an_hour_ago {
            writer.won(asked, LONG / 2);
            assert_eq!(
                leadership.token().err(),
                Some(NotLeader),
                "the time counts from before the request"
            );
        }
        writer.won(Instant::now(), LONG);
        assert!(leadership.token().is_ok());
    }

    #[test]
    fn a_token_of_an_earlier_term_stays_worthless() {
        let (writer, leadership) = Writer::new();
        assert!(writer.won(Instant::now(), LONG));
        assert!(!writer.won(Instant::now(), LONG), "a renewal is no new term");
        let old = leadership.token().expect("leads");
        assert!(writer.lost());
        assert_eq!(old.check(), Err(NotLeader));
        writer.won(Instant::now(), LONG);
        assert_eq!(old.check(), Err(NotLeader));
        assert!(leadership.token().is_ok());
    }

    #[test]
    fn without_an_election_one_always_leads() {
        let leadership = Leadership::always();
        assert!(leadership.is_leader());
        assert_eq!(leadership.token().expect("leads").check(), Ok(()));
    }
}
