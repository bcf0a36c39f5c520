//! What the operator counts about itself, the shops it verifies and the groups it scales. Labels are bounded: fixed words, or
//! the namespace and name of an object that exists.

mod groups;
mod shops;

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use shopwright_verify::Report;

pub use self::groups::{GroupFigures, WorkFigures};
use self::{groups::Groups, shops::Shops};
use crate::scaling::Direction;

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

/// The operator's metrics and the registry that shows them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<Pass, Counter>,
    pass_seconds: Family<ByController, Histogram, fn() -> Histogram>,
    api_errors: Family<ApiError, Counter>,
    groups: Groups,
    shops: Shops,
    leader: Gauge,
}

fn pass_histogram() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::default();
        let groups = Groups::new(registry.sub_registry_with_prefix("shopwright_consumer_group"));
        let shops = Shops::new(registry.sub_registry_with_prefix("shopwright_shop"));
        let mut metrics = Self {
            registry,
            passes: Family::default(),
            pass_seconds: Family::new_with_constructor(pass_histogram),
            api_errors: Family::default(),
            groups,
            shops,
            leader: Gauge::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let registry = self.registry.sub_registry_with_prefix("shopwright_operator");
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
        self.groups.redis_error(kind);
    }

    /// A workload's replicas were changed.
    pub fn rescaled(&self, namespace: &str, name: &str, direction: Direction, reason: &'static str) {
        self.groups.rescaled(namespace, name, direction, reason);
    }

    /// A group at zero was woken: the time from the entry's id to the write.
    pub fn activated(&self, latency: Duration) {
        self.groups.activated(latency);
    }

    /// The due groups of one Redis were sampled.
    pub fn sampled(&self, took: Duration) {
        self.groups.sampled(took);
    }

    /// Upkeep did something for `count` entries or consumers; `kind` is a fixed word.
    pub fn upkeep(&self, kind: &'static str, count: u64) {
        self.groups.upkeep(kind, count);
    }

    /// The figures of a group's latest sample and decision.
    pub fn group(&self, namespace: &str, name: &str, figures: &GroupFigures) {
        self.groups.show(namespace, name, figures);
    }

    /// A group is no longer scaled: its figures would only mislead.
    pub fn forget_group(&self, namespace: &str, name: &str) {
        self.groups.forget(namespace, name);
    }

    /// The books of a shop were compared.
    pub fn verified(&self, namespace: &str, name: &str, report: &Report, took: Duration) {
        self.shops.verified(namespace, name, report, took);
    }

    /// The books of a shop are not compared, or could not be: its figures would only mislead.
    pub fn forget_shop(&self, namespace: &str, name: &str) {
        self.shops.forget(namespace, name);
    }

    /// Whether this operator leads.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}

#[cfg(test)]
mod tests {
    use shopwright_streams::sample::Source;

    use super::*;

    fn figures() -> GroupFigures {
        GroupFigures {
            work: Some(WorkFigures {
                backlog: 150,
                source: Source::CountedRight,
                undelivered: 140,
                pending: [7, 2, 1, 4],
                reported_lag: Some(139),
                oldest_pending_seconds: Some(12),
            }),
            current: 0,
            ready: 0,
            desired: 2,
            fallback: false,
        }
    }

    #[test]
    fn shows_a_groups_figures_while_it_is_scaled_and_not_after() {
        let metrics = Metrics::new();
        metrics.group("shops", "demo", &figures());
        metrics.rescaled("shops", "demo", Direction::Up, "Woken");
        metrics.rescaled("shops", "demo", Direction::Down, "Quiet");
        metrics.activated(Duration::from_millis(7));
        let text = metrics.encode();
        for line in [
            "_backlog{namespace=\"shops\",name=\"demo\",source=\"CountedRight\"} 150",
            "_pending{namespace=\"shops\",name=\"demo\",state=\"Reclaimable\"} 2",
            "_reported_lag{namespace=\"shops\",name=\"demo\"} 139",
            "_lag_mismatch_total{namespace=\"shops\",name=\"demo\"} 1",
            "_oldest_pending_seconds{namespace=\"shops\",name=\"demo\"} 12",
            "_desired_replicas{namespace=\"shops\",name=\"demo\"} 2",
            "_rescales_total{direction=\"up\",reason=\"Woken\"} 1",
            "_direction_reversals_total{namespace=\"shops\",name=\"demo\"} 1",
            "_activation_latency_seconds_count 1",
        ] {
            let line = format!("shopwright_consumer_group{line}");
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
        let unknown = GroupFigures {
            work: None,
            ..figures()
        };
        metrics.group("shops", "demo", &unknown);
        let text = metrics.encode();
        assert!(
            !text.contains("group_backlog{") && !text.contains("reported_lag{"),
            "unknown is not a number"
        );
        metrics.forget_group("shops", "demo");
        assert!(!metrics.encode().contains("namespace=\"shops\""));
    }

    #[test]
    fn a_backlog_that_is_counted_in_another_way_leaves_no_second_figure_behind() {
        let metrics = Metrics::new();
        metrics.group("shops", "demo", &figures());
        let mut later = figures();
        if let Some(work) = &mut later.work {
            work.source = Source::Tail;
            work.reported_lag = None;
        }
        metrics.group("shops", "demo", &later);
        let text = metrics.encode();
        assert_eq!(text.matches("shopwright_consumer_group_backlog{").count(), 1);
        assert!(!text.contains("reported_lag{"), "nil is not a number");
    }

    #[test]
    fn shows_every_invariant_of_a_shop_while_its_books_are_compared_and_not_after() {
        let metrics = Metrics::new();
        let finding = shopwright_verify::Finding {
            invariant: shopwright_verify::Invariant::Money,
            order: None,
            product: None,
            detail: "secret detail".into(),
        };
        let report = Report {
            orders: 7,
            findings: vec![finding],
            ..Report::default()
        };
        metrics.verified("shops", "demo", &report, Duration::from_secs(1));
        let text = metrics.encode();
        for line in [
            "_violations{namespace=\"shops\",name=\"demo\",invariant=\"money\"} 1",
            "_violations{namespace=\"shops\",name=\"demo\",invariant=\"loss\"} 0",
            "_verified_orders{namespace=\"shops\",name=\"demo\"} 7",
            "_verification_duration_seconds_count 1",
        ] {
            let line = format!("shopwright_shop{line}");
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("secret detail"));
        let mut restless = report;
        restless.undecided.insert(shopwright_verify::Invariant::Loss, 3);
        metrics.verified("shops", "demo", &restless, Duration::from_secs(1));
        let text = metrics.encode();
        assert!(
            !text.contains("invariant=\"loss\""),
            "what was not judged is not known to hold"
        );
        assert!(text.contains("invariant=\"money\"} 1"));
        metrics.forget_shop("shops", "demo");
        assert!(!metrics.encode().contains("namespace=\"shops\""));
    }
}
