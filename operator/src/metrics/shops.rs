//! What is counted about the books of shops. A shop's series go with it; labels are fixed words, or its namespace and name.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use shopwright_verify::{Invariant, Report};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Shop {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByInvariant {
    namespace: String,
    name: String,
    invariant: &'static str,
}

/// The metrics of all shops.
#[derive(Debug)]
pub(super) struct Shops {
    violations: Family<ByInvariant, Gauge>,
    orders: Family<Shop, Gauge>,
    verification: Histogram,
}

impl Shops {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let new = Self {
            violations: Family::default(),
            orders: Family::default(),
            verification: Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0]),
        };
        registry.register(
            "violations",
            "Violations that the latest comparison of a shop's books found, by invariant; absent where they could not be compared",
            new.violations.clone(),
        );
        registry.register(
            "verified_orders",
            "Orders that the latest comparison looked at; absent when there was none",
            new.orders.clone(),
        );
        registry.register_with_unit(
            "verification_duration",
            "Time of one comparison of a shop's books",
            Unit::Seconds,
            new.verification.clone(),
        );
        new
    }

    pub(super) fn verified(&self, namespace: &str, name: &str, report: &Report, took: Duration) {
        for invariant in Invariant::ALL {
            let (labels, count) = (by_invariant(namespace, name, invariant), report.count(invariant));
            // A zero would say that it holds.
            if count == 0 && report.undecided.contains_key(&invariant) {
                self.violations.remove(&labels);
                continue;
            }
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.violations.get_or_create(&labels).set(count);
        }
        let orders = i64::try_from(report.orders).unwrap_or(i64::MAX);
        self.orders.get_or_create(&shop(namespace, name)).set(orders);
        self.verification.observe(took.as_secs_f64());
    }

    pub(super) fn forget(&self, namespace: &str, name: &str) {
        for invariant in Invariant::ALL {
            self.violations.remove(&by_invariant(namespace, name, invariant));
        }
        self.orders.remove(&shop(namespace, name));
    }
}

fn shop(namespace: &str, name: &str) -> Shop {
    Shop {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn by_invariant(namespace: &str, name: &str, invariant: Invariant) -> ByInvariant {
    ByInvariant {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        invariant: invariant.as_str(),
    }
}
