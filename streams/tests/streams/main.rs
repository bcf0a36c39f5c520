//! Everything of this crate against a real Redis of its own for each test.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

mod connection;
mod consume;
mod consume_faults;
mod group;
mod sample;
mod sample_fuzz;
mod support;
mod watch;
