//! What the consumer loops have done, as metrics read at each scrape.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
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

/// Registers `consumer_entries_total{stream, outcome}`, `consumer_failures_total{stream}` and
/// `consumer_in_hand{stream}` for all loops of this process. Call it once.
pub fn register(registry: &mut Registry, loops: Vec<(String, Arc<Counters>)>) {
    registry.register_collector(Box::new(Loops(loops)));
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
            let outcomes = [
                ("delivered", &counters.delivered),
                ("claimed", &counters.claimed),
                ("done", &counters.done),
                ("left_pending", &counters.retried),
                ("deleted", &counters.deleted),
            ];
            for (outcome, counter) in outcomes {
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
