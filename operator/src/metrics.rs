//! What the operator counts about itself and the groups it scales. Labels are bounded: fixed words, or the namespace and
//! name of a ConsumerGroup that exists.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::scaling::{Decision, Direction};

/// A controller of this operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Controller {
    /// Shops and their children.
    Shop,
    /// `ConsumerGroup` objects.
    ConsumerGroup,
}

/// How one pass over an object ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// All done.
    Success,
    /// It failed and is tried again.
    Retry,
    /// Nothing can be done until something changes.
    Waiting,
    /// The object is the user's to fix.
    Invalid,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pass {
    controller: Controller,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByController {
    controller: Controller,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiError {
    controller: Controller,
    /// HTTP status, or 0 without an answer.
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RedisError {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rescale {
    direction: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Group {
    namespace: String,
    name: String,
}

/// The operator's metrics and the registry that shows them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<Pass, Counter>,
    pass_seconds: Family<ByController, Histogram, fn() -> Histogram>,
    api_errors: Family<ApiError, Counter>,
    redis_errors: Family<RedisError, Counter>,
    rescales: Family<Rescale, Counter>,
    activation_seconds: Histogram,
    sample_seconds: Histogram,
    backlog: Family<Group, Gauge>,
    replicas: Family<Group, Gauge>,
    desired_replicas: Family<Group, Gauge>,
    leader: Gauge,
}

fn pass_histogram() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Arc<Self> {
        let mut metrics = Self {
            registry: Registry::with_prefix("shopwright_operator"),
            passes: Family::default(),
            pass_seconds: Family::new_with_constructor(pass_histogram),
            api_errors: Family::default(),
            redis_errors: Family::default(),
            rescales: Family::default(),
            activation_seconds: Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
            sample_seconds: Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0]),
            backlog: Family::default(),
            replicas: Family::default(),
            desired_replicas: Family::default(),
            leader: Gauge::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "reconciles",
            "Passes over an object, by how they ended",
            self.passes.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "Time of one pass over an object",
            Unit::Seconds,
            self.pass_seconds.clone(),
        );
        registry.register(
            "api_errors",
            "Requests the API server refused or did not answer (status 0)",
            self.api_errors.clone(),
        );
        registry.register(
            "redis_errors",
            "Failed Redis calls, by Redis's code word or the kind",
            self.redis_errors.clone(),
        );
        registry.register("rescales", "Changes of a workload's replicas", self.rescales.clone());
        registry.register_with_unit(
            "activation_latency",
            "From the id of the entry that woke a group at zero to its replicas written",
            Unit::Seconds,
            self.activation_seconds.clone(),
        );
        registry.register_with_unit(
            "sample_duration",
            "Time of one sample of all groups of one Redis",
            Unit::Seconds,
            self.sample_seconds.clone(),
        );
        registry.register(
            "group_backlog",
            "Work left for a group; absent while unknown",
            self.backlog.clone(),
        );
        registry.register(
            "group_replicas",
            "Replicas of a group's workload",
            self.replicas.clone(),
        );
        registry.register(
            "group_desired_replicas",
            "Replicas a group's workload should have",
            self.desired_replicas.clone(),
        );
        registry.register("leader", "1 while this operator leads", self.leader.clone());
    }

    /// Everything, in the `OpenMetrics` text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    /// One pass over an object has ended.
    pub fn reconciled(&self, controller: Controller, outcome: Outcome, took: Duration) {
        self.passes.get_or_create(&Pass { controller, outcome }).inc();
        self.pass_seconds
            .get_or_create(&ByController { controller })
            .observe(took.as_secs_f64());
    }

    /// A request to the API server failed; `status` 0 when there was no answer.
    pub fn api_error(&self, controller: Controller, status: u16) {
        self.api_errors.get_or_create(&ApiError { controller, status }).inc();
    }

    /// A request to the API server failed.
    pub fn kube_error(&self, controller: Controller, error: &kube::Error) {
        let status = match error {
            kube::Error::Api(status) => status.code,
            _ => 0,
        };
        self.api_error(controller, status);
    }

    /// A Redis call failed; `kind` is a fixed word.
    pub fn redis_error(&self, kind: &'static str) {
        self.redis_errors.get_or_create(&RedisError { kind }).inc();
    }

    /// A workload's replicas were changed.
    pub fn rescaled(&self, direction: Direction, reason: &'static str) {
        self.rescales
            .get_or_create(&Rescale {
                direction: direction.as_str(),
                reason,
            })
            .inc();
    }

    /// A group at zero was woken: the time from the entry's id to the write.
    pub fn activated(&self, latency: Duration) {
        self.activation_seconds.observe(latency.as_secs_f64());
    }

    /// All groups of one Redis were sampled.
    pub fn sampled(&self, took: Duration) {
        self.sample_seconds.observe(took.as_secs_f64());
    }

    /// The figures of a group's latest decision.
    pub fn group(&self, namespace: &str, name: &str, decision: &Decision) {
        let group = Group {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        match decision.work {
            Some(work) => {
                let backlog = i64::try_from(work.backlog()).unwrap_or(i64::MAX);
                self.backlog.get_or_create(&group).set(backlog);
            }
            None => {
                self.backlog.remove(&group);
            }
        }
        self.replicas.get_or_create(&group).set(i64::from(decision.current));
        self.desired_replicas
            .get_or_create(&group)
            .set(i64::from(decision.desired));
    }

    /// A group is no longer scaled: its figures would only mislead.
    pub fn forget_group(&self, namespace: &str, name: &str) {
        let group = Group {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        self.backlog.remove(&group);
        self.replicas.remove(&group);
        self.desired_replicas.remove(&group);
    }

    /// Whether this operator leads.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::{Cause, Policy, Work};

    #[test]
    fn shows_a_groups_figures_while_it_is_scaled_and_not_after() {
        let metrics = Metrics::new();
        let decision = Decision {
            current: 0,
            desired: 2,
            cause: Cause::Woken,
            work: Some(Work {
                undelivered: 150,
                ..Work::default()
            }),
            exact: true,
            policy: Policy::new(0, 10, 100, Duration::from_mins(1)),
        };
        metrics.group("shops", "demo", &decision);
        metrics.rescaled(Direction::Up, decision.cause.reason());
        metrics.activated(Duration::from_millis(7));
        let text = metrics.encode();
        for line in [
            "shopwright_operator_group_backlog{namespace=\"shops\",name=\"demo\"} 150",
            "shopwright_operator_group_desired_replicas{namespace=\"shops\",name=\"demo\"} 2",
            "shopwright_operator_rescales_total{direction=\"up\",reason=\"Woken\"} 1",
            "shopwright_operator_activation_latency_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        metrics.group("shops", "demo", &Decision { work: None, ..decision });
        assert!(!metrics.encode().contains("group_backlog{"), "unknown is not a number");
        metrics.forget_group("shops", "demo");
        assert!(!metrics.encode().contains("namespace=\"shops\""));
    }
}
