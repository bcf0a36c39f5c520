//! The binary as it is run: started before Redis, ready after it, ended by SIGTERM.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{net::SocketAddr, process::Command};

use serde_json::{Value, json};
use shopwright_domain::events::OrderEvent;
use support::{
    PASSWORD, Shop, eventually, line, placed,
    process::{self, ADMIN_KEY, BINARY, Process},
};

async fn status(address: SocketAddr, path: &str) -> Option<u16> {
    reqwest::get(format!("http://{address}{path}"))
        .await
        .ok()
        .map(|response| response.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_redis_serves_and_ends_on_sigterm() {
    let mut shop = Shop::start().await;
    shop.stack.kill().unwrap();
    let mut process = Process::start(process::serve(&shop));
    let (listen, admin) = process.addresses();
    eventually("it is alive", || async { status(admin, "/livez").await == Some(200) }).await;
    assert_eq!(status(admin, "/readyz").await, Some(503));
    assert_eq!(status(listen, "/v1/products").await, Some(503));

    shop.stack.restart().unwrap();
    eventually("it is ready", || async { status(admin, "/readyz").await == Some(200) }).await;
    let created = reqwest::Client::new()
        .post(format!("http://{listen}/v1/products"))
        .bearer_auth(ADMIN_KEY)
        .header("idempotency-key", "a-key-of-the-test")
        .header("x-request-id", "a-request-of-the-test")
        .json(&json!({"name": "Shirt", "price": {"amount": 1, "currency": "EUR"}, "stock": 1}))
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);

    let (status, log) = process.end().await;
    assert!(status.success(), "{status:?}");
    for secret in [PASSWORD, ADMIN_KEY] {
        assert!(log.iter().all(|line| !line.contains(secret)), "a secret in the log");
    }
    let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let answered = lines
        .iter()
        .find(|line| line["message"] == "request answered" && line["status"] == 201)
        .unwrap();
    assert_eq!(answered["spans"][0]["request_id"], "a-request-of-the-test");
}

#[test]
fn it_tells_its_version_its_flags_and_what_is_missing() {
    let run = |arguments: &[&str]| Command::new(BINARY).args(arguments).env_clear().output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(text(run(&["--version"]).stdout).contains(env!("CARGO_PKG_VERSION")));
    let help = text(run(&["serve", "--help"]).stdout);
    for word in [
        "SHOP_NAME",
        "SHOP_CURRENCY",
        "LISTEN_ADDRESS",
        "ADMIN_ADDRESS",
        "REDIS_HOST",
        "LOG_FORMAT",
    ] {
        assert!(help.contains(word), "{word}");
    }
    for word in ["CLAIM_MIN_IDLE_MILLISECONDS", "DRAIN_SECONDS", "POD_NAME"] {
        assert!(text(run(&["consume", "--help"]).stdout).contains(word), "{word}");
    }
    let failed = run(&[
        "serve",
        "--shop-name",
        "demo",
        "--shop-currency",
        "EUR",
        "--redis-host",
        "localhost",
    ]);
    assert!(!failed.status.success());
    assert!(text(failed.stderr).contains("ADMIN_KEY"), "the missing secret is named");
}

/// Both commands, before data that a later version wrote: nothing is answered, nothing is read, and they say why.
#[tokio::test(flavor = "multi_thread")]
async fn it_refuses_to_run_on_data_of_a_later_version() {
    let mut shop = Shop::start().await;
    shop.create_group().await;
    let product = shop.product(100, 1).await;
    let order = shopwright_domain::ids::OrderId::generate();
    shop.tell(&OrderEvent::Placed(placed(order, &[line(product, 1)]))).await;
    let key = shop.keys.inventory_schema();
    shop.execute(&["HSET", &key, "version", "9", "oldest_compatible", "8"])
        .await;
    for command in [process::serve(&shop), process::consume(&shop, "pod")] {
        let (status, text) = Process::start(command).error().await;
        assert!(!status.success());
        assert!(text.contains(&key) && text.contains("version 8 or later"), "{text}");
    }
    assert_eq!(shop.stock(product).await, (1, 0));

    // A later version that this one can live with stays as it is.
    shop.execute(&["HSET", &key, "version", "9", "oldest_compatible", "1"])
        .await;
    let mut process = Process::start(process::serve(&shop));
    let (listen, _) = process.addresses();
    eventually("it serves", || async {
        status(listen, "/v1/products").await == Some(200)
    })
    .await;
    let stored: (u32, u32) = redis::cmd("HMGET")
        .arg(&[&*key, "version", "oldest_compatible"])
        .query_async(&mut shop.harness)
        .await
        .unwrap();
    assert_eq!(stored, (9, 1));

    // The roll goes on, and what is too old ends by itself.
    shop.execute(&["HSET", &key, "oldest_compatible", "2"]).await;
    let (status, text) = process.error().await;
    assert!(!status.success() && text.contains("version 2 or later"), "{text}");
}
