//! What can go wrong between orders and Redis.

use redis::RedisError;
use shopwright_kit::is_passing;

/// Redis did not answer, or what it holds is not what we wrote.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Away, refused, or full. Its own text may quote arguments, so it is not part of ours.
    #[error("Redis: {:?} {}", .0.kind(), .0.code().unwrap_or_default())]
    Redis(#[from] RedisError),
    /// The search index is not there (yet, or any more).
    #[error("the index of orders is not there")]
    NoIndex,
    /// A document that cannot be read.
    #[error("the document {key} is not understood: {source}")]
    Document {
        /// Where it is.
        key: String,
        /// What the parser said.
        source: serde_json::Error,
    },
}

impl StoreError {
    /// Whether Redis is away, not ready, full, or has us locked out for now: nothing about one order.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Redis(error) if is_passing(error))
    }
}
