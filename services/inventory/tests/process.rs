//! The binary as it is run: started before Redis, ready after it, ended by SIGTERM.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{PASSWORD, PATIENCE, SHOP, Shop, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_shopwright-inventory");

/// A process that does not outlive the test, and the addresses that it said it listens on.
struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Vec<String>,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    fn serve(shop: &Shop) -> Self {
        let mut child = Command::new(BINARY)
            .args(["serve", "--shop-name", SHOP, "--shop-currency", "EUR"])
            .env("LISTEN_ADDRESS", "127.0.0.1:0")
            .env("ADMIN_ADDRESS", "127.0.0.1:0")
            .env("REDIS_HOST", shop.stack.host())
            .env("REDIS_PORT", shop.stack.port().to_string())
            .env("REDIS_USERNAME", "inventory")
            .env("REDIS_PASSWORD", PASSWORD)
            .env("MIGRATION_PASSWORD", PASSWORD)
            .env("ADMIN_KEY", "the admin key")
            .env("LOG", "info,shopwright_kit=debug")
            .env("LOG_FORMAT", "json")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Whoever writes to a pipe that nobody reads stands still some day.
        std::thread::spawn(move || {
            for line in output.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        let mut log = Vec::new();
        let serving = loop {
            log.push(lines.recv_timeout(PATIENCE).unwrap());
            let line: Value = serde_json::from_str(log.last().unwrap()).unwrap();
            if line["message"] == "serving" {
                break line;
            }
        };
        let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        Self {
            listen: address("listen"),
            admin: address("admin"),
            child,
            lines,
            log,
        }
    }

    /// SIGTERM, and what it wrote.
    async fn end(mut self) -> (ExitStatus, Vec<String>) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it did not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let mut log = std::mem::take(&mut self.log);
        log.extend(self.lines.iter());
        (status, log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    let process = Process::serve(&shop);
    let (listen, admin) = (process.listen, process.admin);
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

    let (status, log) = process.end().await;
    assert!(status.success(), "{status:?}");
    for secret in [PASSWORD, "the admin key"] {
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
