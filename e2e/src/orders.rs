//! The shop's HTTP API as a shopper and a shopkeeper see it, through the storefront's gateway.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::forward::Forward;
use crate::{object, wait};

/// States in which nothing more is owed to anybody.
pub const FINAL: [&str; 5] = ["completed", "declined", "rejected", "cancelled", "refunded"];

/// Above the gateway's own limits, the outer of which is 14 s: its word on what became of a request is worth waiting for.
const ANSWER: Duration = Duration::from_secs(20);

/// A request whose connection was cut may be at work in the service until its limit of 10 s.
const SETTLED: Duration = Duration::from_secs(11);

/// The orders that an answer told of, to whichever [`ShopApi`]: a scenario may open the same shop several times.
static ANSWERED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// As many orders as one list may show.
const LONGEST_LIST: usize = 100;

/// What became of one request for an order.
enum Placed {
    Accepted(String),
    /// Nothing happened: it may be asked for again.
    Refused(String),
    /// It may have happened: asked for again, there could be two.
    Unknown(String),
}

/// A shop's address and the key of its keeper.
pub struct ShopApi {
    http: reqwest::Client,
    base: String,
    admin_key: String,
    currency: &'static str,
    _forward: Forward,
}

impl ShopApi {
    /// Opens a way to the gateway.
    pub async fn open(cluster: &Cluster, namespace: &str, storefront: &str, admin_key: String) -> Result<Self> {
        let forward = Forward::open(&cluster.client, namespace, storefront, 8080).await?;
        let base = format!("http://{}", forward.address());
        // Pods come and go behind the forward: a connection kept for long leads to one that is gone.
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_idle_timeout(Duration::from_secs(2))
            .timeout(ANSWER)
            .build()?;
        Ok(Self {
            http,
            base,
            admin_key,
            currency: "EUR",
            _forward: forward,
        })
    }

    /// Creates a product; retried while the shop wakes up, so `name` may come to exist twice but the returned id has `stock`.
    pub async fn create_product(&self, name: &str, minor: i64, stock: i64) -> Result<String> {
        let body = json!({
            "name": name, "description": "made by a test",
            "price": {"amount": minor, "currency": self.currency}, "stock": stock,
        });
        let body = &body;
        let created = wait::until("a product to be created", wait::SHORT, || async move {
            let request = self.http.post(format!("{}/api/v1/products", self.base));
            self.answer(request.bearer_auth(&self.admin_key).json(body)).await
        })
        .await?;
        object::text(&created, "/id")
    }

    /// A product as the shop shows it, once it answers.
    pub async fn product(&self, id: &str) -> Result<Value> {
        wait::until("a product to be shown", wait::SHORT, || {
            self.answer(self.http.get(format!("{}/api/v1/products/{id}", self.base)))
        })
        .await
    }

    /// Waits until no piece of a product is held for an order; how many there are.
    pub async fn on_hand_settled(&self, id: &str) -> Result<i64> {
        wait::until("no piece to be held for an order", wait::LONG, || async move {
            let stock = self
                .answer(self.http.get(format!("{}/api/v1/products/{id}/stock", self.base)))
                .await?;
            ensure!(stock["reserved"] == 0, "there is {stock}");
            object::number(&stock, "/on_hand")
        })
        .await
    }

    /// Places an order; its id. Exactly one order comes of it: refusals are tried again, and where the outcome is unknown,
    /// the shop is asked what it has.
    pub async fn place(&self, lines: &[(&str, u32)]) -> Result<String> {
        let ids = self.place_each(lines, 1).await?;
        ids.into_iter().next().context("no order was placed")
    }

    /// Places `count` orders of one piece each, a few at a time; the ids of all of them. Exactly so many come of it.
    pub async fn place_many(&self, product: &str, count: usize) -> Result<Vec<String>> {
        self.place_each(&[(product, 1)], count).await
    }

    /// Places an order with one request; its id if the answer says that it was accepted.
    pub async fn place_once(&self, lines: &[(&str, u32)]) -> Result<String> {
        match self.try_to_place(lines).await? {
            Placed::Accepted(id) => {
                answered().insert(id.clone());
                Ok(id)
            }
            Placed::Refused(answer) | Placed::Unknown(answer) => bail!("placing an order was answered {answer}"),
        }
    }

    /// In rounds, because only between two of them is nothing on its way: then an order of the list that no answer told of
    /// is one whose answer was lost. Nobody else may place the same lines meanwhile.
    async fn place_each(&self, lines: &[(&str, u32)], count: usize) -> Result<Vec<String>> {
        let before = answered().clone();
        let mut ids = Vec::new();
        let started = Instant::now();
        while ids.len() < count {
            let outcomes: Vec<Placed> = stream::iter(ids.len()..count)
                .map(|_| self.try_to_place(lines))
                .buffer_unordered(4)
                .try_collect()
                .await?;
            let (mut last, mut unknown) = (None, false);
            for outcome in outcomes {
                match outcome {
                    Placed::Accepted(id) => ids.push(id),
                    Placed::Refused(answer) => last = Some(answer),
                    Placed::Unknown(answer) => {
                        unknown = true;
                        last = Some(answer);
                    }
                }
            }
            if unknown {
                tokio::time::sleep(SETTLED).await;
                let stored = self.listed(lines).await?;
                ids = stored.into_iter().filter(|id| !before.contains(id)).collect();
            }
            let Some(answer) = last else { continue };
            ensure!(
                started.elapsed() < wait::LONG,
                "{} of {count} orders could be placed; the last was answered {answer}",
                ids.len()
            );
            println!("placing orders, {} of {count} so far: {answer}", ids.len());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        answered().extend(ids.iter().cloned());
        Ok(ids)
    }

    /// An error is an answer that no repetition makes good.
    async fn try_to_place(&self, lines: &[(&str, u32)]) -> Result<Placed> {
        let body = json!({"lines": as_lines(lines)});
        let request = self.http.post(format!("{}/api/v1/orders", self.base));
        let response = match request.json(&body).send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Ok(Placed::Refused(error.to_string())),
            Err(error) => return Ok(Placed::Unknown(error.to_string())),
        };
        let status = response.status();
        let location = response.headers().get("location").cloned();
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return Ok(Placed::Unknown(error.to_string())),
        };
        match status.as_u16() {
            202 => {}
            503 => return Ok(Placed::Refused(format!("{status}: {text}"))),
            // The gateway does not know either what became of it.
            502 | 504 => return Ok(Placed::Unknown(format!("{status}: {text}"))),
            _ => bail!("placing an order was answered {status}: {text}"),
        }
        let order: Value = serde_json::from_str(&text)?;
        let id = object::text(&order, "/id")?;
        let location = location.context("202 without Location")?;
        ensure!(
            location.to_str()?.ends_with(&id),
            "Location {location:?} does not name the order {id}"
        );
        Ok(Placed::Accepted(id))
    }

    /// The newest orders of exactly these lines, once the shop answers.
    async fn listed(&self, lines: &[(&str, u32)]) -> Result<Vec<String>> {
        let lines = &as_lines(lines);
        wait::until("the list of orders", wait::LONG, || async move {
            let request = self
                .http
                .get(format!("{}/api/v1/orders?limit={LONGEST_LIST}", self.base));
            let list = self.answer(request.bearer_auth(&self.admin_key)).await?;
            let orders = list["items"].as_array().context("a list without items")?;
            let same = |order: &&Value| {
                let has = order["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
                // Prices are added to the lines as the order goes on.
                has.len() == lines.len()
                    && has.iter().zip(lines).all(|(one, other)| {
                        one["product_id"] == other["product_id"] && one["quantity"] == other["quantity"]
                    })
            };
            orders
                .iter()
                .filter(same)
                .map(|order| object::text(order, "/id"))
                .collect()
        })
        .await
    }

    /// An order as the shop shows it.
    pub async fn order(&self, id: &str) -> Result<Value> {
        self.answer(self.http.get(format!("{}/api/v1/orders/{id}", self.base)))
            .await
    }

    /// Waits until an order has ended, and hands it back.
    pub async fn ended(&self, id: &str, deadline: Duration) -> Result<Value> {
        wait::until(&format!("order {id} to end"), deadline, || async move {
            let order = self.order(id).await?;
            let state = object::text(&order, "/state")?;
            ensure!(FINAL.contains(&state.as_str()), "it is {state}: {order}");
            Ok(order)
        })
        .await
    }

    /// Places an order and demands the state that it ends in.
    pub async fn order_ends(&self, lines: &[(&str, u32)], state: &str) -> Result<Value> {
        let id = self.place(lines).await?;
        let order = self.ended(&id, wait::LONG).await?;
        ensure!(order["state"] == state, "order {id} should have ended {state}: {order}");
        Ok(order)
    }

    /// Anything else on the gateway, as text, once it answers.
    pub async fn page(&self, path: &str) -> Result<String> {
        wait::until(&format!("the page {path}"), wait::SHORT, || async {
            let response = self.http.get(format!("{}{path}", self.base)).send().await?;
            Ok(response.error_for_status()?.text().await?)
        })
        .await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }
}

fn answered() -> MutexGuard<'static, BTreeSet<String>> {
    ANSWERED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn as_lines(lines: &[(&str, u32)]) -> Vec<Value> {
    lines
        .iter()
        .map(|(product, quantity)| json!({"product_id": product, "quantity": quantity}))
        .collect()
}
