//! The API over HTTP, in front of a real Redis.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "this whole crate is a test"
)]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod cancelling;
mod dead_letters;
mod outages;
mod placing;
mod refunding;
mod repeated;
mod seed_bugs;
mod sse;
mod tokens;
mod watching;
mod watching_faults;
