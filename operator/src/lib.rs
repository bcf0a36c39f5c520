//! Reconciles `Shop` and `ConsumerGroup` resources. A library, so that tests can run what the binary runs.

pub mod cli;
pub mod consumer_group;
pub mod error;
pub mod events;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod run;
pub mod scaling;
pub mod shop;
pub mod telemetry;
