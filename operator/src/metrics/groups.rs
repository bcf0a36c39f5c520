//! What is counted about consumer groups. A group's series go with it; labels are fixed words, or its namespace and name.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use shopwright_streams::sample::Source;

use crate::scaling::Direction;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Group {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySource {
    namespace: String,
    name: String,
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    namespace: String,
    name: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rescale {
    direction: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// The figures of a group's latest sample and decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFigures {
    /// The work; `None` while unknown, which is not a number.
    pub work: Option<WorkFigures>,
    /// Replicas as last seen.
    pub current: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas it should have.
    pub desired: u32,
    /// The user's fallback applies.
    pub fallback: bool,
}

/// The figures of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkFigures {
    /// Work left, each entry counted once.
    pub backlog: u64,
    /// The least sure of the ways in which its streams were counted.
    pub source: Source,
    /// Entries no consumer has been given.
    pub undelivered: u64,
    /// Pending entries by state: in flight, reclaimable, poison, ghosts.
    pub pending: [u64; 4],
    /// What Redis itself reports, if it does.
    pub reported_lag: Option<u64>,
    /// Seconds since the oldest pending entry was delivered.
    pub oldest_pending_seconds: Option<u64>,
}

const STATES: [&str; 4] = ["InFlight", "Reclaimable", "Poison", "Ghost"];

/// The metrics of all groups.
#[derive(Debug)]
pub(super) struct Groups {
    backlog: Family<BySource, Gauge>,
    undelivered: Family<Group, Gauge>,
    pending: Family<ByState, Gauge>,
    reported_lag: Family<Group, Gauge>,
    lag_mismatches: Family<Group, Counter>,
    oldest_pending: Family<Group, Gauge>,
    current: Family<Group, Gauge>,
    ready: Family<Group, Gauge>,
    desired: Family<Group, Gauge>,
    fallback: Family<Group, Gauge>,
    reversals: Family<Group, Counter>,
    rescales: Family<Rescale, Counter>,
    redis_errors: Family<Kind, Counter>,
    upkeep: Family<Kind, Counter>,
    activation: Histogram,
    sample: Histogram,
    /// Which way each group went last.
    directions: Mutex<HashMap<Group, Direction>>,
}

impl Groups {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let new = Self {
            backlog: Family::default(),
            undelivered: Family::default(),
            pending: Family::default(),
            reported_lag: Family::default(),
            lag_mismatches: Family::default(),
            oldest_pending: Family::default(),
            current: Family::default(),
            ready: Family::default(),
            desired: Family::default(),
            fallback: Family::default(),
            reversals: Family::default(),
            rescales: Family::default(),
            redis_errors: Family::default(),
            upkeep: Family::default(),
            activation: Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
            sample: Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0]),
            directions: Mutex::default(),
        };
        new.register_figures(registry);
        new.register_events(registry);
        new
    }

    fn register_figures(&self, registry: &mut Registry) {
        registry.register(
            "backlog",
            "Work left for a group, by how it was counted; absent while unknown",
            self.backlog.clone(),
        );
        registry.register(
            "undelivered",
            "Entries no consumer has been given; absent while unknown",
            self.undelivered.clone(),
        );
        registry.register(
            "pending",
            "Entries given to a consumer and not acknowledged, by state; absent while unknown",
            self.pending.clone(),
        );
        registry.register(
            "reported_lag",
            "Redis's own lag, which may be wrong; absent when it has none",
            self.reported_lag.clone(),
        );
        registry.register_with_unit(
            "oldest_pending",
            "Since the delivery of the pending entry that waits longest",
            Unit::Seconds,
            self.oldest_pending.clone(),
        );
        registry.register(
            "current_replicas",
            "Replicas of a group's workload",
            self.current.clone(),
        );
        registry.register(
            "ready_replicas",
            "Replicas of a group's workload that are available",
            self.ready.clone(),
        );
        registry.register(
            "desired_replicas",
            "Replicas a group's workload should have",
            self.desired.clone(),
        );
        registry.register(
            "fallback_active",
            "1 while the fallback applies, because the backlog is unknown",
            self.fallback.clone(),
        );
    }

    fn register_events(&self, registry: &mut Registry) {
        registry.register(
            "lag_mismatch",
            "Samples in which Redis's own lag was not the exact number of undelivered entries",
            self.lag_mismatches.clone(),
        );
        registry.register("rescales", "Changes of a workload's replicas", self.rescales.clone());
        registry.register(
            "direction_reversals",
            "Changes of replicas the other way than the one before",
            self.reversals.clone(),
        );
        registry.register(
            "redis_errors",
            "Failed Redis calls, by Redis's code word or the kind",
            self.redis_errors.clone(),
        );
        registry.register(
            "upkeep_entries",
            "Entries and consumers that the operator handed over, put aside, trimmed or deleted",
            self.upkeep.clone(),
        );
        registry.register_with_unit(
            "activation_latency",
            "From the id of the entry that woke a group at zero to its replicas written",
            Unit::Seconds,
            self.activation.clone(),
        );
        registry.register_with_unit(
            "sample_duration",
            "Time of one sample of the due groups of one Redis",
            Unit::Seconds,
            self.sample.clone(),
        );
    }

    pub(super) fn show(&self, namespace: &str, name: &str, figures: &GroupFigures) {
        let group = group(namespace, name);
        self.current.get_or_create(&group).set(i64::from(figures.current));
        self.ready.get_or_create(&group).set(i64::from(figures.ready));
        self.desired.get_or_create(&group).set(i64::from(figures.desired));
        self.fallback.get_or_create(&group).set(i64::from(figures.fallback));
        let Some(work) = &figures.work else {
            self.forget_work(&group);
            return;
        };
        for source in Source::ALL {
            let labels = by_source(&group, source);
            if source == work.source {
                self.backlog.get_or_create(&labels).set(signed(work.backlog));
            } else {
                self.backlog.remove(&labels);
            }
        }
        self.undelivered.get_or_create(&group).set(signed(work.undelivered));
        for (state, count) in STATES.into_iter().zip(work.pending) {
            self.pending.get_or_create(&by_state(&group, state)).set(signed(count));
        }
        set(&self.oldest_pending, &group, work.oldest_pending_seconds);
        set(&self.reported_lag, &group, work.reported_lag);
        let wrong = work.reported_lag.is_some_and(|lag| lag != work.undelivered);
        if wrong && work.source != Source::Estimated {
            self.lag_mismatches.get_or_create(&group).inc();
        }
    }

    fn forget_work(&self, group: &Group) {
        for source in Source::ALL {
            self.backlog.remove(&by_source(group, source));
        }
        for state in STATES {
            self.pending.remove(&by_state(group, state));
        }
        for family in [&self.undelivered, &self.reported_lag, &self.oldest_pending] {
            family.remove(group);
        }
    }

    pub(super) fn forget(&self, namespace: &str, name: &str) {
        let group = group(namespace, name);
        self.forget_work(&group);
        for family in [&self.current, &self.ready, &self.desired, &self.fallback] {
            family.remove(&group);
        }
        self.lag_mismatches.remove(&group);
        self.reversals.remove(&group);
        self.directions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&group);
    }

    pub(super) fn rescaled(&self, namespace: &str, name: &str, direction: Direction, reason: &'static str) {
        let labels = Rescale {
            direction: direction.as_str(),
            reason,
        };
        self.rescales.get_or_create(&labels).inc();
        let group = group(namespace, name);
        let before = self
            .directions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(group.clone(), direction);
        if before.is_some_and(|before| before != direction) {
            self.reversals.get_or_create(&group).inc();
        }
    }

    pub(super) fn redis_error(&self, kind: &'static str) {
        self.redis_errors.get_or_create(&Kind { kind }).inc();
    }

    pub(super) fn upkeep(&self, kind: &'static str, count: u64) {
        self.upkeep.get_or_create(&Kind { kind }).inc_by(count);
    }

    pub(super) fn activated(&self, latency: Duration) {
        self.activation.observe(latency.as_secs_f64());
    }

    pub(super) fn sampled(&self, took: Duration) {
        self.sample.observe(took.as_secs_f64());
    }
}

fn group(namespace: &str, name: &str) -> Group {
    Group {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn by_source(group: &Group, source: Source) -> BySource {
    BySource {
        namespace: group.namespace.clone(),
        name: group.name.clone(),
        source: source.as_str(),
    }
}

fn by_state(group: &Group, state: &'static str) -> ByState {
    ByState {
        namespace: group.namespace.clone(),
        name: group.name.clone(),
        state,
    }
}

fn set(family: &Family<Group, Gauge>, group: &Group, value: Option<u64>) {
    match value {
        Some(value) => {
            family.get_or_create(group).set(signed(value));
        }
        None => {
            family.remove(group);
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
