//! One task for one Redis: samples its groups together, waits for news of those at rest, decides, scales.
//! Touches that Redis and, through [`Cluster`], the targets. A Redis that is slow or dead delays nobody else's groups.

mod act;
mod connect;
mod hooks;
mod patrol;
mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use shopwright_streams::{connection::Vet, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, info, info_span, warn};

use self::{
    act::Ended,
    connect::{Connection, Outage},
    patrol::Patrol,
};
use super::{
    assign::{Assignments, Subject},
    cluster::{Cluster, Notice},
    identity::{Clock, EndpointKey, ObjectKey},
    publish::Publisher,
    tracked::{Cadence, Tracked},
    upkeep::Upkeep,
};
use crate::{
    lease::Leadership,
    metrics::{Controller, Metrics, Outcome},
    scaling,
};

/// Times of an actor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) cadence: Cadence,
    /// Between two readings of the Secrets.
    pub(super) resync: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cadence: Cadence::default(),
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

/// The actor of one Redis.
pub(super) struct Actor<C> {
    key: EndpointKey,
    with: Surroundings<C>,
    groups: BTreeMap<ObjectKey, Tracked>,
    connection: Option<Connection>,
    outage: Outage,
    /// Runs as long as this does.
    upkeep: Option<Upkeep>,
    /// Scale writes under way.
    writes: JoinSet<Ended>,
    /// Their targets.
    writing: BTreeSet<ObjectKey>,
    patrol: Patrol,
}

impl<C: Cluster> Actor<C> {
    pub(super) fn new(key: EndpointKey, with: Surroundings<C>) -> Self {
        Self {
            key,
            with,
            groups: BTreeMap::new(),
            connection: None,
            outage: Outage::default(),
            upkeep: None,
            writes: JoinSet::new(),
            writing: BTreeSet::new(),
            patrol: Patrol::new(Instant::now()),
        }
    }

    /// Runs until `stop`, or until nothing is assigned to it any more.
    pub(super) async fn run(
        mut self,
        mut assignments: tokio::sync::watch::Receiver<Arc<Assignments>>,
        stop: CancellationToken,
    ) {
        self.upkeep = Some(Upkeep::start(&self.with, assignments.clone()));
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
                Some(ended) = self.writes.join_next() => self.scaled(ended),
                () = tokio::time::sleep(until_due) => {}
            }
            if self.until_due().is_zero() {
                self.pass(&stop).await;
            }
        }
        // A write that was sent may have happened: its end is waited for, and told.
        while let Some(ended) = self.writes.join_next().await {
            self.scaled(ended);
        }
        for key in self.groups.keys() {
            self.with.metrics.forget_group(&key.namespace, &key.name);
        }
        if let Some(upkeep) = self.upkeep.take() {
            upkeep.stop().await;
        }
    }

    fn until_due(&self) -> Duration {
        let due = self.groups.values().map(|group| group.due).min();
        let due = due.map(|due| self.next_patrol().map_or(due, |next| due.min(next)));
        due.map_or(self.with.settings.cadence.at_rest, |due| {
            due.saturating_duration_since(Instant::now())
        })
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
                if let Some(connection) = &mut self.connection {
                    for stream in &group.streams {
                        connection.sampler.forget(&stream.key, &group.assignment.plan.group);
                    }
                }
                self.with.metrics.forget_group(&key.namespace, &key.name);
            }
        }
        for (key, assignment) in assignments {
            let Some(group) = self.groups.get_mut(key) else {
                self.groups.insert(key.clone(), Tracked::new(assignment.clone(), now));
                continue;
            };
            let is_watched = |group: &Tracked| group.streams.iter().any(|stream| stream.watched_after.is_some());
            let (was_watched, streams_before) = (is_watched(group), group.streams.len());
            group.reassign(assignment, now);
            if was_watched && !is_watched(group) {
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
            Some(watch::Event::Restored) => {
                self.outage.over();
                self.all_due(now);
            }
            None => self.disconnect(),
        }
    }

    fn all_due(&mut self, now: Instant) {
        for group in self.groups.values_mut() {
            group.due = now;
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
        self.send_patrol(started);
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
            reading = self.read(&token, &due) => reading,
        };
        let known = reading.iter().all(|(_, sample)| *sample != scaling::Sample::Unknown);
        let decisions = self.decide(reading);
        self.scale(&token, decisions);
        self.take_findings(&due);
        self.settle(&due);
        self.after_pass(&due);
        let outcome = if known { Outcome::Success } else { Outcome::Retry };
        self.with
            .metrics
            .reconciled(Controller::ConsumerGroup, outcome, started.elapsed());
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.repair(&token, &due) => {}
        }
    }

    /// Leaves out the groups whose owner is going: its Redis goes with it, and what is seen of that is no news. They are
    /// asked about again each time, because nobody tells when the owner turns out to stay.
    fn without_going(&mut self, due: Vec<ObjectKey>) -> Vec<ObjectKey> {
        let later = Instant::now() + self.with.settings.cadence.active;
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
        let later = Instant::now() + self.with.settings.cadence.active;
        for group in self.groups.values_mut() {
            group.due = later;
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

pub(super) fn tell<C: Cluster>(with: &Surroundings<C>, subject: &Subject, notice: Notice) {
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
