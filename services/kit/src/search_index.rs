//! Keeps one search index over JSON documents in being: made over a second, short connection as the user who may, looked
//! at over the service's own. A document written during the first scan may be missing, so ready is only after it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{RedisError, RedisResult, Value, aio::ConnectionLike};
use tokio_util::sync::CancellationToken;

use crate::connection::{Redis, RedisSettings};

const BUILDING_INTERVAL: Duration = Duration::from_millis(250);
/// Redis may come back empty after lost data; a missing index is then noticed and made again within this time.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// What to index.
#[derive(Debug, Clone)]
pub struct SearchIndex {
    /// Name of the index; a key pattern of the service's ACL must cover it.
    pub name: String,
    /// What every indexed document's key begins with.
    pub prefix: String,
    /// Arguments after `SCHEMA`.
    pub schema: &'static [&'static str],
}

/// Whether the index is there and its first scan done.
#[derive(Debug, Clone, Default)]
pub struct IndexReady(Arc<AtomicBool>);

impl IndexReady {
    /// Whether it is.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A readiness check: `not_built` until the index is ready.
    pub fn readiness(&self) -> impl Fn() -> std::future::Ready<Result<(), &'static str>> + Send + Sync + 'static {
        let ready = self.clone();
        move || std::future::ready(if ready.is_ready() { Ok(()) } else { Err("not_built") })
    }
}

impl SearchIndex {
    /// Makes the index whenever it is missing, until `shutdown`.
    pub async fn keep(self, redis: Redis, migration: RedisSettings, ready: IndexReady, shutdown: CancellationToken) {
        loop {
            let state = self.state(&mut redis.idempotent()).await;
            let built = matches!(state, Ok(State::Ready));
            if ready.0.swap(built, Ordering::Relaxed) != built {
                tracing::info!(index = %self.name, ready = built, "search index changed");
            }
            if matches!(state, Ok(State::Missing)) {
                match self.create(&migration).await {
                    Ok(()) => tracing::info!(index = %self.name, "search index created"),
                    Err(error) => {
                        tracing::warn!(index = %self.name, kind = ?error.kind(), code = error.code(), "search index not created");
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(if built { CHECK_INTERVAL } else { BUILDING_INTERVAL }) => {}
            }
        }
    }

    async fn state(&self, connection: &mut impl ConnectionLike) -> RedisResult<State> {
        match redis::cmd("FT.INFO")
            .arg(&self.name)
            .query_async::<Value>(connection)
            .await
        {
            Ok(information) => Ok(if is_scanned(&information) {
                State::Ready
            } else {
                State::Scanning
            }),
            Err(error) if is_missing(&error) => Ok(State::Missing),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, migration: &RedisSettings) -> RedisResult<()> {
        let configuration = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(Duration::from_secs(5)));
        let mut connection = migration
            .client()?
            .get_multiplexed_async_connection_with_config(&configuration)
            .await?;
        // Without STOPWORDS 0 a product called "The Who" could not be found.
        let outcome = redis::cmd("FT.CREATE")
            .arg(&self.name)
            .arg(&["ON", "JSON", "PREFIX", "1", &self.prefix, "STOPWORDS", "0", "SCHEMA"])
            .arg(self.schema)
            .query_async::<()>(&mut connection)
            .await;
        match outcome {
            // Another replica was quicker.
            Err(error) if error.to_string().contains("already exists") => Ok(()),
            outcome => outcome,
        }
    }
}

enum State {
    Missing,
    Scanning,
    Ready,
}

/// Whether an error of the search engine says that there is no such index.
///
/// It says so in words of its own, `Unknown index name` or `NAME: no such index`, and has no code word: the client takes the first
/// word for one.
pub fn is_missing(error: &RedisError) -> bool {
    let text = format!(
        "{} {}",
        error.code().unwrap_or_default(),
        error.detail().unwrap_or_default()
    );
    let text = text.to_ascii_lowercase();
    text.contains("unknown index") || text.contains("no such index")
}

/// `FT.INFO` answers pairs; `indexing` is 1 while the first scan runs.
fn is_scanned(information: &Value) -> bool {
    let Value::Array(items) = information else { return false };
    let named = |name: &str| {
        items
            .chunks_exact(2)
            .find(|pair| text(&pair[0]).as_deref() == Some(name))
            .and_then(|pair| text(&pair[1]))
    };
    named("indexing").as_deref() == Some("0") && named("percent_indexed").as_deref() == Some("1")
}

fn text(value: &Value) -> Option<String> {
    redis::from_redis_value_ref(value).ok()
}
