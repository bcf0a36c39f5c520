//! The search index over orders: made and kept by `serve`, over a short connection of the user that may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{RedisError, Value};
use shopwright_domain::keys::ShopKeys;
use shopwright_kit::{Redis, RedisSettings};
use tokio_util::sync::CancellationToken;

/// While it is not there.
const RETRY: Duration = Duration::from_millis(500);
/// While it is: a Redis that lost its data lost the index too.
const CHECK: Duration = Duration::from_secs(5);

/// Whether the index is there and has read every document.
#[derive(Debug, Clone, Default)]
pub struct IndexReady(Arc<AtomicBool>);

impl IndexReady {
    /// For the readiness probe.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("not_built")
        }
    }
}

/// Keeps the index there until `shutdown`.
pub async fn keep(
    redis: Redis,
    migration: RedisSettings,
    keys: ShopKeys,
    ready: IndexReady,
    shutdown: CancellationToken,
) {
    loop {
        let built = match look(&redis, &keys).await {
            Ok(Some(built)) => built,
            Ok(None) => {
                if let Err(error) = create(&migration, &keys).await {
                    tracing::warn!(kind = ?error.kind(), code = error.code(), "the index of orders was not made");
                }
                false
            }
            Err(_) => false,
        };
        if ready.0.swap(built, Ordering::Relaxed) != built {
            tracing::info!(built, "index of orders");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(if built { CHECK } else { RETRY }) => {}
        }
    }
}

/// None: there is no index. False: it is still reading documents.
async fn look(redis: &Redis, keys: &ShopKeys) -> Result<Option<bool>, RedisError> {
    let mut command = redis::cmd("FT.INFO");
    command.arg(keys.orders_index());
    match command.query_async::<Vec<Value>>(&mut redis.idempotent()).await {
        Ok(fields) => Ok(Some(is_built(&fields))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Redis says it in words of its own: `Unknown index name`, or `name: no such index`, where the first word is taken for
/// the error's code.
pub(crate) fn is_missing(error: &RedisError) -> bool {
    let text = format!(
        "{} {}",
        error.code().unwrap_or_default(),
        error.detail().unwrap_or_default()
    );
    let text = text.to_ascii_lowercase();
    text.contains("unknown index") || text.contains("no such index")
}

fn is_built(fields: &[Value]) -> bool {
    let indexing = fields.chunks_exact(2).find_map(|pair| {
        let name: String = redis::from_redis_value_ref(&pair[0]).ok()?;
        (name == "indexing")
            .then(|| redis::from_redis_value_ref::<f64>(&pair[1]).ok())
            .flatten()
    });
    indexing.is_some_and(|indexing| indexing == 0.0)
}

/// Makes the index; that it is there already is success.
pub async fn create(migration: &RedisSettings, keys: &ShopKeys) -> Result<(), RedisError> {
    let mut connection = migration.client()?.get_multiplexed_async_connection().await?;
    let mut command = redis::cmd("FT.CREATE");
    command
        .arg(keys.orders_index())
        .arg(&["ON", "JSON", "PREFIX", "1"])
        .arg(keys.order_prefix());
    command.arg(&["STOPWORDS", "0", "SCHEMA"]);
    command.arg(&["$.state", "AS", "state", "TAG"]);
    command.arg(&["$.reason", "AS", "reason", "TAG"]);
    command.arg(&["$.lines[*].product_id", "AS", "product", "TAG"]);
    command.arg(&["$.created_at", "AS", "created_at", "NUMERIC", "SORTABLE"]);
    match command.exec_async(&mut connection).await {
        Err(error) if error.to_string().contains("already exists") => Ok(()),
        outcome => outcome,
    }
}
