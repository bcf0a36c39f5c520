//! Books on a real Redis Stack, read as the user `verify`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod meddler;
mod moving;
mod shop;
mod whole;
