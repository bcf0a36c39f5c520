//! The set of due times.

use std::time::Duration;

use redis::AsyncCommands;
use shopwright_domain::ids::OrderId;

use super::{Store, StoreError};

impl Store {
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
}
