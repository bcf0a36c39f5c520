//! What touches Redis, against a real one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod capacity;
mod connection;
mod dead_letters;
mod refusals;
mod schema;
mod search_index;
mod support;
