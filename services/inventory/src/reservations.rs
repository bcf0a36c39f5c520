//! Reservations: one script, one effect. The scripts decide; `shopwright_domain::reservation` says what they must decide.
//! Writes the keys of inventory only; of payments' stream the scripts look for the entry that asks.

use std::sync::Arc;

use redis::{FromRedisValue, RedisError, RedisResult, Script, Value};
use serde::Deserialize;
use shopwright_domain::{
    events::{Meta, OrderPlaced},
    ids::{OrderId, ProductId},
    keys::ShopKeys,
    reservation::Answer,
};
use shopwright_kit::{Redis, crash};
use shopwright_streams::EntryId;

use crate::scripts::{self, Call};

/// How often a reservation that changed between reading its lines and the script is looked at again.
const ROUNDS: u32 = 3;

/// What payments asks for.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// Hold all lines or none.
    Reserve(&'a OrderPlaced),
    /// Give back what is held, or see to it that nothing ever will be.
    Release(OrderId),
    /// Make what is held final.
    Commit(OrderId),
}

impl Ask<'_> {
    fn order_id(&self) -> OrderId {
        match self {
            Self::Reserve(placed) => placed.order_id,
            Self::Release(order_id) | Self::Commit(order_id) => *order_id,
        }
    }
}

/// What is asked for, by which entry, and the event with which it is answered.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What is asked for.
    pub ask: Ask<'a>,
    /// The entry of payments' stream that asks. Without it in the stream, the request has no effect.
    pub entry: EntryId,
    /// Identity of the answer.
    pub event: Meta,
}

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

/// A failure. The request had no effect, or its effect is not known; it can be made again, unless its entry is lost.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReservationError {
    /// Redis failed or refused.
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
    /// Redis does not have the entry that asks (any more): a crash took what payments told after it was read.
    #[error("the entry that asks is lost")]
    EntryLost,
    /// Others changed the reservation each time we looked.
    #[error("the reservation kept changing")]
    Contended,
    /// A document or a reply is not as this service writes it.
    #[error("{0} is not as expected")]
    Corrupt(&'static str),
}

/// The three scripts.
#[derive(Debug)]
pub struct Rules {
    reserve: Script,
    release: Script,
    commit: Script,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(
            include_str!("scripts/reserve.lua"),
            include_str!("scripts/release.lua"),
            include_str!("scripts/commit.lua"),
        )
    }
}

impl Rules {
    /// Scripts by their text, without the head that they share. Tests hand in rules with a hole, to see that it is found.
    pub fn new(reserve: &str, release: &str, commit: &str) -> Self {
        Self::with_head(include_str!("scripts/reservation.lua"), reserve, release, commit)
    }

    /// The same with another head.
    pub fn with_head(head: &str, reserve: &str, release: &str, commit: &str) -> Self {
        let script = |body| Script::new(&[head, body].concat());
        Self {
            reserve: script(reserve),
            release: script(release),
            commit: script(commit),
        }
    }
}

/// The reservations of one shop.
#[derive(Debug, Clone)]
pub struct Reservations {
    redis: Redis,
    keys: ShopKeys,
    rules: Arc<Rules>,
}

#[derive(Deserialize)]
struct HeldLine {
    product_id: ProductId,
}

/// What became of one script; `None` when the lines that it was told were not the reservation's.
type Reply = Result<Option<Outcome>, ReservationError>;

impl Reservations {
    /// Over the service's own connection.
    pub fn new(redis: Redis, keys: ShopKeys) -> Self {
        Self::with_rules(redis, keys, Rules::default())
    }

    /// The same with other scripts.
    pub fn with_rules(redis: Redis, keys: ShopKeys, rules: Rules) -> Self {
        Self {
            redis,
            keys,
            rules: Arc::new(rules),
        }
    }

    /// Makes all requests and says what became of each, in their order: two round trips for all, however many they are.
    /// Each is an effect of its own; one that fails leaves the others whole.
    ///
    /// Of one order, a later request may come too early: its lines were read before an earlier one wrote them. The script
    /// notices, and such requests are made again in another two round trips.
    pub async fn ask(&self, requests: &[Request<'_>]) -> Vec<Result<Outcome, ReservationError>> {
        let mut answers: Vec<_> = requests.iter().map(|_| Err(ReservationError::Contended)).collect();
        let mut open: Vec<usize> = (0..requests.len()).collect();
        for _ in 0..ROUNDS {
            if open.is_empty() {
                break;
            }
            let round: Vec<_> = open.iter().map(|index| &requests[*index]).collect();
            let replies = match self.round(&round).await {
                Ok(replies) => replies,
                Err(error) => {
                    for index in open {
                        answers[index] = Err(error.clone().into());
                    }
                    break;
                }
            };
            let mut conflicts = Vec::new();
            for (index, reply) in open.into_iter().zip(replies) {
                match reply.transpose() {
                    Some(answer) => answers[index] = answer,
                    None => conflicts.push(index),
                }
            }
            open = conflicts;
        }
        answers
    }

    async fn round(&self, requests: &[&Request<'_>]) -> RedisResult<Vec<Reply>> {
        let products = self.products(requests).await?;
        let calls: Vec<Result<Call<'_>, ReservationError>> = requests
            .iter()
            .zip(products)
            .map(|(request, products)| Ok(self.call(request, &products?)))
            .collect();
        let sent: Vec<&Call<'_>> = calls.iter().flatten().collect();
        crash::point("inventory.react.before_store");
        let mut replies = scripts::send(&self.redis, &sent).await?.into_iter();
        crash::point("inventory.react.after_store");
        let outcomes = calls.iter().map(|call| match call {
            Ok(_) => outcome(
                replies
                    .next()
                    .ok_or(ReservationError::Corrupt("a pipeline's reply"))??,
            ),
            Err(error) => Err(error.clone()),
        });
        Ok(outcomes.collect())
    }

    /// The products of each request, since a script must be told all its keys. A release or a commit names an order only,
    /// so the lines of all such orders are read, together. Lines never change once written; that they are written in
    /// between is the script's to notice.
    async fn products(&self, requests: &[&Request<'_>]) -> RedisResult<Vec<Result<Vec<ProductId>, ReservationError>>> {
        let settled: Vec<String> = requests
            .iter()
            .filter(|request| !matches!(request.ask, Ask::Reserve(_)))
            .map(|request| self.keys.reservation(request.ask.order_id()))
            .collect();
        let mut held = Vec::new();
        if !settled.is_empty() {
            held = redis::cmd("JSON.MGET")
                .arg(settled)
                .arg(".lines")
                .query_async::<Vec<Option<String>>>(&mut self.redis.idempotent())
                .await?;
        }
        let mut held = held.into_iter();
        let products = requests.iter().map(|request| match request.ask {
            Ask::Reserve(placed) => Ok(placed.lines.as_slice().iter().map(|line| line.product_id).collect()),
            Ask::Release(_) | Ask::Commit(_) => held_products(held.next().flatten().as_deref()),
        });
        Ok(products.collect())
    }

    fn call(&self, request: &Request<'_>, products: &[ProductId]) -> Call<'_> {
        let (order_id, event) = (request.ask.order_id(), request.event.clone());
        let mut keys = vec![
            self.keys.reservation(order_id),
            self.keys.inventory_events(),
            self.keys.payments_events(),
        ];
        for product in products {
            keys.extend([self.keys.product(*product), self.keys.stock(*product)]);
        }
        let mut arguments = vec![
            order_id.to_string(),
            event.id,
            event.time,
            event.traceparent,
            event.request_id,
            request.entry.to_string(),
        ];
        let script = match request.ask {
            Ask::Reserve(placed) => {
                arguments.push(placed.currency.as_str().to_owned());
                for line in placed.lines.as_slice() {
                    let expected = line.expected_unit_price.map(|amount| amount.to_string());
                    arguments.extend([
                        line.product_id.to_string(),
                        line.quantity.to_string(),
                        expected.unwrap_or_default(),
                    ]);
                }
                &self.rules.reserve
            }
            Ask::Release(_) => &self.rules.release,
            Ask::Commit(_) => &self.rules.commit,
        };
        Call::new(script, keys, arguments)
    }
}

fn held_products(lines: Option<&str>) -> Result<Vec<ProductId>, ReservationError> {
    let Some(text) = lines else { return Ok(Vec::new()) };
    let lines: Vec<HeldLine> =
        serde_json::from_str(text).map_err(|_| ReservationError::Corrupt("a reservation's document"))?;
    Ok(lines.into_iter().map(|line| line.product_id).collect())
}

fn outcome(reply: Value) -> Reply {
    let (kind, changed, alarm) =
        <(String, bool, bool)>::from_redis_value(reply).map_err(|_| ReservationError::Corrupt("a script's reply"))?;
    let answer = match kind.as_str() {
        "conflict" => return Ok(None),
        "lost" => return Err(ReservationError::EntryLost),
        "stock.reserved" => Answer::Reserved,
        "stock.rejected" => Answer::Rejected,
        "stock.committed" => Answer::Committed,
        "stock.commit_refused" => Answer::CommitRefused,
        "stock.released" => Answer::Released,
        _ => return Err(ReservationError::Corrupt("a script's reply")),
    };
    Ok(Some(Outcome { answer, changed, alarm }))
}
