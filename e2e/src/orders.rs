//! The shop's HTTP API as a shopper and a shopkeeper see it, through the storefront's gateway.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::forward::Forward;
use crate::{object, wait};

/// States in which nothing more is owed to anybody.
pub const FINAL: [&str; 5] = ["completed", "declined", "rejected", "cancelled", "refunded"];

/// Above the gateway's own limits, the outer of which is 14 s: its word on what became of a request is worth waiting for.
const ANSWER: Duration = Duration::from_secs(20);

/// What became of one request for an order.
enum Placed {
    Accepted(String),
    /// No word on what became of it: asked for again under the same key, there is still one order.
    Again(String),
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

    /// Creates a product; retried under the same key while the shop wakes up.
    pub async fn create_product(&self, name: &str, minor: i64, stock: i64) -> Result<String> {
        let body = json!({
            "name": name, "description": "made by a test",
            "price": {"amount": minor, "currency": self.currency}, "stock": stock,
        });
        let (body, key) = (&body, &Uuid::new_v4().to_string());
        let created = wait::until("a product to be created", wait::SHORT, || async move {
            let request = self.http.post(format!("{}/api/v1/products", self.base));
            let request = request.bearer_auth(&self.admin_key).header("idempotency-key", key);
            self.answer(request.json(body)).await
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

    /// Places an order; its id. One order comes of it: whatever is not accepted is asked for again under the same key.
    pub async fn place(&self, lines: &[(&str, u32)]) -> Result<String> {
        let key = Uuid::new_v4().to_string();
        let started = Instant::now();
        loop {
            match self.try_to_place(lines, &key).await? {
                Placed::Accepted(id) => return Ok(id),
                Placed::Again(answer) => {
                    ensure!(
                        started.elapsed() < wait::LONG,
                        "an order could not be placed; the last answer was {answer}"
                    );
                    println!("placing an order again: {answer}");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// Places `count` orders of one piece each, a few at a time; the ids of all of them. Exactly so many come of it.
    pub async fn place_many(&self, product: &str, count: usize) -> Result<Vec<String>> {
        let lines = &[(product, 1)];
        let placing = stream::iter(0..count).map(|_| self.place(lines));
        placing.buffer_unordered(4).try_collect().await
    }

    /// Places an order with one request; its id if the answer says that it was accepted.
    pub async fn place_once(&self, lines: &[(&str, u32)]) -> Result<String> {
        match self.try_to_place(lines, &Uuid::new_v4().to_string()).await? {
            Placed::Accepted(id) => Ok(id),
            Placed::Again(answer) => bail!("placing an order was answered {answer}"),
        }
    }

    /// An error is an answer that no repetition makes good.
    async fn try_to_place(&self, lines: &[(&str, u32)], key: &str) -> Result<Placed> {
        let body = json!({"lines": as_lines(lines)});
        let request = self.http.post(format!("{}/api/v1/orders", self.base));
        let response = match request.header("idempotency-key", key).json(&body).send().await {
            Ok(response) => response,
            Err(error) => return Ok(Placed::Again(error.to_string())),
        };
        let status = response.status();
        let location = response.headers().get("location").cloned();
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return Ok(Placed::Again(error.to_string())),
        };
        match status.as_u16() {
            202 => {}
            502..=504 => return Ok(Placed::Again(format!("{status}: {text}"))),
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

    /// An order as the shop shows it.
    pub async fn order(&self, id: &str) -> Result<Value> {
        let request = self.http.get(format!("{}/api/v1/orders/{id}", self.base));
        self.answer(request.bearer_auth(&self.admin_key)).await
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

fn as_lines(lines: &[(&str, u32)]) -> Vec<Value> {
    lines
        .iter()
        .map(|(product, quantity)| json!({"product_id": product, "quantity": quantity}))
        .collect()
}
