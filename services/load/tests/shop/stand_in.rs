//! A shop in memory: the API as load uses it, orders that run their course in milliseconds, and one fault at a time.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures::stream;
use jiff::Timestamp;
use serde_json::{Value, json};
use shopwright_domain::ids::{OrderId, ProductId, RefundId};
use shopwright_domain::money::Money;
use shopwright_load::products::{Product, Products};
use shopwright_load::{AdminKey, Load, ShopUrl};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// So long that a stream tells of each.
const STEP: Duration = Duration::from_millis(100);
const TOTAL: i64 = 1200;

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A repeated key makes another order.
    Doubles,
    /// A replay is not marked.
    UnmarkedReplays,
    /// Orders are taken and forgotten.
    Forgets,
    /// A cancelled order completes.
    IgnoresCancels,
    /// More goes back than was taken.
    RefundsTooMuch,
    /// Every second effect's reply breaks off.
    BreaksReplies,
    StreamVersionBack,
    StreamStateBack,
    /// A stream says nothing after its first event, but lives.
    StreamStuck,
    /// A stream ends after every event.
    StreamEnds,
}

pub(crate) struct Shop {
    pub(crate) fault: Fault,
    /// While true, requests wait.
    pub(crate) hold: watch::Sender<bool>,
    pub(crate) requests: AtomicU64,
    /// Streams that were opened from where another one had ended.
    pub(crate) resumed: AtomicU64,
    orders: Mutex<HashMap<String, watch::Sender<Value>>>,
    /// Orders that somebody has looked at.
    begun: Mutex<HashSet<String>>,
    effects: Mutex<HashMap<String, Value>>,
    made: AtomicU64,
}

/// A running stand-in; when dropped it dies with all its connections.
pub(crate) struct StandIn {
    pub(crate) shop: Arc<Shop>,
    pub(crate) url: ShopUrl,
    /// Its own, so that nothing of it outlives it.
    runtime: Option<Runtime>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl StandIn {
    pub(crate) async fn start(fault: Fault) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let bound = runtime.spawn(TcpListener::bind("127.0.0.1:0")).await.unwrap();
        let listener = bound.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let shop = Arc::new(Shop {
            fault,
            hold: watch::Sender::new(false),
            requests: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            orders: Mutex::default(),
            begun: Mutex::default(),
            effects: Mutex::default(),
            made: AtomicU64::new(0),
        });
        let router = Router::new()
            .route("/api/v1/products", get(list).post(create))
            .route("/api/v1/products/{id}", get(product))
            .route("/api/v1/products/{id}/stock", get(stock))
            .route("/api/v1/orders", post(place))
            .route("/api/v1/orders/{id}", get(read))
            .route("/api/v1/orders/{id}/cancel", post(cancel))
            .route("/api/v1/orders/{id}/refunds", post(refund))
            .route("/api/v1/orders/{id}/events", get(events))
            .layer(from_fn_with_state(shop.clone(), held))
            .with_state(shop.clone());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            shop,
            url,
            runtime: Some(runtime),
        }
    }

    /// A short load of one part, in uniform steps, on two products.
    pub(crate) fn load(&self, mix: &str, rate: f64) -> Load {
        let product = || Product {
            id: ProductId::generate(),
            price: money(1000),
        };
        Load {
            admin_key: Some(AdminKey::new("key")),
            mix: mix.parse().unwrap(),
            rate,
            arrivals: shopwright_load::Arrivals::Uniform,
            duration: Duration::from_secs(1),
            ..Load::new(self.url.clone(), Products::new(vec![product(), product()]).unwrap())
        }
    }

    /// Ids of all orders that were ever made.
    pub(crate) fn orders(&self) -> Vec<OrderId> {
        let orders = self.shop.orders.lock().unwrap();
        orders.keys().map(|id| id.parse().unwrap()).collect()
    }
}

fn money(amount: i64) -> Money {
    serde_json::from_value(json!({"amount": amount, "currency": "EUR"})).unwrap()
}

async fn held(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    shop.requests.fetch_add(1, Ordering::Relaxed);
    shop.hold.subscribe().wait_for(|hold| !hold).await.unwrap();
    next.run(request).await
}

async fn list() -> axum::Json<Value> {
    axum::Json(json!({"items": [{"id": ProductId::generate(), "price": money(1000)}]}))
}

async fn product(Path(id): Path<String>) -> axum::Json<Value> {
    axum::Json(json!({"id": id, "price": money(1000)}))
}

async fn stock() -> axum::Json<Value> {
    axum::Json(json!({"on_hand": 5, "reserved": 2, "available": 3}))
}

async fn create(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Response {
    assert_eq!(headers["authorization"], "Bearer key");
    shop.effect(
        &headers,
        StatusCode::CREATED,
        || json!({"id": ProductId::generate(), "price": money(1000)}),
    )
}

async fn place(State(shop): State<Arc<Shop>>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(!body["lines"].as_array().unwrap().is_empty());
    shop.clone().effect(&headers, StatusCode::ACCEPTED, || {
        let id = OrderId::generate().to_string();
        let mut view = json!({"id": id, "version": 0, "timeline": []});
        enter(&mut view, "pending");
        let order = watch::Sender::new(view.clone());
        if shop.fault != Fault::Forgets {
            shop.orders.lock().unwrap().insert(id.clone(), order);
        }
        view["order_token"] = json!(token(&id));
        view
    })
}

fn token(id: &str) -> String {
    format!("token-of-{id}")
}

fn enter(view: &mut Value, state: &str) {
    view["version"] = json!(view["version"].as_u64().unwrap() + 1);
    if view["state"] != state {
        view["state"] = json!(state);
        let passage = json!({"state": state, "at": Timestamp::now().to_string()});
        view["timeline"].as_array_mut().unwrap().push(passage);
    }
}

async fn run_its_course(order: watch::Sender<Value>, fault: Fault) {
    for state in ["reserved", "charging", "paid", "completed"] {
        tokio::time::sleep(STEP).await;
        let mut is_over = false;
        order.send_modify(|view| {
            is_over = view["state"] == "cancelled" && fault != Fault::IgnoresCancels;
            if !is_over {
                enter(view, state);
                view["total"] = json!(money(TOTAL));
                if state == "paid" {
                    view["captured"] = json!(money(TOTAL));
                }
            }
        });
        if is_over {
            return;
        }
    }
}

impl Shop {
    /// One effect a key, and its reply, again and again.
    fn effect(&self, headers: &HeaderMap, status: StatusCode, make: impl FnOnce() -> Value) -> Response {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        let mut effects = self.effects.lock().unwrap();
        let known = effects.get(&key).filter(|_| self.fault != Fault::Doubles).cloned();
        let is_replayed = known.is_some();
        let reply = known.unwrap_or_else(|| {
            let reply = make();
            effects.insert(key, reply.clone());
            reply
        });
        let text = reply.to_string();
        if !is_replayed
            && self.fault == Fault::BreaksReplies
            && self.made.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
        {
            let pieces = [Ok(Bytes::from(text)), Err(std::io::Error::other("broken off"))];
            return (status, Body::from_stream(stream::iter(pieces))).into_response();
        }
        let mut response = (status, text).into_response();
        if is_replayed && self.fault != Fault::UnmarkedReplays {
            response
                .headers_mut()
                .insert("idempotent-replayed", "true".parse().unwrap());
        }
        response
    }

    /// An order runs its course from the first look at it: whoever calls it off before that comes in time on any machine.
    fn begin(&self, id: &str, order: &watch::Sender<Value>) {
        if self.begun.lock().unwrap().insert(id.to_owned()) {
            tokio::spawn(run_its_course(order.clone(), self.fault));
        }
    }

    fn order(&self, id: &str, headers: &HeaderMap) -> Option<watch::Sender<Value>> {
        let token = headers.get("order-token").is_some_and(|sent| *sent == *token(id));
        let staff = headers.get("authorization").is_some_and(|sent| sent == "Bearer key");
        let orders = self.orders.lock().unwrap();
        orders.get(id).filter(|_| token || staff).cloned()
    }
}

fn problem(status: StatusCode, code: &str) -> Response {
    (status, json!({"code": code}).to_string()).into_response()
}

async fn read(State(shop): State<Arc<Shop>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match shop.order(&id, &headers) {
        Some(order) => {
            shop.begin(&id, &order);
            order.borrow().to_string().into_response()
        }
        None => problem(StatusCode::NOT_FOUND, "not_found"),
    }
}

async fn cancel(State(shop): State<Arc<Shop>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let order = shop.order(&id, &headers).unwrap();
    let is_replay = shop
        .effects
        .lock()
        .unwrap()
        .contains_key(headers["idempotency-key"].to_str().unwrap());
    let is_open = shop.fault == Fault::IgnoresCancels
        || ["pending", "reserved"].contains(&order.borrow()["state"].as_str().unwrap());
    if !is_replay && !is_open {
        return problem(StatusCode::CONFLICT, "order_state_conflict");
    }
    shop.effect(&headers, StatusCode::ACCEPTED, || {
        if shop.fault != Fault::IgnoresCancels {
            order.send_modify(|view| enter(view, "cancelled"));
        }
        order.borrow().clone()
    })
}

async fn refund(State(shop): State<Arc<Shop>>, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["authorization"], "Bearer key");
    let order = shop.order(&id, &headers).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    shop.effect(&headers, StatusCode::ACCEPTED, || {
        let mut amount = 0;
        order.send_modify(|view| {
            let refunded = view["refunded"]["amount"].as_i64().unwrap_or(0);
            amount = body["amount"]["amount"].as_i64().unwrap_or(TOTAL - refunded);
            let after = refunded + amount + i64::from(shop.fault == Fault::RefundsTooMuch) * TOTAL;
            view["refunded"] = json!(money(after));
            enter(view, if after == TOTAL { "refunded" } else { "completed" });
        });
        json!({"id": RefundId::generate(), "order_id": id, "amount": money(amount)})
    })
}

async fn events(State(shop): State<Arc<Shop>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let Some(order) = shop.order(&id, &headers) else {
        return problem(StatusCode::NOT_FOUND, "not_found");
    };
    shop.begin(&id, &order);
    let mut changes = order.subscribe();
    changes.mark_changed();
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap());
    shop.resumed.fetch_add(u64::from(last.is_some()), Ordering::Relaxed);
    if last == Some(&order.borrow()["version"].to_string()) {
        changes.mark_unchanged();
    }
    let pieces = stream::unfold((changes, order, 0), move |(mut changes, order, count)| {
        let fault = shop.fault;
        async move {
            match (fault, count) {
                (Fault::StreamEnds, 1) => return None,
                (Fault::StreamStuck, 1..) => std::future::pending().await,
                _ => changes.changed().await.ok()?,
            }
            let mut view = changes.borrow_and_update().clone();
            if count > 0 && fault == Fault::StreamVersionBack {
                view["version"] = json!(0);
            }
            if count > 2 && fault == Fault::StreamStateBack && view["state"] != "cancelled" {
                view["state"] = json!("pending");
            }
            let piece = format!(": alive\n\nevent: order\nid: {}\ndata: {view}\n\n", view["version"]);
            Some((Ok::<_, std::convert::Infallible>(piece), (changes, order, count + 1)))
        }
    });
    ([("content-type", "text/event-stream")], Body::from_stream(pieces)).into_response()
}
