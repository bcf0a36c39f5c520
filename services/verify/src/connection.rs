//! The connections to what is compared. Touches Redis.

use redis::aio::ConnectionLike;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value};
use shopwright_domain::keys::ShopKeys;

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Redis did not answer, or refused. Its own text may quote keys, so it is not part of ours.
    #[error("Redis: {:?} {}", .0.kind(), .0.code().unwrap_or_default())]
    Redis(#[from] RedisError),
    /// An answer of another shape than asked for.
    #[error("Redis answered something unexpected to {0}")]
    Answer(&'static str),
}

impl From<redis::ParsingError> for VerifyError {
    fn from(error: redis::ParsingError) -> Self {
        Self::Redis(error.into())
    }
}

type Connection = Box<dyn ConnectionLike + Send + Sync>;

/// The books of one shop, each where it is kept.
pub struct Books {
    /// Names of everything.
    pub(crate) keys: ShopKeys,
    shop: Connection,
    provider: Option<Connection>,
}

impl std::fmt::Debug for Books {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Books")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// In which Redis something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The shop's.
    Shop,
    /// The provider's, which may be the same.
    Provider,
}

impl Books {
    /// Of a shop whose provider keeps its book in the same Redis.
    pub fn new(keys: ShopKeys, shop: impl ConnectionLike + Send + Sync + 'static) -> Self {
        Self {
            keys,
            shop: Box::new(shop),
            provider: None,
        }
    }

    /// The provider's book is in another Redis.
    #[must_use]
    pub fn with_provider(mut self, provider: impl ConnectionLike + Send + Sync + 'static) -> Self {
        self.provider = Some(Box::new(provider));
        self
    }

    /// Whether one script can see both books.
    pub(crate) fn is_one(&self) -> bool {
        self.provider.is_none()
    }

    fn connection(&mut self, place: Place) -> &mut Connection {
        match (&mut self.provider, place) {
            (Some(provider), Place::Provider) => provider,
            _ => &mut self.shop,
        }
    }

    pub(crate) async fn ask<T: FromRedisValue>(&mut self, place: Place, command: &Cmd) -> Result<T, VerifyError> {
        let answer = self.connection(place).req_packed_command(command).await?;
        Ok(redis::from_redis_value(answer.extract_error()?)?)
    }

    pub(crate) async fn ask_all(&mut self, place: Place, pipeline: &Pipeline) -> Result<Vec<Value>, VerifyError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.connection(place).req_packed_commands(pipeline, 0, pipeline.len());
        answers
            .await?
            .into_iter()
            .map(|answer| Ok(answer.extract_error()?))
            .collect()
    }
}
