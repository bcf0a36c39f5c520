//! Staff that receive and write off stock throughout a storm, and keep a book of it: each adjustment under one key, repeated
//! until there is a definite answer. In the end inventory's book must say the same. Talks HTTP; reads the stock in Redis.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Client, StatusCode};
use serde_json::json;
use shopwright_domain::ids::ProductId;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::connection::patient;
use crate::database::{Died, unix_milliseconds};
use crate::losses::is_permitted;
use crate::shop::Shop;

const PAUSE: Duration = Duration::from_millis(150);
const REPEAT: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(3);
/// A shop in calm weather that gives no definite answer for so long is at fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// One adjustment that was answered with yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Adjusted {
    product: ProductId,
    delta: i64,
    /// Unix milliseconds: when it was first asked for, and when the answer came.
    asked: u64,
    known: u64,
}

/// What the staff knows to have been done.
#[derive(Clone, Debug, Default)]
pub struct StockBook {
    opening: BTreeMap<ProductId, i64>,
    adjusted: Vec<Adjusted>,
    refused: u64,
}

/// How the books compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Adjustments that were done.
    pub done: usize,
    /// Adjustments that were refused, for want of stock.
    pub refused: u64,
    /// Pieces that may be missing or back again, since their adjustments were lost with a permitted second.
    pub excused: i64,
    /// Products whose books differ by more than that.
    pub differing: Vec<String>,
}

impl StockBook {
    /// Of products with this much stock.
    pub fn new(opening: impl IntoIterator<Item = (ProductId, i64)>) -> Self {
        Self {
            opening: opening.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Adjusts until it is `over`; what is under way then is brought to its answer.
    pub async fn keep(&mut self, shop: &Shop, seed: u64, over: &CancellationToken) -> Result<()> {
        let client = Client::builder().timeout(TIMEOUT).build()?;
        let products: Vec<ProductId> = self.opening.keys().copied().collect();
        let mut random = StdRng::seed_from_u64(seed);
        while !over.is_cancelled() {
            let product = products[random.random_range(0..products.len())];
            let delta = random.random_range(-3_i64..=10);
            if delta != 0 {
                let adjusting = self.adjust(&client, shop, product, delta);
                tokio::select! {
                    adjusted = adjusting => adjusted?,
                    () = async { over.cancelled().await; tokio::time::sleep(PATIENCE).await } => {
                        anyhow::bail!("no definite answer about an adjustment for {} s", PATIENCE.as_secs())
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn adjust(&mut self, client: &Client, shop: &Shop, product: ProductId, delta: i64) -> Result<()> {
        let address = format!("{}/api/v1/products/{product}/stock-adjustments", shop.url());
        let (key, asked) = (Uuid::new_v4().to_string(), unix_milliseconds());
        let body = json!({"delta": delta, "reason": "counted"});
        loop {
            let call = client.post(&address).bearer_auth(&shop.admin_key).json(&body);
            match call
                .header("Idempotency-Key", &key)
                .send()
                .await
                .map(|answer| answer.status())
            {
                Ok(status) if status.is_success() => {
                    let known = unix_milliseconds();
                    self.adjusted.push(Adjusted {
                        product,
                        delta,
                        asked,
                        known,
                    });
                    return Ok(());
                }
                // Less stock than is to be written off.
                Ok(StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY) => {
                    self.refused += 1;
                    return Ok(());
                }
                Ok(status) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                    anyhow::bail!("an adjustment by {delta} was refused with {status}")
                }
                // Unknown whether it was done: the same key will tell.
                Ok(_) | Err(_) => tokio::time::sleep(REPEAT).await,
            }
        }
    }

    /// Compares with what inventory has received, product by product.
    pub async fn compare(&self, shop: &Shop, deaths: &[Died]) -> Result<Compared> {
        let mut redis = patient(shop.database.client()).await?;
        let mut compared = Compared {
            done: self.adjusted.len(),
            refused: self.refused,
            ..Compared::default()
        };
        for (product, opening) in &self.opening {
            let received: Option<i64> = redis::cmd("HGET")
                .arg(shop.keys.stock(*product))
                .arg("received")
                .query_async(&mut redis)
                .await?;
            let received = received.with_context(|| format!("inventory keeps no book of what {product} received"))?;
            let own = self.adjusted.iter().filter(|adjusted| adjusted.product == *product);
            let lost: Vec<i64> = own
                .clone()
                .filter(|adjusted| is_permitted(deaths, adjusted.asked, adjusted.known))
                .map(|adjusted| adjusted.delta)
                .collect();
            let expected = opening + own.map(|adjusted| adjusted.delta).sum::<i64>();
            let (missing, extra) = (
                positive(&lost),
                positive(&lost.iter().map(|delta| -delta).collect::<Vec<_>>()),
            );
            if received != expected {
                compared.excused += (received - expected).abs();
            }
            if received < expected - missing || received > expected + extra {
                compared.differing.push(format!(
                    "{product} received {received}, the staff's book says {expected}"
                ));
            }
        }
        Ok(compared)
    }
}

fn positive(deltas: &[i64]) -> i64 {
    deltas.iter().filter(|delta| **delta > 0).sum()
}
