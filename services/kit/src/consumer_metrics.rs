//! What the consumer loops of a process have done, as metrics read at each scrape. The same names in every service:
//!
//! | Metric | Kind | What |
//! |---|---|---|
//! | `shopwright_consumer_entries_total{stream, outcome}` | counter | Stream entries by what became of them, see below |
//! | `shopwright_consumer_failures_total{stream}` | counter | Failed Redis calls of the loop |
//! | `shopwright_consumer_in_hand{stream}` | gauge | Entries being handled |
//!
//! `outcome` is one of: `delivered` for the first time; `claimed` from whoever held them too long, or found again after a
//! restart; `done`, acknowledged after their effect; `retried`, left pending by their handler; `buried` in the dead-letter
//! stream; `handed_over` to other consumers at the end; `deleted` from the stream while pending, and let go.
//! `stream` is the stream's key.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use shopwright_streams::consume::Counters;

/// The loops of one process, each by the stream it reads.
#[derive(Debug)]
struct Loops(Vec<(String, Arc<Counters>)>);

/// Registers the metrics of this module for all loops of this process. Call it once.
pub fn register(registry: &mut Registry, loops: Vec<(String, Arc<Counters>)>) {
    registry.register_collector(Box::new(Loops(loops)));
}

fn outcomes(counters: &Counters) -> [(&'static str, &AtomicU64); 7] {
    [
        ("delivered", &counters.delivered),
        ("claimed", &counters.claimed),
        ("done", &counters.done),
        ("retried", &counters.retried),
        ("buried", &counters.buried),
        ("handed_over", &counters.handed_over),
        ("deleted", &counters.deleted),
    ]
}

impl Collector for Loops {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut entries = encoder.encode_descriptor(
            "consumer_entries",
            "Stream entries by what became of them",
            None,
            MetricType::Counter,
        )?;
        for (stream, counters) in &self.0 {
            for (outcome, counter) in outcomes(counters) {
                let labels = [("stream", stream.as_str()), ("outcome", outcome)];
                ConstCounter::new(counter.load(Ordering::Relaxed)).encode(entries.encode_family(&labels)?)?;
            }
        }
        let mut failures = encoder.encode_descriptor(
            "consumer_failures",
            "Failed Redis calls of the loop",
            None,
            MetricType::Counter,
        )?;
        for (stream, counters) in &self.0 {
            let labels = [("stream", stream.as_str())];
            ConstCounter::new(counters.failures.load(Ordering::Relaxed)).encode(failures.encode_family(&labels)?)?;
        }
        let mut in_hand =
            encoder.encode_descriptor("consumer_in_hand", "Entries being handled", None, MetricType::Gauge)?;
        for (stream, counters) in &self.0 {
            let labels = [("stream", stream.as_str())];
            let held = i64::try_from(counters.in_hand.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            ConstGauge::new(held).encode(in_hand.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
