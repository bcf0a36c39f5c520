//! The API of a shop on a port of its own, what its callers send, and orders brought to where a test wants them.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use shopwright_domain::access::User;
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::lines::PricedLine;
use shopwright_domain::money::Amount;
use shopwright_domain::order::{ChargeAnswer, Input, Order};
use shopwright_kit::metrics::{HttpMetrics, registry};
use shopwright_kit::search_index::IndexReady;
use shopwright_kit::sse::Places;
use shopwright_kit::{AdminKey, Capacity, Secret, idempotency, serve};
use shopwright_payments::act::{Actor, Happening};
use shopwright_payments::http::{ApiState, WATCHERS, router};
use shopwright_payments::index;
use shopwright_payments::token::TokenKeys;
use shopwright_payments::watch::Watch;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::{Running, Shop, patient};

/// What [`Api::reserve`] takes for a piece.
const UNIT_PRICE: i64 = 333;
pub const ADMIN_KEY: &str = "key";
pub const OLD_KEY: &str = "old:1111111111111111111111111111111111111111111111111111111111111111";
pub const NEW_KEY: &str = "new:2222222222222222222222222222222222222222222222222222222222222222";

/// Most of what the service is, in one task of the test.
pub struct Api {
    pub shop: Shop,
    pub state: ApiState,
    pub running: Running,
    pub caller: Caller,
}

/// Somebody out there.
#[derive(Clone)]
pub struct Caller {
    pub address: SocketAddr,
    pub client: Client,
}

/// An order as whoever placed it knows it.
#[derive(Debug, Clone)]
pub struct Placed {
    pub id: OrderId,
    pub token: String,
    pub path: String,
    pub body: Value,
}

impl Api {
    pub async fn start() -> Self {
        Self::over(Shop::start().await).await
    }

    pub async fn over(shop: Shop) -> Self {
        let actor = shop.actor(patient());
        Self::with(shop, actor, |_| {}).await
    }

    /// The same, with another state than the usual one.
    pub async fn with(shop: Shop, actor: Actor, change: impl FnOnce(&mut ApiState)) -> Self {
        let mut running = Running::new();
        running.spawn(index::orders(&shop.keys).keep(
            shop.redis(User::Payments),
            shop.settings(User::Migration),
            IndexReady::default(),
            running.token(),
        ));
        let watch = Watch::new(actor.store.clone());
        let client = shop.settings(User::Payments).client().unwrap();
        running.spawn(watch.clone().run(client, running.token()));
        let mut state = ApiState {
            actor,
            currency: "EUR".parse().unwrap(),
            admin_key: AdminKey::new(Secret::new(ADMIN_KEY)),
            token_keys: TokenKeys::parse(OLD_KEY).unwrap(),
            retention: idempotency::RETENTION,
            capacity: Capacity::default(),
            watch,
            places: Places::new(WATCHERS),
            streams: shop.streams(User::Payments).shared(),
            shutdown: running.token(),
        };
        change(&mut state);
        let caller = serve(&mut running, state.clone()).await;
        Self {
            shop,
            state,
            running,
            caller,
        }
    }

    /// The same shop once more, by other keys of tokens: what a rolling update with new keys is.
    pub async fn rotated(&mut self, keys: &str) -> Caller {
        let state = ApiState {
            token_keys: TokenKeys::parse(keys).unwrap(),
            ..self.state.clone()
        };
        serve(&mut self.running, state).await
    }

    pub async fn act(&self, id: OrderId, input: Input) -> Order {
        self.state.actor.act(id, &Happening::Input(input)).await.unwrap()
    }

    /// Stock is there, at [`UNIT_PRICE`].
    pub async fn reserve(&self, id: OrderId) -> Order {
        let order = self.state.actor.store.load(id).await.unwrap().unwrap().order;
        let price = |line: &shopwright_domain::order::OrderLine| PricedLine {
            product_id: line.product_id,
            quantity: line.quantity,
            unit_price: Amount::new(UNIT_PRICE).unwrap(),
        };
        let lines = order.lines.iter().map(price).collect();
        self.act(id, Input::StockReserved(lines)).await
    }

    pub async fn start_charging(&self, id: OrderId) -> Order {
        self.reserve(id).await;
        self.act(id, Input::ChargeStarting).await
    }

    pub async fn pay(&self, id: OrderId) -> Order {
        self.start_charging(id).await;
        self.act(id, Input::Charge(ChargeAnswer::Charged)).await
    }

    pub async fn complete(&self, id: OrderId) -> Order {
        self.pay(id).await;
        self.act(id, Input::StockCommitted).await
    }

    /// A new order that was paid and committed.
    pub async fn completed(&self) -> Placed {
        let placed = self.caller.place().await;
        self.complete(placed.id).await;
        placed
    }

    /// How many entries payments told inventory.
    pub async fn events(&self) -> usize {
        self.shop.entries(&self.shop.keys.payments_events()).await.len()
    }

    pub async fn configure(&self, parameter: &str, value: impl ToString) {
        redis::cmd("CONFIG")
            .arg("SET")
            .arg(parameter)
            .arg(value.to_string())
            .exec_async(&mut self.shop.harness().await)
            .await
            .unwrap();
    }

    /// A figure of `INFO`.
    pub async fn information(&self, section: &str, name: &str) -> String {
        let text: String = redis::cmd("INFO")
            .arg(section)
            .query_async(&mut self.shop.harness().await)
            .await
            .unwrap();
        let mut values = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().unwrap_or_default().to_owned()
    }
}

async fn serve(running: &mut Running, state: ApiState) -> Caller {
    let metrics = HttpMetrics::register(&mut registry());
    let application = serve::public(router(state), metrics, serve::Limits::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = running.token();
    running.spawn(async move { serve::run(listener, application, shutdown).await.unwrap() });
    // No time limit of its own: some replies go on for as long as the test wants.
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    Caller { address, client }
}

impl Caller {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn request(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    /// With a key that nobody used before.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(path).header("idempotency-key", new_key())
    }

    pub async fn try_place(&self, body: &Value) -> Response {
        self.post("/v1/orders").json(body).send().await.unwrap()
    }

    pub async fn place_as(&self, key: &str, body: &Value) -> Response {
        let request = self.request("/v1/orders").header("idempotency-key", key);
        request.json(body).send().await.unwrap()
    }

    pub async fn place(&self) -> Placed {
        Placed::of(self.try_place(&order_of(1)).await).await
    }

    pub async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub async fn get_with(&self, path: &str, token: &str) -> Response {
        let request = self.client.get(self.url(path)).header("order-token", token);
        request.send().await.unwrap()
    }

    pub async fn get_as_staff(&self, path: &str) -> Response {
        let request = self.client.get(self.url(path)).bearer_auth(ADMIN_KEY);
        request.send().await.unwrap()
    }

    /// The order as its shopper sees it.
    pub async fn read(&self, placed: &Placed) -> Value {
        let response = self.get_with(&placed.path, &placed.token).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    pub async fn cancel(&self, placed: &Placed) -> Response {
        self.cancel_as(&new_key(), placed).await
    }

    pub async fn cancel_as(&self, key: &str, placed: &Placed) -> Response {
        self.request(&format!("{}/cancel", placed.path))
            .header("idempotency-key", key)
            .header("order-token", &placed.token)
            .send()
            .await
            .unwrap()
    }

    pub async fn refund(&self, placed: &Placed, body: &Value) -> Response {
        self.refund_as(&new_key(), placed, body).await
    }

    pub async fn refund_as(&self, key: &str, placed: &Placed, body: &Value) -> Response {
        self.request(&format!("{}/refunds", placed.path))
            .header("idempotency-key", key)
            .bearer_auth(ADMIN_KEY)
            .json(body)
            .send()
            .await
            .unwrap()
    }
}

impl Placed {
    pub async fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let path = response.headers()["location"].to_str().unwrap().to_owned();
        let body: Value = response.json().await.unwrap();
        Self {
            id: body["id"].as_str().unwrap().parse().unwrap(),
            token: body["order_token"].as_str().unwrap().to_owned(),
            path,
            body,
        }
    }
}

pub fn new_key() -> String {
    Uuid::new_v4().to_string()
}

pub async fn problem(response: Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: Value = response.json().await.unwrap();
    (status, body["code"].as_str().unwrap().to_owned(), body)
}

/// Status, code, and whether it says when to come again.
pub async fn refusal(response: Response) -> (u16, String, bool) {
    let is_later = response.headers().contains_key("retry-after");
    let (status, code, _) = problem(response).await;
    (status, code, is_later)
}

pub fn is_replay(response: &Response) -> bool {
    let header = response.headers().get("idempotent-replayed");
    header.is_some_and(|value| value == "true")
}

pub fn order_of(lines: usize) -> Value {
    let line = || json!({"product_id": ProductId::generate(), "quantity": 1});
    json!({"lines": (0..lines).map(|_| line()).collect::<Vec<_>>()})
}

/// For clients that would wait for ever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(60), future).await;
    outcome.unwrap_or_else(|_| panic!("never came: {what}"))
}
