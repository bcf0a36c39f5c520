//! Counts of what payments does.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use shopwright_domain::order::Order;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
    answer: &'static str,
}

/// Shared by everything in the process.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    entered: Family<StateLabel, Counter>,
    calls: Family<CallLabels, Counter>,
    /// Decisions that met another order than they were made for.
    pub conflicts: Counter,
    /// Inputs that cannot have happened.
    pub contradictions: Counter,
    /// Due orders that could not be seen to.
    pub due_failed: Counter,
    /// Refunds that the provider refused.
    pub refunds_refused: Counter,
    /// Entries that were to be tried again: Redis was away or full, or others were faster every time.
    pub postponed: Counter,
    /// Entries that Redis lost after they were read.
    pub lost: Counter,
    /// Entries that could not be read.
    pub broken: Counter,
    /// Entries of a type that is unknown here.
    pub unknown: Counter,
}

impl Metrics {
    /// Registers every series.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "orders_entered_state",
            "Orders that came into a state",
            metrics.entered.clone(),
        );
        registry.register(
            "provider_calls",
            "Calls to the provider, by answer",
            metrics.calls.clone(),
        );
        registry.register(
            "order_conflicts",
            "Decisions that met another order than they were made for",
            metrics.conflicts.clone(),
        );
        registry.register(
            "order_contradictions",
            "Inputs that cannot have happened",
            metrics.contradictions.clone(),
        );
        registry.register(
            "due_orders_failed",
            "Due orders that could not be seen to",
            metrics.due_failed.clone(),
        );
        registry.register(
            "refunds_refused",
            "Refunds that the provider refused",
            metrics.refunds_refused.clone(),
        );
        registry.register(
            "entries_postponed",
            "Stream entries that had to wait for Redis or for others",
            metrics.postponed.clone(),
        );
        registry.register(
            "entries_lost",
            "Stream entries that Redis lost after they were read, and that nothing followed from",
            metrics.lost.clone(),
        );
        registry.register(
            "entries_broken",
            "Stream entries that could not be read",
            metrics.broken.clone(),
        );
        registry.register(
            "entries_unknown",
            "Stream entries of an unknown type",
            metrics.unknown.clone(),
        );
        metrics
    }

    /// A new order.
    pub fn placed(&self, order: &Order) {
        self.entered
            .get_or_create(&StateLabel {
                state: order.state.as_str(),
            })
            .inc();
    }

    /// A changed order.
    pub fn transition(&self, from: &Order, to: &Order) {
        if from.state != to.state {
            tracing::info!(order = %to.id, from = from.state.as_str(), to = to.state.as_str(), version = to.version, request_id = to.request_id, traceparent = to.traceparent, "order moved");
            self.placed(to);
        }
    }

    /// A call to the provider, and its answer or that there was none.
    pub fn called(&self, call: &'static str, answer: &'static str) {
        self.calls.get_or_create(&CallLabels { call, answer }).inc();
    }
}
