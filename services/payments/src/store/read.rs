//! Reads documents by their ids.

use redis::Pipeline;
use serde::de::DeserializeOwned;
use shopwright_domain::UnixMilliseconds;
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::order::{Order, Refund};

use super::{Mark, Store, StoreError};

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

/// What one decision is made from, read together.
#[derive(Debug, Clone)]
pub struct Grounds {
    /// The order, if there is one.
    pub order: Option<Order>,
    /// The refund that was asked for, if there is one.
    pub refund: Option<Refund>,
    /// What is known of the request. Without it, the documents are from before the request had any effect.
    pub record: Option<String>,
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
        Ok(LoadedMany {
            orders: keys.into_iter().zip(texts).map(document).collect(),
            now,
        })
    }

    /// What is decided from: an order, where asked for with one of its refunds and the record of a request.
    pub async fn grounds(
        &self,
        order: OrderId,
        refund: Option<RefundId>,
        mark: Option<&Mark>,
    ) -> Result<Grounds, StoreError> {
        let mut keys = vec![self.keys.order(order)];
        keys.extend(refund.map(|refund| self.keys.refund(refund)));
        let mut pipeline = reading(&keys);
        // After the documents: whoever finds no mark knows that they were read before the request had its effect.
        let (time, texts, record): (Time, Vec<Option<String>>, Option<String>) = if let Some(mark) = mark {
            pipeline.cmd("GET").arg(self.keys.payments_idempotency(&mark.id));
            pipeline.query_async(&mut self.redis.idempotent()).await?
        } else {
            let (time, texts) = pipeline.query_async(&mut self.redis.idempotent()).await?;
            (time, texts, None)
        };
        let mut documents = keys.into_iter().zip(texts);
        Ok(Grounds {
            order: documents.next().map(document).transpose()?.flatten(),
            refund: documents.next().map(document).transpose()?.flatten(),
            record,
            now: milliseconds(time),
        })
    }

    /// Refunds in the order of their ids; what is not there is left out.
    pub async fn refunds(&self, ids: &[RefundId]) -> Result<Vec<Refund>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| self.keys.refund(*id)).collect();
        let (texts, _) = self.read(&keys).await?;
        let documents = keys.into_iter().zip(texts).map(document);
        documents.filter_map(Result::transpose).collect()
    }

    /// What stands at these keys, and the time.
    async fn read(&self, keys: &[String]) -> Result<(Vec<Option<String>>, UnixMilliseconds), StoreError> {
        if keys.is_empty() {
            return Ok((Vec::new(), self.now().await?));
        }
        let (time, texts): (Time, _) = reading(keys).query_async(&mut self.redis.idempotent()).await?;
        Ok((texts, milliseconds(time)))
    }
}

/// As `TIME` answers it: seconds and microseconds.
type Time = (i64, i64);

/// The time, then the documents: all of one moment, because one command reads them.
fn reading(keys: &[String]) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME").cmd("JSON.MGET").arg(keys).arg(".");
    pipeline
}

fn document<T: DeserializeOwned>((key, text): (String, Option<String>)) -> Result<Option<T>, StoreError> {
    text.map(|text| serde_json::from_str(&text).map_err(|source| StoreError::Document { key, source }))
        .transpose()
}

fn milliseconds((seconds, microseconds): Time) -> UnixMilliseconds {
    seconds * 1_000 + microseconds / 1_000
}
