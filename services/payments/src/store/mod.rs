//! Orders in Redis. Reads documents; writes by script only, one script per effect, on keys of payments alone.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use redis::{AsyncCommands, RedisError, Script};
use shopwright_domain::UnixMilliseconds;
use shopwright_domain::events::{Content, Meta, encode};
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::keys::ShopKeys;
use shopwright_domain::order::{Decision, Order, Refund, State};
use shopwright_kit::{Redis, is_passing, search_index::is_missing};
use uuid::Uuid;

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
    /// Whether Redis is away, not ready, or has us locked out for now: nothing about one order.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Redis(error) if is_passing(error))
    }
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Stored, all of it.
    Stored,
    /// The order has another version by now; nothing was stored.
    Conflict,
}

/// An order as it was at a time.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The document.
    pub order: Order,
    /// The time of Redis when it was read.
    pub now: UnixMilliseconds,
}

struct Scripts {
    advance: Script,
    take_due: Script,
    forget_due: Script,
}

/// The orders of one shop. Cloning is cheap.
#[derive(Clone)]
pub struct Store {
    redis: Redis,
    keys: Arc<ShopKeys>,
    scripts: Arc<Scripts>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The orders of the shop with these keys.
    pub fn new(redis: Redis, keys: ShopKeys) -> Self {
        let scripts = Scripts {
            advance: Script::new(include_str!("advance.lua")),
            take_due: Script::new(include_str!("take_due.lua")),
            forget_due: Script::new(include_str!("forget_due.lua")),
        };
        Self {
            redis,
            keys: Arc::new(keys),
            scripts: Arc::new(scripts),
        }
    }

    /// The clock by which everything is decided.
    pub async fn now(&self) -> Result<UnixMilliseconds, StoreError> {
        let time: (i64, i64) = redis::cmd("TIME").query_async(&mut self.redis.idempotent()).await?;
        Ok(milliseconds(time))
    }

    /// An order, and the time.
    pub async fn load(&self, id: OrderId) -> Result<Option<Loaded>, StoreError> {
        let key = self.keys.order(id);
        let (time, text): ((i64, i64), Option<String>) = redis::pipe()
            .cmd("TIME")
            .cmd("JSON.GET")
            .arg(&key)
            .query_async(&mut self.redis.idempotent())
            .await?;
        let Some(text) = text else { return Ok(None) };
        let order = parse(key, &text)?;
        Ok(Some(Loaded {
            order,
            now: milliseconds(time),
        }))
    }

    /// A refund. Read it after its order: should it change in between, the order's version does too.
    pub async fn load_refund(&self, id: RefundId) -> Result<Option<Refund>, StoreError> {
        let key = self.keys.refund(id);
        let text: Option<String> = redis::cmd("JSON.GET")
            .arg(&key)
            .query_async(&mut self.redis.idempotent())
            .await?;
        text.map(|text| parse(key, &text)).transpose()
    }

    /// Stores a decision if the order still has the version that it was made for. Safe to be sent twice: the second time
    /// finds another version.
    pub async fn commit(&self, decision: &Decision) -> Result<Committed, StoreError> {
        let order = &decision.order;
        let refund_id = decision
            .refund
            .as_ref()
            .map_or(RefundId::of_whole(order.id, order.version), |refund| refund.id);
        let refund = decision.refund.as_ref().map(serde_json::to_string).transpose();
        let refund = refund.map_err(|source| StoreError::Document {
            key: self.keys.refund(refund_id),
            source,
        })?;
        let mut call = self.scripts.advance.prepare_invoke();
        call.key(self.keys.order(order.id))
            .key(self.keys.due())
            .key(self.keys.payments_events())
            .key(self.keys.payments_jobs())
            .key(self.keys.refund(refund_id))
            .arg(decision.expected_version)
            .arg(order.id.to_string())
            .arg(decision.merge.to_string())
            .arg(refund.unwrap_or_default())
            .arg(decision.due.map(|due| due.to_string()).unwrap_or_default())
            .arg(decision.events.len());
        for event in &decision.events {
            add_entry(&mut call, event, order);
        }
        for job in &decision.jobs {
            add_entry(&mut call, job, order);
        }
        let stored: i64 = call.invoke_async(&mut self.redis.idempotent()).await?;
        Ok(if stored == 1 {
            Committed::Stored
        } else {
            Committed::Conflict
        })
    }

    /// Leases at most `most` orders whose time has come, for `lease`.
    pub async fn take_due(&self, lease: Duration, most: usize) -> Result<Vec<String>, StoreError> {
        let mut call = self.scripts.take_due.prepare_invoke();
        call.key(self.keys.due())
            .arg(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX))
            .arg(most);
        Ok(call.invoke_async(&mut self.redis.idempotent()).await?)
    }

    /// Drops the due time of an order that does not exist.
    pub async fn forget_due(&self, id: OrderId) -> Result<(), StoreError> {
        let mut call = self.scripts.forget_due.prepare_invoke();
        call.key(self.keys.order(id)).key(self.keys.due()).arg(id.to_string());
        Ok(call.invoke_async(&mut self.redis.idempotent()).await?)
    }

    /// Drops a member of the due times that names no order at all.
    pub async fn drop_due(&self, member: &str) -> Result<(), StoreError> {
        Ok(self.redis.idempotent().zrem(self.keys.due(), member).await?)
    }

    /// At most `limit` orders, newest first; all, or those in one state. A search is a view that lags writes by moments.
    pub async fn list(&self, state: Option<State>, limit: usize) -> Result<Vec<Order>, StoreError> {
        type Row = (String, Vec<(String, String)>);
        let query = state.map_or_else(|| "*".to_owned(), |state| format!("@state:{{{}}}", state.as_str()));
        let mut command = redis::cmd("FT.SEARCH");
        command
            .arg(self.keys.orders_index())
            .arg(query)
            .arg("RETURN")
            .arg(1)
            .arg("$");
        command
            .arg("SORTBY")
            .arg("created_at")
            .arg("DESC")
            .arg("LIMIT")
            .arg(0)
            .arg(limit)
            .arg("DIALECT")
            .arg(2);
        let reply: Result<Vec<redis::Value>, _> = command.query_async(&mut self.redis.idempotent()).await;
        let reply = match reply {
            Err(error) if is_missing(&error) => return Err(StoreError::NoIndex),
            reply => reply?,
        };
        let mut orders = Vec::new();
        for row in reply.get(1..).unwrap_or_default().chunks_exact(2) {
            let (key, fields): Row = (redis::from_redis_value_ref(&row[0]).map_err(RedisError::from)?, {
                redis::from_redis_value_ref(&row[1]).map_err(RedisError::from)?
            });
            // A document deleted between match and read comes without fields.
            if let Some((_, text)) = fields.into_iter().find(|(name, _)| name == "$") {
                match parse(key, &text) {
                    Ok(order) => orders.push(order),
                    // One broken document must not hide all the others.
                    Err(error) => tracing::error!(%error, "left out of a list"),
                }
            }
        }
        Ok(orders)
    }
}

fn add_entry<E: Content>(call: &mut redis::ScriptInvocation<'_>, content: &E, order: &Order) {
    let meta = Meta {
        id: Uuid::now_v7().to_string(),
        time: rfc3339(order.updated_at),
        traceparent: order.traceparent.clone(),
        request_id: order.request_id.clone(),
    };
    let fields = encode(content, &meta);
    call.arg(fields.len() * 2);
    for (name, value) in fields {
        call.arg(name).arg(value);
    }
}

fn parse<T: serde::de::DeserializeOwned>(key: String, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Document { key, source })
}

fn milliseconds((seconds, microseconds): (i64, i64)) -> UnixMilliseconds {
    seconds * 1_000 + microseconds / 1_000
}

/// A time as the API and events write it, always with three decimals, so that text sorts as time does.
pub fn rfc3339(at: UnixMilliseconds) -> String {
    Timestamp::from_millisecond(at)
        .map(|time| format!("{time:.3}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_decimals() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_379_679_720), "2026-11-22T20:34:39.720Z");
    }
}
