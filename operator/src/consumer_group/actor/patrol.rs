//! Finding out soon that Redis was emptied: a watch never tells that its stream is gone. No I/O.

use std::time::{Duration, Instant};

use super::{
    super::{cluster::Cluster, tracked::Tracked},
    Actor,
};

/// Between two times that one lost group makes all others due.
const ALARM: Duration = Duration::from_secs(5);

/// What an actor remembers of it.
#[derive(Debug)]
pub(super) struct Patrol {
    /// When one of the groups at rest was last sampled out of its turn, or the actor started.
    sent: Instant,
    /// When a lost group last made all others due.
    alarmed: Option<Instant>,
}

impl Patrol {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            sent: now,
            alarmed: None,
        }
    }
}

impl<C: Cluster> Actor<C> {
    /// When the next of the groups at rest is to be sampled out of its turn; `None` while there is nothing to look after.
    pub(super) fn next_patrol(&self) -> Option<Instant> {
        let now = Instant::now();
        let is_served = self.connection.is_some() && self.outage.lasting(now).is_none();
        if !is_served || !self.groups.values().any(Tracked::is_at_rest) {
            return None;
        }
        Some(self.patrol.sent + self.with.settings.cadence.patrol)
    }

    /// Makes one of the groups at rest due, each in its turn: one sample, however many groups there are.
    pub(super) fn send_patrol(&mut self, now: Instant) {
        if self.next_patrol().is_none_or(|next| next > now) {
            return;
        }
        self.patrol.sent = now;
        let at_rest = self.groups.values_mut().filter(|group| group.is_at_rest());
        if let Some(next) = at_rest.min_by_key(|group| group.due) {
            next.due = next.due.min(now);
        }
    }

    /// A group was lost: what took it may have taken others.
    pub(super) fn alarm(&mut self, now: Instant) {
        let alarmed = self.patrol.alarmed;
        if alarmed.is_none_or(|last| now.duration_since(last) >= ALARM) {
            self.patrol.alarmed = Some(now);
            for group in self.groups.values_mut() {
                group.due = group.due.min(now);
            }
        }
    }
}
