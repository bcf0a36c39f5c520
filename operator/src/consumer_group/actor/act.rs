//! What an actor does with what it has read: decide, scale, report, and set when each group is looked at next.

use std::{sync::Arc, time::Duration, time::Instant};

use jiff::Timestamp;
use rand::RngExt as _;
use shopwright_streams::watch::Watch;

use super::{
    super::{
        assign::Assignment,
        cluster::{Cluster, Failure, Written},
        deletion_cost,
        identity::ObjectKey,
    },
    Actor, hooks, tell,
};
use crate::{
    lease::WriteToken,
    scaling::{self, Decision},
};

/// A scale write that has ended.
pub(super) struct Ended {
    key: ObjectKey,
    target: ObjectKey,
    decision: Decision,
    /// Milliseconds since the epoch of the entry that woke the group.
    woken_by: Option<u64>,
    result: Result<Written, Failure>,
}

fn target_of(assignment: &Assignment) -> ObjectKey {
    ObjectKey::new(&assignment.subject.key.namespace, &assignment.plan.target)
}

impl<C: Cluster> Actor<C> {
    pub(super) fn decide(&mut self, samples: Vec<(ObjectKey, scaling::Sample)>) -> Vec<(ObjectKey, Decision)> {
        let (moment, now) = (self.with.clock.now(), Instant::now());
        let mut decisions = Vec::new();
        for (key, sample) in samples {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            let Some(decision) = group.decide(sample, moment, now) else {
                // Figures of a target that is gone would stay as they were for ever.
                self.with.metrics.forget_group(&key.namespace, &key.name);
                continue;
            };
            let figures = group.metrics(&decision);
            self.with.metrics.group(&key.namespace, &key.name, &figures);
            let is_writing = self.writing.contains(&target_of(&group.assignment));
            if decision.direction().is_some() && group.may_scale(now) && !is_writing {
                decisions.push((key, decision));
            }
        }
        decisions
    }

    /// Starts to write all decisions at once and waits for none: while an API server hangs, other groups must still wake.
    pub(super) fn scale(&mut self, token: &WriteToken, decisions: Vec<(ObjectKey, Decision)>) {
        for (key, decision) in decisions {
            let Some(group) = self.groups.get(&key) else { continue };
            let target = target_of(&group.assignment);
            // Two writes to one target could overtake each other.
            if !self.writing.insert(target.clone()) {
                continue;
            }
            let costs = hooks::before_lowering(group, &decision);
            let woken_by = group.newest_entry(&decision);
            let (cluster, token) = (Arc::clone(&self.with.cluster), token.clone());
            self.writes.spawn(async move {
                if !costs.is_empty() {
                    deletion_cost::write(&*cluster, &token, &target.namespace, &costs).await;
                }
                let result = cluster.scale(&token, &target, decision.desired).await;
                Ended {
                    key,
                    target,
                    decision,
                    woken_by,
                    result,
                }
            });
        }
    }

    /// Takes in a scale write that has ended, and reports its group.
    pub(super) fn scaled(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let Ok(ended) = ended else {
            // A write panicked, and which one is not said. None may be held back for ever.
            self.writing.clear();
            return;
        };
        self.writing.remove(&ended.target);
        let key = &ended.key;
        // The group may be gone, or have another target, or be another of the same name.
        let group = self.groups.get_mut(key);
        let Some(group) = group.filter(|group| target_of(&group.assignment) == ended.target) else {
            return;
        };
        let (decision, now) = (&ended.decision, Timestamp::now());
        let notice = match ended.result {
            Ok(written) => {
                if let Some(direction) = decision.direction() {
                    let reason = decision.cause.reason();
                    self.with.metrics.rescaled(&key.namespace, &key.name, direction, reason);
                }
                let latency = ended.woken_by.map(|entry| since(entry, now));
                if let Some(latency) = latency {
                    self.with.metrics.activated(latency);
                }
                Some(group.scaled(decision, written, now, latency))
            }
            Err(Failure::NotLeader) => None,
            Err(Failure::NotFound) => {
                group.target_gone();
                None
            }
            Err(Failure::Refused(code)) => group.refused(code, decision, Instant::now()),
        };
        if let Some(notice) = notice {
            tell(&self.with, &group.assignment.subject, notice);
        }
        let due = group.due;
        // What is due has changed meanwhile: only the next pass knows what to report.
        if due > Instant::now() {
            self.settle(std::slice::from_ref(key));
            if let Some(group) = self.groups.get_mut(key) {
                group.due = group.due.min(due);
            }
        }
    }

    /// Reports the groups, sets when each is looked at next, and puts those at rest under watch, all in one go.
    pub(super) fn settle(&mut self, keys: &[ObjectKey]) {
        let mut watches = Vec::new();
        for key in keys {
            self.settle_one(key, &mut watches);
        }
        if let Some(connection) = self.connection.as_ref().filter(|_| !watches.is_empty()) {
            connection.watcher.watch_all(watches);
        }
    }

    fn settle_one(&mut self, key: &ObjectKey, watches: &mut Vec<(super::Token, Watch)>) {
        let cadence = self.with.settings.cadence;
        let now = Instant::now();
        let Some(group) = self.groups.get_mut(key) else { return };
        let assignment = &group.assignment;
        // The end of a write is reported with what came of it: one status instead of two.
        if !self.writing.contains(&target_of(assignment))
            && let Some(report) = group.report()
            && !(group.misses() > 0 && (self.with.owner_is_going)(&assignment.subject))
        {
            self.with
                .publisher
                .report(&assignment.subject, report, assignment.round);
        }
        let wait = group.wait(&cadence).mul_f64(rand::rng().random_range(0.9..1.1));
        group.due = now + wait;
        if let Some((_, until)) = self.outage.lasting(now)
            && assignment.plan.policy.fallback().is_none()
        {
            group.due = group.due.max(until);
        }
        let Some(connection) = &self.connection else { return };
        let at_rest = group.is_at_rest();
        for (index, stream) in group.streams.iter_mut().enumerate() {
            let after = stream.last_delivered();
            let token = (key.clone(), index);
            if at_rest && stream.watched_after != Some(after) {
                stream.watched_after = Some(after);
                let key = stream.key.clone();
                watches.push((token, Watch { key, after }));
            } else if !at_rest && stream.watched_after.take().is_some() {
                connection.watcher.unwatch(token);
            }
        }
    }
}

/// From an entry's id to now. Clocks may differ: never negative.
fn since(entry_milliseconds: u64, now: Timestamp) -> Duration {
    let now = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Duration::from_millis(now.saturating_sub(entry_milliseconds))
}
