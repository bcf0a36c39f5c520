//! Orders and money: the HTTP API, the sweeper of due times, and the consumers of stock answers and provider jobs.
//!
//! The rules are in `shopwright-domain`; here is what reads, stores and asks.

pub mod act;
pub mod cli;
pub mod consume;
pub mod http;
pub mod index;
pub mod metrics;
pub mod provider;
pub mod run;
pub mod store;
pub mod sweep;
pub mod token;
pub mod watch;
