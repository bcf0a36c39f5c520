//! What the shop's services share: configuration, telemetry, HTTP problems, admin port, Redis connection, shutdown.
//!
//! This crate knows no product and no order; it may touch sockets, the environment, Redis and signals.

pub mod admin;
pub mod admission;
pub mod auth;
pub mod capacity;
pub mod config;
pub mod connection;
pub mod consumer_metrics;
pub mod context;
pub mod crash;
pub mod dead_letters;
pub mod extract;
pub mod idempotency;
pub mod metrics;
pub mod problem;
pub mod schema;
pub mod search_index;
pub mod secret;
pub mod serve;
pub mod shutdown;
pub mod sse;
pub mod telemetry;

pub use admission::Admission;
pub use auth::{AdminAuthorization, AdminKey};
pub use capacity::Capacity;
pub use connection::{Redis, RedisSettings, is_passing};
pub use context::RequestContext;
pub use extract::{Json, Path, Query, Raw};
pub use idempotency::{Idempotency, Keyed, Record, RequestKey};
pub use problem::{ApiError, FieldError};
pub use schema::Schema;
pub use secret::Secret;
