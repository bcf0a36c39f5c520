//! Everything of this crate against a real Redis of its own for each test.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

mod batching;
mod connection;
mod consume;
mod consume_batch;
mod consume_batch_faults;
mod consume_claim;
mod consume_end;
mod consume_faults;
mod consume_lost;
mod consume_outage;
mod consumer;
mod dead_letter;
mod group;
mod group_repair;
mod guide;
mod hand_over;
mod mutation;
mod poison;
mod running;
mod sample;
mod sample_cost;
mod seed_bugs;
mod support;
mod tls;
mod trim;
mod watch;
