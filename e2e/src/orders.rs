//! The shop's HTTP API as a shopper and a shopkeeper see it, through the storefront's gateway.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::forward::Forward;
use crate::{object, wait};

/// States in which nothing more is owed to anybody.
pub const FINAL: [&str; 5] = ["completed", "declined", "rejected", "cancelled", "refunded"];

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
            .timeout(Duration::from_secs(12))
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

    /// A product as the shop shows it.
    pub async fn product(&self, id: &str) -> Result<Value> {
        self.answer(self.http.get(format!("{}/api/v1/products/{id}", self.base)))
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

    /// Places an order, once; its id if it was accepted.
    pub async fn place(&self, lines: &[(&str, u32)]) -> Result<String> {
        let lines: Vec<Value> = lines
            .iter()
            .map(|(product, quantity)| json!({"product_id": product, "quantity": quantity}))
            .collect();
        let request = self.http.post(format!("{}/api/v1/orders", self.base));
        let response = request.json(&json!({"lines": lines})).send().await?;
        let status = response.status();
        let location = response.headers().get("location").cloned();
        let text = response.text().await?;
        ensure!(status.as_u16() == 202, "placing an order was answered {status}: {text}");
        let order: Value = serde_json::from_str(&text)?;
        let id = object::text(&order, "/id")?;
        let location = location.context("202 without Location")?;
        ensure!(
            location.to_str()?.ends_with(&id),
            "Location {location:?} does not name the order {id}"
        );
        Ok(id)
    }

    /// Places `count` orders of one piece each, a few at a time; the ids of all of them.
    pub async fn place_many(&self, product: &str, count: usize) -> Result<Vec<String>> {
        use futures::{StreamExt as _, TryStreamExt as _};
        futures::stream::iter(0..count)
            .map(|_| async move { self.place(&[(product, 1)]).await })
            .buffer_unordered(4)
            .try_collect()
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

    /// Anything else on the gateway, as text.
    pub async fn page(&self, path: &str) -> Result<String> {
        let response = self.http.get(format!("{}{path}", self.base)).send().await?;
        Ok(response.error_for_status()?.text().await?)
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
