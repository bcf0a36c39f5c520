//! The binary as it is run: started before Redis, ready after it, ended by SIGTERM.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{PASSWORD, SHOP, Shop, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_shopwright-inventory");

struct Process(Option<Child>);

impl Process {
    fn serve(shop: &Shop, listen: SocketAddr, admin: SocketAddr) -> Self {
        let child = Command::new(BINARY)
            .args(["serve", "--shop-name", SHOP, "--shop-currency", "EUR"])
            .env("LISTEN_ADDRESS", listen.to_string())
            .env("ADMIN_ADDRESS", admin.to_string())
            .env("REDIS_HOST", shop.stack.host())
            .env("REDIS_PORT", shop.stack.port().to_string())
            .env("REDIS_USERNAME", "inventory")
            .env("REDIS_PASSWORD", PASSWORD)
            .env("MIGRATION_PASSWORD", PASSWORD)
            .env("ADMIN_KEY", "the admin key")
            .env("LOG", "info,shopwright_kit=debug")
            .env("LOG_FORMAT", "json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(Some(child))
    }

    /// SIGTERM, and what it wrote.
    async fn end(mut self) -> Output {
        let child = self.0.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
            .await
            .unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

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
    let (listen, admin) = (free_address(), free_address());
    let process = Process::serve(&shop, listen, admin);
    eventually("it is alive", || async { status(admin, "/livez").await == Some(200) }).await;
    assert_eq!(status(admin, "/readyz").await, Some(503));
    assert_eq!(status(listen, "/v1/products").await, Some(503));

    shop.stack.restart().unwrap();
    eventually("it is ready", || async { status(admin, "/readyz").await == Some(200) }).await;
    let created = reqwest::Client::new()
        .post(format!("http://{listen}/v1/products"))
        .bearer_auth("the admin key")
        .header("x-request-id", "a-request-of-the-test")
        .json(&json!({"name": "Shirt", "price": {"amount": 1, "currency": "EUR"}, "stock": 1}))
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);

    let output = tokio::time::timeout(Duration::from_secs(60), process.end())
        .await
        .unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let log = String::from_utf8(output.stdout).unwrap();
    for secret in [PASSWORD, "the admin key"] {
        assert!(!log.contains(secret), "a secret in the log");
    }
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
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
