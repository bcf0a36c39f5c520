//! The API on a real socket, over a real Redis.

use std::net::SocketAddr;

use super::{Shop, eur, eventually};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use shopwright_domain::access::User;
use shopwright_inventory::{
    api::{self, ApiState},
    catalogue::Catalogue,
};
use shopwright_kit::{
    AdminKey, Redis, Secret,
    idempotency::RETENTION,
    metrics::{self, HttpMetrics},
    search_index::IndexReady,
    serve::{self, Limits},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

pub const KEY: &str = "an admin key";

pub struct Api {
    pub shop: Shop,
    pub address: SocketAddr,
    pub index: IndexReady,
    pub client: Client,
    _ended: DropGuard,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Api {
    pub async fn start() -> Self {
        Self::start_with(Shop::redis).await
    }

    pub async fn start_with(redis: impl FnOnce(&Shop) -> Redis) -> Self {
        let shop = Shop::start().await;
        let redis = redis(&shop);
        Self::of(shop, redis).await
    }

    pub async fn of(shop: Shop, redis: Redis) -> Self {
        let ended = CancellationToken::new();
        let index = IndexReady::default();
        tokio::spawn(Catalogue::index(&shop.keys).keep(
            redis.clone(),
            shop.settings(User::Migration),
            index.clone(),
            ended.clone(),
        ));
        let state = ApiState {
            catalogue: Catalogue::new(redis, shop.keys.clone(), RETENTION),
            admin_key: AdminKey::new(Secret::new(KEY)),
            currency: eur(),
        };
        let http = HttpMetrics::register(&mut metrics::registry());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = serve::public(
            api::router(
                state,
                &shop.keys,
                shop.settings(User::Inventory).consumer_client().shared(),
            ),
            http,
            Limits::default(),
        );
        tokio::spawn(serve::run(listener, router, ended.clone()));
        let this = Self {
            shop,
            address,
            index,
            client: Client::new(),
            _ended: ended.drop_guard(),
        };
        this.index_ready().await;
        this
    }

    pub async fn index_ready(&self) {
        eventually("the index is built", || async { self.index.is_ready() }).await;
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Reply {
        reply(self.request(Method::GET, path)).await
    }

    /// A request that nobody made before.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(&Uuid::now_v7().to_string(), path, body).await
    }

    pub async fn post_with(&self, key: &str, path: &str, body: &Value) -> Reply {
        let request = self.request(Method::POST, path).bearer_auth(KEY);
        reply(request.header("idempotency-key", key).json(body)).await
    }

    pub async fn create(&self, name: &str, description: &str) -> String {
        let body =
            json!({"name": name, "description": description, "price": {"amount": 1299, "currency": "EUR"}, "stock": 3});
        let reply = self.post("/v1/products", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.body["id"].as_str().unwrap().to_owned()
    }

    /// Names of what is found, sorted.
    pub async fn find(&self, text: &str) -> Vec<String> {
        let response = reply(
            self.request(Method::GET, "/v1/products")
                .query(&[("q", text), ("limit", "100")]),
        )
        .await;
        assert_eq!(response.status, 200, "{text:?}: {}", response.body);
        names(&response.body)
    }
}

pub fn names(list: &Value) -> Vec<String> {
    let mut names: Vec<String> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

pub async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap()
    };
    Reply { status, headers, body }
}

impl Reply {
    pub fn is_replayed(&self) -> bool {
        self.headers.contains_key("idempotent-replayed")
    }

    /// 503 that says when to come again.
    pub fn is_away(&self, code: &str) {
        self.is_problem(503, code);
        assert!(self.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    }

    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), &self.body["code"]),
            (status, &json!(code)),
            "{}",
            self.body
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["request_id"], self.headers["x-request-id"].to_str().unwrap());
    }
}
