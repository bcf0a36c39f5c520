//! A shopper by HTTP: creates products, places an order, follows it to its end. Talks to one storefront address only.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use shopwright_storm::accounts::random_word;

/// States in which an order stays.
const FINAL_STATES: [&str; 5] = ["completed", "rejected", "declined", "cancelled", "refunded"];
/// What the demonstration sells: name, description, price in minor units, stock.
const PRODUCTS: [(&str, &str, i64, u32); 4] = [
    ("Copper kettle", "Holds 1.2 litres and whistles in F", 4_900, 40),
    ("Walnut bowl", "Turned from one piece", 3_450, 25),
    ("Linen apron", "Two pockets, washed", 2_800, 100),
    ("Bread knife", "Serrated, 23 cm", 5_200, 12),
];

/// A running shop, by the address of its storefront and its admin key.
pub(crate) struct Shop {
    client: Client,
    address: String,
    admin_key: String,
}

/// How an order ended.
pub(crate) struct FinishedOrder {
    pub(crate) id: String,
    /// What was ordered.
    pub(crate) product: String,
    pub(crate) state: String,
    pub(crate) took: Duration,
}

impl Shop {
    /// `address` is `http://host:port`, without a path.
    pub(crate) fn new(address: &str, admin_key: &str) -> Result<Self> {
        let client = Client::builder().timeout(Duration::from_secs(15)).build()?;
        Ok(Self {
            client,
            address: address.to_owned(),
            admin_key: admin_key.to_owned(),
        })
    }

    /// Waits until the storefront answers a product list, which needs the gateway, inventory, Redis and the index.
    pub(crate) async fn wait_until_open(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let answer = self.request(Method::GET, "/api/v1/products").send().await;
            let last = match answer {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => format!("status {}", response.status()),
                Err(error) => format!("no answer ({error})"),
            };
            if Instant::now() > deadline {
                bail!(
                    "the shop at {} did not open within {} s: {last}",
                    self.address,
                    patience.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stocks the demonstration's products unless the shop has some already; returns the id of one.
    pub(crate) async fn stock_products(&self) -> Result<String> {
        let listed = body(self.request(Method::GET, "/api/v1/products").send().await?).await?;
        if let Some(id) = listed["items"][0]["id"].as_str() {
            return Ok(id.to_owned());
        }
        let mut first = None;
        for (name, description, amount, stock) in PRODUCTS {
            let product = json!({
                "name": name, "description": description,
                "price": {"amount": amount, "currency": "EUR"}, "stock": stock,
            });
            let request = self
                .request(Method::POST, "/api/v1/products")
                .bearer_auth(&self.admin_key)
                .header("idempotency-key", random_word())
                .json(&product);
            let created = body(request.send().await?)
                .await
                .with_context(|| format!("cannot create {name}"))?;
            let id = created["id"].as_str().context("the created product has no id")?;
            first.get_or_insert_with(|| id.to_owned());
        }
        first.context("the demonstration has products")
    }

    /// Places an order of one unit and follows it to its end, for at most `patience`.
    pub(crate) async fn order(&self, product_id: &str, patience: Duration) -> Result<FinishedOrder> {
        let began = Instant::now();
        let order = json!({"lines": [{"product_id": product_id, "quantity": 1}]});
        let request = self.request(Method::POST, "/api/v1/orders");
        let placed = body(
            request
                .header("idempotency-key", random_word())
                .json(&order)
                .send()
                .await?,
        )
        .await?;
        let id = placed["id"].as_str().context("the placed order has no id")?.to_owned();
        let token = placed["order_token"]
            .as_str()
            .context("the placed order has no token")?;
        let mut state = String::new();
        while began.elapsed() < patience {
            let seen = body(
                self.request(Method::GET, &format!("/api/v1/orders/{id}"))
                    .header("order-token", token)
                    .send()
                    .await?,
            )
            .await?;
            state = seen["state"].as_str().context("the order has no state")?.to_owned();
            if FINAL_STATES.contains(&state.as_str()) {
                return Ok(FinishedOrder {
                    id,
                    product: product_id.to_owned(),
                    state,
                    took: began.elapsed(),
                });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        bail!("order {id} is still {state} after {} s", patience.as_secs())
    }

    /// The demonstration: open, stocked, one order brought to `completed`.
    pub(crate) async fn demonstrate(&self, patience: Duration) -> Result<FinishedOrder> {
        self.wait_until_open(patience).await?;
        let product = self.stock_products().await?;
        let order = self.order(&product, patience).await?;
        if order.state != "completed" {
            bail!("order {} ended as {}, not completed", order.id, order.state);
        }
        Ok(order)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }
}

async fn body(response: Response) -> Result<Value> {
    let status = response.status();
    let text = response.text().await?;
    if !status.is_success() {
        bail!("{status}: {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("the answer is no JSON: {text}"))
}
