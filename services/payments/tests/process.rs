//! Both commands of the real binary together, over HTTP: an order from POST to completed, and an orderly end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use shopwright_domain::access::User;
use shopwright_domain::ids::ProductId;
use support::{Inventory, Running, SHOP, Shop, eventually, password};

/// A process that does not outlive the test, and the addresses that it said it listens on.
struct Process {
    child: Child,
    addresses: HashMap<String, String>,
}

impl Process {
    fn start(shop: &Shop, command: &str, ports: usize) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shopwright-payments"))
            .arg(command)
            .env("SHOP_NAME", SHOP)
            .env("LISTEN_ADDRESS", "127.0.0.1:0")
            .env("ADMIN_ADDRESS", "127.0.0.1:0")
            .env("ADMIN_KEY", "key")
            .env("REDIS_HOST", shop.stack.host())
            .env("REDIS_PORT", shop.stack.port().to_string())
            .env("REDIS_USERNAME", "payments")
            .env("REDIS_PASSWORD", password(User::Payments))
            .env("MIGRATION_PASSWORD", password(User::Migration))
            .env("PROVIDER_PASSWORD", password(User::Provider))
            .env("PROVIDER_LATENCY_MILLISECONDS", "10")
            .env("LOG_FORMAT", "json")
            .env("POD_NAME", "pod-1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut addresses = HashMap::new();
        while addresses.len() < ports {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if line["message"] == "listening" {
                let text = |name: &str| line[name].as_str().unwrap().to_owned();
                addresses.insert(text("port"), text("address"));
            }
        }
        // Whoever writes to a pipe that nobody reads stands still some day.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addresses }
    }

    fn url(&self, port: &str, path: &str) -> String {
        format!("http://{}{path}", self.addresses[port])
    }

    async fn ready(&self) {
        eventually("readiness", || async {
            reqwest::get(self.url("admin", "/readyz"))
                .await
                .unwrap()
                .status()
                .is_success()
                .then_some(())
        })
        .await;
    }

    async fn end(mut self) {
        let process_id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &process_id])
                .status()
                .unwrap()
                .success()
        );
        let status = eventually("its end", || std::future::ready(self.child.try_wait().unwrap())).await;
        assert!(status.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_from_post_to_completed() {
    let shop = Shop::start().await;
    let mut running = Running::new();
    running.inventory(&shop, &Arc::new(Inventory::default()));
    let serve = Process::start(&shop, "serve", 2);
    let consume = Process::start(&shop, "consume", 1);
    serve.ready().await;
    consume.ready().await;

    let client = reqwest::Client::new();
    let body = json!({"lines": [{"product_id": ProductId::generate(), "quantity": 3}]});
    let response = client
        .post(serve.url("public", "/v1/orders"))
        .json(&body)
        .send()
        .await
        .unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let order = eventually("completed", || async {
        let order: Value = client
            .get(serve.url("public", &location))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        (order["state"] == "completed").then_some(order)
    })
    .await;
    assert_eq!(order["captured"], json!({"amount": 1_199, "currency": "EUR"}));
    let states: Vec<_> = order["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|passage| passage["state"].clone())
        .collect();
    assert_eq!(states, ["pending", "reserved", "charging", "paid", "completed"]);

    // Counted after the order is stored, so not at once.
    for line in [
        r#"shopwright_orders_entered_state_total{state="completed"} 1"#,
        r#"shopwright_consumer_entries_total{stream="{demo-payments}:jobs",outcome="done"} 1"#,
        r#"shopwright_provider_calls_total{call="charge",answer="charged"} 1"#,
    ] {
        eventually(line, || async {
            let response = reqwest::get(consume.url("admin", "/metrics")).await.unwrap();
            response.text().await.unwrap().contains(line).then_some(())
        })
        .await;
    }
    assert!(
        reqwest::get(serve.url("admin", "/livez"))
            .await
            .unwrap()
            .status()
            .is_success()
    );
    consume.end().await;
    serve.end().await;
    running.stop().await;
}
