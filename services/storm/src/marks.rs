//! Which order or refund each request made that the shop remembers: the marks that are stored by the same script as their
//! effect. Whatever no request made was made twice. Reads the main Redis, as the harness.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::order::{MAX_REFUNDS, Refund};
use shopwright_kit::{Record, RequestKey};
use uuid::Uuid;

use crate::connection::patient;
use crate::documents;
use crate::shop::Shop;

/// As payments tells its callers apart.
const SHOPPER: &str = "shopper";
const PLACING: (&str, &str) = ("POST", "/v1/orders");

/// What was made by which request.
#[derive(Clone, Debug, Default)]
pub struct Marks(BTreeMap<String, String>);

impl Marks {
    /// Reads all of payments' marks.
    pub async fn read(shop: &Shop) -> Result<Self> {
        let mut redis = patient(shop.database.client()).await?;
        let prefix = shop.keys.payments_idempotency("");
        let mut marks = BTreeMap::new();
        for keys in documents::keys(&mut redis, &prefix).await?.chunks(documents::BATCH) {
            let texts: Vec<Option<String>> = redis::cmd("MGET").arg(keys).query_async(&mut redis).await?;
            for (key, text) in keys.iter().zip(texts) {
                let text = text.with_context(|| format!("{key} has gone"))?;
                let record: Record = serde_json::from_str(&text).with_context(|| format!("{key} is no record"))?;
                marks.insert(key.strip_prefix(&prefix).unwrap_or(key).to_owned(), record.id);
            }
        }
        Ok(Self(marks))
    }

    /// The order that was placed under a shopper's key.
    pub fn placed(&self, key: Uuid) -> Option<OrderId> {
        let (method, path) = PLACING;
        let id = RequestKey::new(key.to_string(), method, path, &[]).scoped(SHOPPER).id;
        self.0.get(&id)?.parse().ok()
    }

    /// Refunds that no request asked for, and that the shop did not open by itself for an order it could not deliver.
    pub async fn refunds_of_nobody(&self, shop: &Shop) -> Result<Vec<RefundId>> {
        let mut redis = patient(shop.database.client()).await?;
        let asked_for: BTreeSet<&str> = self.0.values().map(String::as_str).collect();
        let keys = documents::keys(&mut redis, &shop.keys.refund_prefix()).await?;
        let mut found = Vec::new();
        for (key, text) in documents::read(&mut redis, &keys, "$").await? {
            let [refund]: [Refund; 1] = serde_json::from_str(&text).with_context(|| format!("{key} is no refund"))?;
            if !asked_for.contains(refund.id.to_string().as_str()) && !is_whole(&refund) {
                found.push(refund.id);
            }
        }
        Ok(found)
    }
}

fn is_whole(refund: &Refund) -> bool {
    let most = u64::try_from(MAX_REFUNDS).unwrap_or(u64::MAX);
    (0..=most).any(|before| RefundId::of_whole(refund.order_id, before) == refund.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_found_by_the_key_it_was_placed_under() {
        let (key, order) = (Uuid::from_u128(7), OrderId::from_parts(1, [2; 10]));
        let id = RequestKey::new(key.to_string(), "POST", "/v1/orders", b"{\"lines\":[]}")
            .scoped("shopper")
            .id;
        let marks = Marks(BTreeMap::from([(id, order.to_string())]));
        assert_eq!(marks.placed(key), Some(order));
        assert_eq!(marks.placed(Uuid::from_u128(8)), None);
    }
}
