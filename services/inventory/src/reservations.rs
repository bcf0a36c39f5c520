//! Reservations: one script, one effect. The scripts decide; `shopwright_domain::reservation` says what they must decide.

use std::sync::LazyLock;

use redis::{RedisError, Script, ScriptInvocation};
use serde::Deserialize;
use shopwright_domain::{
    events::{Meta, OrderPlaced},
    ids::{OrderId, ProductId},
    keys::ShopKeys,
    reservation::Answer,
};
use shopwright_kit::Redis;

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/reservation.lua"),
                include_str!(concat!("scripts/", $file))
            ))
        })
    };
}

static RESERVE: LazyLock<Script> = script!("reserve.lua");
static RELEASE: LazyLock<Script> = script!("release.lua");
static COMMIT: LazyLock<Script> = script!("commit.lua");

/// How often a reservation that changed between reading its lines and the script is looked at again.
const ATTEMPTS: u32 = 3;

/// What a request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The event that was written.
    pub answer: Answer,
    /// Whether anything changed; a repetition changes nothing and answers again.
    pub changed: bool,
    /// Somebody asked to release what is sold.
    pub alarm: bool,
}

/// A failure. The entry stays pending and is delivered again.
#[derive(Debug, thiserror::Error)]
pub enum ReservationError {
    /// Redis failed or refused.
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
    /// Others changed the reservation each time we looked.
    #[error("the reservation kept changing")]
    Contended,
    /// A document or a reply is not as this service writes it.
    #[error("{0} is not as expected")]
    Corrupt(&'static str),
}

/// The reservations of one shop.
#[derive(Debug, Clone)]
pub struct Reservations {
    redis: Redis,
    keys: ShopKeys,
}

#[derive(Deserialize)]
struct HeldLine {
    product_id: ProductId,
}

impl Reservations {
    /// Over the service's own connection.
    pub fn new(redis: Redis, keys: ShopKeys) -> Self {
        Self { redis, keys }
    }

    /// Holds all lines or none, and answers.
    pub async fn reserve(&self, placed: &OrderPlaced, event: &Meta) -> Result<Outcome, ReservationError> {
        let lines = placed.lines.as_slice();
        let products = lines.iter().map(|line| line.product_id);
        let mut invocation = self.invocation(&RESERVE, placed.order_id, products, event);
        invocation.arg(placed.currency.as_str());
        for line in lines {
            let expected = line
                .expected_unit_price
                .map(|amount| amount.to_string())
                .unwrap_or_default();
            invocation
                .arg(line.product_id.to_string())
                .arg(line.quantity)
                .arg(expected);
        }
        self.invoke(&invocation).await?.ok_or(ReservationError::Contended)
    }

    /// Gives back what is held, or sees to it that nothing ever will be, and answers.
    pub async fn release(&self, order_id: OrderId, event: &Meta) -> Result<Outcome, ReservationError> {
        self.settle(&RELEASE, order_id, event).await
    }

    /// Makes what is held final, and answers.
    pub async fn commit(&self, order_id: OrderId, event: &Meta) -> Result<Outcome, ReservationError> {
        self.settle(&COMMIT, order_id, event).await
    }

    /// The request names an order only, so its lines are read first: a script must be told all its keys. They never
    /// change once written; that they are written in between is the script's to notice.
    async fn settle(&self, script: &Script, order_id: OrderId, event: &Meta) -> Result<Outcome, ReservationError> {
        for _ in 0..ATTEMPTS {
            let products = self.held_products(order_id).await?;
            let invocation = self.invocation(script, order_id, products.into_iter(), event);
            if let Some(outcome) = self.invoke(&invocation).await? {
                return Ok(outcome);
            }
        }
        Err(ReservationError::Contended)
    }

    async fn held_products(&self, order_id: OrderId) -> Result<Vec<ProductId>, ReservationError> {
        let text: Option<String> = redis::cmd("JSON.GET")
            .arg(self.keys.reservation(order_id))
            .arg(".lines")
            .query_async(&mut self.redis.idempotent())
            .await?;
        let Some(text) = text else { return Ok(Vec::new()) };
        let lines: Vec<HeldLine> =
            serde_json::from_str(&text).map_err(|_| ReservationError::Corrupt("a reservation's document"))?;
        Ok(lines.into_iter().map(|line| line.product_id).collect())
    }

    fn invocation<'a>(
        &self,
        script: &'a Script,
        order_id: OrderId,
        products: impl Iterator<Item = ProductId>,
        event: &Meta,
    ) -> ScriptInvocation<'a> {
        let mut invocation = script.key(self.keys.reservation(order_id));
        invocation.key(self.keys.inventory_events());
        for product in products {
            invocation.key(self.keys.product(product)).key(self.keys.stock(product));
        }
        invocation
            .arg(order_id.to_string())
            .arg(&[&event.id, &event.time, &event.traceparent, &event.request_id]);
        invocation
    }

    /// `None` when the declared lines were not the reservation's.
    async fn invoke(&self, invocation: &ScriptInvocation<'_>) -> Result<Option<Outcome>, ReservationError> {
        let (kind, changed, alarm): (String, bool, bool) =
            invocation.invoke_async(&mut self.redis.idempotent()).await?;
        let answer = match kind.as_str() {
            "conflict" => return Ok(None),
            "stock.reserved" => Answer::Reserved,
            "stock.rejected" => Answer::Rejected,
            "stock.committed" => Answer::Committed,
            "stock.commit_refused" => Answer::CommitRefused,
            "stock.released" => Answer::Released,
            _ => return Err(ReservationError::Corrupt("a script's reply")),
        };
        Ok(Some(Outcome { answer, changed, alarm }))
    }
}
