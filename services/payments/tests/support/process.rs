//! The real binary, as a process that does not outlive its test.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use shopwright_domain::access::User;

use super::{SHOP, Shop, eventually, password};

/// One command of the binary, and the addresses that it said it listens on.
pub struct Process {
    child: Child,
    addresses: HashMap<String, String>,
}

impl Process {
    /// `serve`, once it listens.
    pub fn serve(shop: &Shop, environment: &[(&str, &str)]) -> Self {
        Self::start(shop, "serve", 2, environment)
    }

    /// `consume` under this consumer's name, once its admin port listens.
    pub fn consume(shop: &Shop, name: &str, environment: &[(&str, &str)]) -> Self {
        let environment = [&[("POD_NAME", name)], environment].concat();
        Self::start(shop, "consume", 1, &environment)
    }

    fn start(shop: &Shop, command: &str, ports: usize, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shopwright-payments"))
            .arg(command)
            .env("SHOP_NAME", SHOP)
            .env("LISTEN_ADDRESS", "127.0.0.1:0")
            .env("ADMIN_ADDRESS", "127.0.0.1:0")
            .env("ADMIN_KEY", "key")
            .env("ORDER_TOKEN_KEYS", format!("test:{}", "5a".repeat(32)))
            .env("REDIS_HOST", shop.stack.host())
            .env("REDIS_PORT", shop.stack.port().to_string())
            .env("REDIS_USERNAME", "payments")
            .env("REDIS_PASSWORD", password(User::Payments))
            .env("MIGRATION_PASSWORD", password(User::Migration))
            .env("PROVIDER_PASSWORD", password(User::Provider))
            .env("PROVIDER_LATENCY_MILLISECONDS", "10")
            .env("CLAIM_MIN_IDLE_MILLISECONDS", "300")
            .env("BLOCK_MILLISECONDS", "100")
            // Killed more often than a pod would be: none of these deaths is the entry's fault.
            .env("MAX_DELIVERIES", "50")
            .env("LOG_FORMAT", "json")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut addresses = HashMap::new();
        while addresses.len() < ports {
            // A process that crashes before it listens says no more.
            let Some(line) = lines.next() else { break };
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if line["message"] == "listening" {
                let text = |name: &str| line[name].as_str().unwrap().to_owned();
                addresses.insert(text("port"), text("address"));
            }
        }
        // Whoever writes to a pipe that nobody reads stands still some day.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addresses }
    }

    pub fn url(&self, port: &str, path: &str) -> String {
        format!("http://{}{path}", self.addresses[port])
    }

    pub async fn ready(&self) {
        eventually("readiness", || async {
            let answer = reqwest::get(self.url("admin", "/readyz")).await;
            answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
    }

    /// SIGTERM, and its end, which must be a good one.
    pub async fn end(&mut self) {
        self.signal("TERM");
        assert!(self.status().await.success());
    }

    /// Any other signal, by its short name.
    pub fn signal(&self, name: &str) {
        let process_id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process_id]).status().unwrap();
        assert!(sent.success());
    }

    /// How it ended by itself.
    pub async fn status(&mut self) -> ExitStatus {
        eventually("its end", || std::future::ready(self.child.try_wait().unwrap())).await
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended itself at a crash point.
    pub async fn crashed(&mut self) {
        let status = self.status().await;
        assert_eq!(status.signal(), Some(6), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
