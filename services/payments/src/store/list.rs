//! Finds orders through the search index.

use redis::RedisError;
use shopwright_domain::order::{Order, State};
use shopwright_kit::search_index::is_missing;

use super::{Store, StoreError};

impl Store {
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
                match serde_json::from_str(&text) {
                    Ok(order) => orders.push(order),
                    // One broken document must not hide all the others.
                    Err(error) => {
                        tracing::error!(key, %error, "a document that is not understood was left out of a list");
                    }
                }
            }
        }
        Ok(orders)
    }
}
