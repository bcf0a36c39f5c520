//! The admin calls on dead letters, over HTTP.

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use shopwright_kit::{
    AdminKey, Redis, RedisSettings, Secret,
    dead_letters::{self, Source},
    metrics::{self, HttpMetrics},
    serve::{self, Limits},
};
use shopwright_redis_stack::{Options, RedisStack};
use shopwright_streams::dead_letter;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{command, execute, patient, settings, settings_as, users};

const EVENTS: &str = "{own}:events";
const JOBS: &str = "{own}:jobs";

struct Api {
    stack: RedisStack,
    redis: Redis,
    base: String,
    _stop: DropGuard,
}

impl Api {
    async fn start() -> Self {
        Self::start_with(|client| client).await
    }

    async fn start_with(redis: impl FnOnce(shopwright_streams::Client) -> shopwright_streams::Client) -> Self {
        // Of its own streams what adding and replaying takes, and of their dead letters what looking and dropping does.
        let acl = users(&[(
            "service",
            "~{own}:events ~{own}:jobs ~{own}:*:dead:* +eval +xadd +ping (~{own}:*:dead:* +xrange +xdel +xlen)",
        )]);
        let stack = RedisStack::start_async(Options {
            acl,
            ..Options::plain()
        })
        .await
        .unwrap();
        let source = |word, stream: &str, group: &str| Source {
            word,
            stream: stream.to_owned(),
            group: group.to_owned(),
        };
        let sources = vec![source("events", EVENTS, "readers"), source("jobs", JOBS, "workers")];
        let service: RedisSettings = settings_as(&stack, "service");
        let shared = redis(service.consumer_client()).shared();
        let key = AdminKey::new(Secret::new("key"));
        let routes = dead_letters::router("/v1/own/dead-letters", sources, shared, key);
        let http = HttpMetrics::register(&mut metrics::registry());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1/own/dead-letters", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(serve::run(
            listener,
            serve::public(routes, http, Limits::default()),
            stop.clone(),
        ));
        let redis = patient(&settings(&stack));
        for (stream, group) in [(EVENTS, "readers"), (JOBS, "workers")] {
            execute(&redis, &format!("XGROUP CREATE {stream} {group} 0 MKSTREAM")).await;
        }
        Self {
            stack,
            redis,
            base,
            _stop: stop.drop_guard(),
        }
    }

    /// Adds an entry and gives it up.
    async fn bury(&self, stream: &str, group: &str, fields: &str) -> String {
        let id: String = command(&self.redis, &format!("XADD {stream} * {fields}"))
            .await
            .unwrap();
        execute(
            &self.redis,
            &format!("XREADGROUP GROUP {group} pod-1 STREAMS {stream} >"),
        )
        .await;
        let shared = settings(&self.stack).consumer_client().shared();
        dead_letter::bury(&shared, stream, group, "pod-1", id.parse().unwrap(), "malformed")
            .await
            .unwrap();
        id
    }

    async fn send(&self, method: Method, path: &str) -> Response {
        let request = Client::new().request(method, format!("{}{path}", self.base));
        request.bearer_auth("key").send().await.unwrap()
    }

    async fn list(&self, query: &str) -> Value {
        let response = self.send(Method::GET, query).await;
        assert_eq!(response.status(), 200, "{query}");
        response.json().await.unwrap()
    }

    async fn status(&self, method: Method, path: &str) -> StatusCode {
        self.send(method, path).await.status()
    }

    async fn length(&self, stream: &str) -> usize {
        command(&self.redis, &format!("XLEN {stream}")).await.unwrap()
    }
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_replayed_and_dropped_once() {
    let api = Api::start().await;
    assert_eq!(api.list("").await, json!({"items": []}));
    let entry = api.bury(EVENTS, "readers", r#"type order.placed data {"a":1}"#).await;
    api.bury(JOBS, "workers", "type charge other x").await;
    api.bury(EVENTS, "readers", "neither x").await;
    let page = api.list("?stream=events").await;
    let id = ids(&page)[0].to_owned();
    assert_eq!(
        page["items"][0],
        json!({"id": id, "stream": "events", "reason": "malformed", "entry": entry, "deliveries": 1, "consumer": "pod-1",
            "type": "order.placed", "data": "{\"a\":1}"})
    );
    assert_eq!(page["items"][1].get("type"), None);
    let jobs = api.list("?stream=jobs").await;
    assert_eq!(
        (&jobs["items"][0]["type"], jobs["items"][0].get("data")),
        (&json!("charge"), None)
    );

    let replay = format!("/events/{id}/replay");
    assert_eq!(
        api.status(Method::POST, &format!("/jobs/{id}/replay")).await,
        404,
        "of another stream"
    );
    assert_eq!(api.status(Method::POST, &replay).await, 204);
    assert_eq!(api.status(Method::POST, &replay).await, 404, "only once");
    assert_eq!(api.length(EVENTS).await, 3);
    let newest: Vec<(String, Vec<String>)> = command(&api.redis, &format!("XREVRANGE {EVENTS} + - COUNT 1"))
        .await
        .unwrap();
    assert_eq!(newest[0].1, ["type", "order.placed", "data", "{\"a\":1}"]);

    let job = ids(&jobs)[0].to_owned();
    assert_eq!(api.status(Method::DELETE, &format!("/jobs/{job}")).await, 204);
    assert_eq!(api.status(Method::DELETE, &format!("/jobs/{job}")).await, 404);
    assert_eq!(api.length(JOBS).await, 1, "dropped is not added again");
    assert_eq!(ids(&api.list("").await), [ids(&page)[1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_letter_once() {
    let api = Api::start().await;
    for number in 0..7 {
        api.bury(EVENTS, "readers", &format!("data {number}")).await;
        api.bury(JOBS, "workers", &format!("data {number}")).await;
    }
    let whole = api.list("?limit=100").await;
    assert_eq!(ids(&whole).len(), 14);
    assert_eq!(whole.get("next_cursor"), None);
    let (mut query, mut seen) = ("?limit=3".to_owned(), Vec::new());
    loop {
        let page = api.list(&query).await;
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=3&after={cursor}");
    }
    assert_eq!(seen, *whole["items"].as_array().unwrap());
    let jobs = api.list("?stream=jobs&limit=7").await;
    assert!(
        jobs["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["stream"] == "jobs")
    );
    assert_eq!((ids(&jobs).len(), jobs.get("next_cursor")), (7, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_a_problem() {
    let mut api = Api::start().await;
    let id: String = command(&api.redis, &format!("XADD {EVENTS}:dead:readers * a stranger"))
        .await
        .unwrap();
    assert_eq!(api.list("").await, json!({"items": []}));
    for (method, path, status, code) in [
        (Method::GET, "?limit=0", 400, "query_invalid"),
        (Method::GET, "?limit=101", 400, "query_invalid"),
        (Method::GET, "?limit=x", 400, "query_invalid"),
        (Method::GET, "?after=x", 400, "query_invalid"),
        (Method::GET, "?stream=others", 400, "query_invalid"),
        (Method::GET, "?unknown=1", 400, "query_invalid"),
        (Method::POST, "/others/1-1/replay", 404, "not_found"),
        (Method::POST, "/events/1-1/replay", 404, "not_found"),
        (Method::POST, "/events/x/replay", 404, "not_found"),
        (Method::POST, "/events/0-0/replay", 404, "not_found"),
        (Method::POST, &format!("/events/{id}/replay"), 404, "not_found"),
        (Method::DELETE, &format!("/events/{id}"), 404, "not_found"),
        (Method::DELETE, "/others/1-1", 404, "not_found"),
        (Method::GET, "/events/1-1", 405, "method_not_allowed"),
    ] {
        let response = api.send(method.clone(), path).await;
        assert_eq!(response.status(), status, "{method} {path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], code, "{method} {path}");
    }
    assert_eq!(
        api.length(&format!("{EVENTS}:dead:readers")).await,
        1,
        "a stranger's entry stays"
    );
    for (method, path) in [
        (Method::GET, ""),
        (Method::POST, "/events/1-1/replay"),
        (Method::DELETE, "/events/1-1"),
    ] {
        let request = Client::new().request(method, format!("{}{path}", api.base));
        assert_eq!(request.bearer_auth("other").send().await.unwrap().status(), 401);
    }
    // A connection that Redis closed at rest is none that a caller sees.
    execute(&api.redis, "CLIENT KILL TYPE normal SKIPME yes").await;
    api.bury(EVENTS, "readers", "data 1").await;
    let page = api.list("").await;
    execute(&api.redis, "CLIENT KILL TYPE normal SKIPME yes").await;
    assert_eq!(
        api.status(Method::POST, &format!("/events/{}/replay", ids(&page)[0]))
            .await,
        204
    );
    api.stack.kill().unwrap();
    let response = api.send(Method::GET, "").await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
}

/// Of what may have been done, nobody says that nothing happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_may_have_happened() {
    let api = Api::start_with(|client| client.with_response_timeout(Duration::from_secs(1))).await;
    api.bury(EVENTS, "readers", "data 1").await;
    let page = api.list("").await;
    let id = ids(&page)[0];
    let calls = [
        (Method::POST, format!("/events/{id}/replay")),
        (Method::DELETE, format!("/events/{id}")),
    ];
    // Reads are answered, so that the letter is found.
    execute(&api.redis, "CLIENT PAUSE 3600000 WRITE").await;
    for (method, path) in &calls {
        let response = api.send(method.clone(), path).await;
        assert_eq!(response.status(), 504, "{path}");
        assert_eq!(response.json::<Value>().await.unwrap()["code"], "timeout");
    }
    execute(&api.redis, "CLIENT UNPAUSE").await;
}
