//! One task for one Redis: samples its groups together, waits for news of those at rest, decides, scales.
//! Touches that Redis and, through [`Cluster`], the targets. A Redis that is slow or dead delays nobody else's groups.

mod read;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use jiff::Timestamp;
use rand::RngExt as _;
use shopwright_streams::{
    Client,
    connection::Vet,
    watch::{self, Watch, Watcher},
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, info, info_span, warn};

use super::{
    assign::{Assignments, Subject},
    cluster::{Cluster, Credentials, Failure, Notice},
    identity::{Clock, EndpointKey, ObjectKey},
    publish::Publisher,
    tracked::Tracked,
};
use crate::{
    lease::{Leadership, WriteToken},
    metrics::{Controller, Metrics, Outcome},
    scaling::{self, Decision},
};

/// Times of an actor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Between two samples of a group with work or replicas.
    pub(super) active: Duration,
    /// Between two samples of a group at rest, which is watched as well.
    pub(super) at_rest: Duration,
    /// After a sample that brought nothing.
    pub(super) retry: Duration,
    /// The same, once credentials were refused often: asking again and again fills Redis's log.
    pub(super) retry_denied: Duration,
    /// Between two readings of the Secret.
    pub(super) resync: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            active: Duration::from_secs(1),
            at_rest: Duration::from_secs(30),
            retry: Duration::from_secs(1),
            retry_denied: Duration::from_secs(15),
            resync: Duration::from_mins(10),
        }
    }
}

/// Samples whose time comes within this are taken together.
const TOGETHER: Duration = Duration::from_millis(100);

/// What an actor works with.
pub(super) struct Surroundings<C> {
    pub(super) cluster: Arc<C>,
    pub(super) publisher: Publisher,
    pub(super) leadership: Leadership,
    pub(super) metrics: Arc<Metrics>,
    pub(super) vet: Vet,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    /// Whether the owner of a group is going, so that what happens to its Redis is no news.
    pub(super) owner_is_going: Arc<dyn Fn(&Subject) -> bool + Send + Sync>,
}

impl<C> Clone for Surroundings<C> {
    fn clone(&self) -> Self {
        Self {
            cluster: Arc::clone(&self.cluster),
            publisher: self.publisher.clone(),
            leadership: self.leadership.clone(),
            metrics: Arc::clone(&self.metrics),
            vet: self.vet.clone(),
            clock: self.clock,
            settings: self.settings,
            owner_is_going: Arc::clone(&self.owner_is_going),
        }
    }
}

/// A watch's name: the group and the number of its stream.
type Token = (ObjectKey, usize);

struct Connection {
    client: Client,
    watcher: Watcher<Token>,
    events: UnboundedReceiver<watch::Event<Token>>,
    credentials: Option<Credentials>,
    /// When the Secret is read again.
    resync: Instant,
}

/// The actor of one Redis.
pub(super) struct Actor<C> {
    key: EndpointKey,
    with: Surroundings<C>,
    groups: BTreeMap<ObjectKey, Tracked>,
    connection: Option<Connection>,
}

impl<C: Cluster> Actor<C> {
    pub(super) fn new(key: EndpointKey, with: Surroundings<C>) -> Self {
        Self {
            key,
            with,
            groups: BTreeMap::new(),
            connection: None,
        }
    }

    /// Runs until `stop`, or until nothing is assigned to it any more.
    pub(super) async fn run(
        mut self,
        mut assignments: tokio::sync::watch::Receiver<Arc<Assignments>>,
        stop: CancellationToken,
    ) {
        let first = Arc::clone(&assignments.borrow_and_update());
        self.adopt(&first);
        loop {
            let until_due = self.until_due();
            tokio::select! {
                () = stop.cancelled() => break,
                changed = assignments.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let newest = Arc::clone(&assignments.borrow_and_update());
                    self.adopt(&newest);
                }
                event = next_event(&mut self.connection) => self.heard(event),
                () = tokio::time::sleep(until_due) => {}
            }
            if self.until_due().is_zero() {
                // Cancelled between two writes, never within one: a write that was sent may have happened.
                self.pass(&stop).await;
            }
        }
        for key in self.groups.keys() {
            self.with.metrics.forget_group(&key.namespace, &key.name);
        }
    }

    fn until_due(&self) -> Duration {
        let now = Instant::now();
        let due = self
            .groups
            .values()
            .map(|group| group.due.saturating_duration_since(now))
            .min();
        due.unwrap_or(self.with.settings.at_rest)
    }

    fn adopt(&mut self, assignments: &Assignments) {
        let now = Instant::now();
        let gone: Vec<ObjectKey> = self
            .groups
            .keys()
            .filter(|key| !assignments.contains_key(*key))
            .cloned()
            .collect();
        for key in gone {
            if let Some(group) = self.groups.remove(&key) {
                self.unwatch(&key, group.streams.len());
                self.with.metrics.forget_group(&key.namespace, &key.name);
            }
        }
        for (key, assignment) in assignments {
            let streams_before = self.groups.get(key).map_or(0, |group| group.streams.len());
            match self.groups.get_mut(key) {
                Some(group) => group.reassign(assignment.clone(), now),
                None => {
                    self.groups.insert(key.clone(), Tracked::new(assignment.clone(), now));
                }
            }
            let fresh = self
                .groups
                .get(key)
                .is_some_and(|group| group.streams.iter().all(|one| one.watched_after.is_none()));
            if fresh {
                self.unwatch(key, streams_before);
            }
        }
    }

    fn unwatch(&self, key: &ObjectKey, streams: usize) {
        if let Some(connection) = &self.connection {
            for index in 0..streams {
                connection.watcher.unwatch((key.clone(), index));
            }
        }
    }

    fn heard(&mut self, event: Option<watch::Event<Token>>) {
        let now = Instant::now();
        match event {
            Some(watch::Event::Woken((key, index))) => {
                if let Some(group) = self.groups.get_mut(&key) {
                    if let Some(stream) = group.streams.get_mut(index) {
                        stream.watched_after = None;
                    }
                    group.due = now;
                }
            }
            Some(watch::Event::Refused((key, _), error)) => {
                self.with.metrics.redis_error(error.word());
                if let Some(group) = self.groups.get_mut(&key) {
                    group.poll = true;
                    group.due = now;
                }
            }
            Some(watch::Event::Lost(error)) => {
                self.with.metrics.redis_error(error.word());
                debug!(%error, "the watcher lost Redis");
                self.all_due(now);
            }
            Some(watch::Event::Restored) => self.all_due(now),
            None => self.disconnect(),
        }
    }

    fn all_due(&mut self, now: Instant) {
        for group in self.groups.values_mut() {
            group.due = now;
        }
    }

    fn disconnect(&mut self) {
        self.connection = None;
        for group in self.groups.values_mut() {
            // Another connection may have other rights, and its watcher can be asked again.
            group.poll = false;
            for stream in &mut group.streams {
                stream.watched_after = None;
            }
        }
    }

    /// One round: connect, make missing groups, sample, decide, scale, report, wait again.
    async fn pass(&mut self, stop: &CancellationToken) {
        let Ok(token) = self.with.leadership.token() else {
            // The coordinator stops this actor as soon as it hears of it.
            self.postpone_all();
            return;
        };
        let started = Instant::now();
        let due: Vec<ObjectKey> = self
            .groups
            .iter()
            .filter(|(_, group)| group.due <= started + TOGETHER)
            .map(|(key, _)| key.clone())
            .collect();
        let due = self.without_going(due);
        if due.is_empty() {
            return;
        }
        let reading = tokio::select! {
            () = stop.cancelled() => return,
            reading = self.read(&due) => reading,
        };
        let known = reading.iter().all(|(_, sample)| *sample != scaling::Sample::Unknown);
        let decisions = self.decide(reading);
        self.scale(&token, decisions).await;
        for key in &due {
            self.settle(key);
        }
        let outcome = if known { Outcome::Success } else { Outcome::Retry };
        self.with
            .metrics
            .reconciled(Controller::ConsumerGroup, outcome, started.elapsed());
    }

    /// Leaves out the groups whose owner is going: its Redis goes with it, and what is seen of that is no news. They are
    /// asked about again each time, because nobody tells when the owner turns out to stay.
    fn without_going(&mut self, due: Vec<ObjectKey>) -> Vec<ObjectKey> {
        let later = Instant::now() + self.with.settings.active;
        let (going, staying): (Vec<_>, Vec<_>) = due.into_iter().partition(|key| {
            self.groups
                .get(key)
                .is_some_and(|group| (self.with.owner_is_going)(&group.assignment.subject))
        });
        for key in going {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            group.due = later;
            let mut watched = false;
            for stream in &mut group.streams {
                watched |= stream.watched_after.take().is_some();
            }
            let streams = group.streams.len();
            if watched {
                self.unwatch(&key, streams);
            }
        }
        staying
    }

    fn postpone_all(&mut self) {
        let later = Instant::now() + self.with.settings.active;
        for group in self.groups.values_mut() {
            group.due = later;
        }
    }

    fn decide(&mut self, samples: Vec<(ObjectKey, scaling::Sample)>) -> Vec<(ObjectKey, Decision)> {
        let now = self.with.clock.now();
        let mut decisions = Vec::new();
        for (key, sample) in samples {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            let Some(decision) = group.decide(sample, now) else {
                continue;
            };
            self.with.metrics.group(&key.namespace, &key.name, &decision);
            if decision.direction().is_some() && group.may_scale(Instant::now()) {
                decisions.push((key, decision));
            }
        }
        decisions
    }

    /// Writes all decisions at once: one slow answer delays no other group.
    async fn scale(&mut self, token: &WriteToken, decisions: Vec<(ObjectKey, Decision)>) {
        let writes = decisions.into_iter().filter_map(|(key, decision)| {
            let target = ObjectKey::new(&key.namespace, &self.groups.get(&key)?.assignment.plan.target);
            let cluster = Arc::clone(&self.with.cluster);
            Some(async move {
                let result = cluster.scale(token, &target, decision.desired).await;
                (key, decision, result)
            })
        });
        for (key, decision, result) in join_all(writes).await {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            let notice = match result {
                Ok(written) => {
                    let now = Timestamp::now();
                    if let Some(direction) = decision.direction() {
                        self.with.metrics.rescaled(direction, decision.cause.reason());
                    }
                    let latency = group.newest_entry(&decision).map(|entry| since(entry, now));
                    if let Some(latency) = latency {
                        self.with.metrics.activated(latency);
                    }
                    Some(group.scaled(&decision, written, now, latency))
                }
                Err(Failure::NotLeader) => None,
                Err(Failure::NotFound) => {
                    group.target_gone();
                    None
                }
                Err(Failure::Refused(code)) => group.refused(code, &decision, Instant::now()),
            };
            if let Some(notice) = notice {
                tell(&self.with, &group.assignment.subject, notice);
            }
        }
    }

    /// Reports a group, and sets when it is looked at next.
    fn settle(&mut self, key: &ObjectKey) {
        let settings = self.with.settings;
        let Some(group) = self.groups.get_mut(key) else { return };
        let subject = &group.assignment.subject;
        if let Some(report) = group.report()
            && !(group.misses() > 0 && (self.with.owner_is_going)(subject))
        {
            self.with.publisher.report(subject, report);
        }
        let lost = group.streams.iter().any(|stream| !stream.ensured);
        let wait = match group.misses() {
            0 if group.is_at_rest() && !group.poll => settings.at_rest,
            0 => settings.active,
            // A lost group is made again at once.
            1 if lost => Duration::ZERO,
            many if many > 5 && self.connection.is_none() => settings.retry_denied,
            _ => settings.retry,
        };
        group.due = Instant::now() + wait.mul_f64(rand::rng().random_range(0.9..1.1));
        let Some(connection) = &self.connection else { return };
        let at_rest = group.is_at_rest();
        for (index, stream) in group.streams.iter_mut().enumerate() {
            let after = stream.last_delivered;
            if at_rest && stream.watched_after != Some(after) {
                stream.watched_after = Some(after);
                let watch = Watch {
                    key: stream.key.clone(),
                    after,
                };
                connection.watcher.watch((key.clone(), index), watch);
            } else if !at_rest && stream.watched_after.take().is_some() {
                connection.watcher.unwatch((key.clone(), index));
            }
        }
    }
}

/// Waits for the watcher; for ever without one.
async fn next_event(connection: &mut Option<Connection>) -> Option<watch::Event<Token>> {
    match connection {
        Some(connection) => connection.events.recv().await,
        None => std::future::pending().await,
    }
}

fn tell<C: Cluster>(with: &Surroundings<C>, subject: &Subject, notice: Notice) {
    let _entered = span(&subject.key).entered();
    if notice.warning {
        // A Redis that goes with its Shop is no news.
        if (with.owner_is_going)(subject) {
            return;
        }
        warn!(reason = notice.reason, "{}", notice.note);
    } else {
        info!(reason = notice.reason, "{}", notice.note);
    }
    with.cluster.tell(subject, notice);
}

fn span(key: &ObjectKey) -> Span {
    info_span!("consumer_group", namespace = key.namespace, name = key.name)
}

/// From an entry's id to now. Clocks may differ: never negative.
fn since(entry_milliseconds: u64, now: Timestamp) -> Duration {
    let now = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Duration::from_millis(now.saturating_sub(entry_milliseconds))
}
