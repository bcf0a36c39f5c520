//! Reads documents by their ids.

use shopwright_domain::UnixMilliseconds;
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::order::{Order, Refund};

use super::{Store, StoreError, parse};

/// An order as it was at a time.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The document.
    pub order: Order,
    /// The time of Redis when it was read.
    pub now: UnixMilliseconds,
}

/// Orders as they were at a time.
#[derive(Debug)]
pub struct LoadedMany {
    /// For each id that was asked for, in that order: the document, if there is one.
    pub orders: Vec<Result<Option<Order>, StoreError>>,
    /// The time of Redis when they were read.
    pub now: UnixMilliseconds,
}

impl Store {
    /// The clock by which everything is decided.
    pub async fn now(&self) -> Result<UnixMilliseconds, StoreError> {
        let time: (i64, i64) = redis::cmd("TIME").query_async(&mut self.redis.idempotent()).await?;
        Ok(milliseconds(time))
    }

    /// An order, and the time.
    pub async fn load(&self, id: OrderId) -> Result<Option<Loaded>, StoreError> {
        let LoadedMany { mut orders, now } = self.load_many(&[id]).await?;
        let order = orders.pop().transpose()?.flatten();
        Ok(order.map(|order| Loaded { order, now }))
    }

    /// Orders in one round trip, all of one moment, and the time.
    pub async fn load_many(&self, ids: &[OrderId]) -> Result<LoadedMany, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| self.keys.order(*id)).collect();
        let (texts, now) = self.read(&keys).await?;
        let documents = keys.into_iter().zip(texts);
        let orders = documents.map(|(key, text)| text.map(|text| parse(key, &text)).transpose());
        Ok(LoadedMany {
            orders: orders.collect(),
            now,
        })
    }

    /// An order and a refund, as they were together.
    pub async fn load_with_refund(
        &self,
        order: OrderId,
        refund: RefundId,
    ) -> Result<Option<(Loaded, Refund)>, StoreError> {
        let (order, refund) = (self.keys.order(order), self.keys.refund(refund));
        let (texts, now) = self.read(&[order.clone(), refund.clone()]).await?;
        let [Some(order_text), Some(refund_text)] = texts.as_slice() else {
            return Ok(None);
        };
        let loaded = Loaded {
            order: parse(order, order_text)?,
            now,
        };
        Ok(Some((loaded, parse(refund, refund_text)?)))
    }

    /// Refunds in the order of their ids; what is not there is left out.
    pub async fn refunds(&self, ids: &[RefundId]) -> Result<Vec<Refund>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| self.keys.refund(*id)).collect();
        let (texts, _) = self.read(&keys).await?;
        let documents = keys.into_iter().zip(texts);
        documents.filter_map(|(key, text)| Some(parse(key, &text?))).collect()
    }

    /// What stands at these keys, read by one command, and the time.
    async fn read(&self, keys: &[String]) -> Result<(Vec<Option<String>>, UnixMilliseconds), StoreError> {
        if keys.is_empty() {
            return Ok((Vec::new(), self.now().await?));
        }
        let (time, texts): ((i64, i64), _) = redis::pipe()
            .cmd("TIME")
            .cmd("JSON.MGET")
            .arg(keys)
            .arg(".")
            .query_async(&mut self.redis.idempotent())
            .await?;
        Ok((texts, milliseconds(time)))
    }
}

fn milliseconds((seconds, microseconds): (i64, i64)) -> UnixMilliseconds {
    seconds * 1_000 + microseconds / 1_000
}
