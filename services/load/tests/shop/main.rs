//! The load against a stand-in for a shop that keeps its promises, or breaks one on purpose.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod open_model;
mod promises;
mod stand_in;
mod streams;
mod whole;
