//! The binary as it is run, ended with the test.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{PASSWORD, PATIENCE, SHOP, Shop};

pub const BINARY: &str = env!("CARGO_BIN_EXE_shopwright-inventory");
pub const ADMIN_KEY: &str = "the admin key";

/// A process that does not outlive the test.
pub struct Process {
    pub child: Child,
    lines: mpsc::Receiver<String>,
    log: Vec<String>,
}

/// What both commands need.
pub fn command(shop: &Shop, command: &str) -> Command {
    let mut process = Command::new(BINARY);
    process
        .args([command, "--shop-name", SHOP])
        .env("ADMIN_ADDRESS", "127.0.0.1:0")
        .env("REDIS_HOST", shop.stack.host())
        .env("REDIS_PORT", shop.stack.port().to_string())
        .env("REDIS_USERNAME", "inventory")
        .env("REDIS_PASSWORD", PASSWORD)
        .env("LOG", "info,shopwright_kit=debug")
        .env("LOG_FORMAT", "json");
    process
}

/// `serve`, on ports that it tells.
pub fn serve(shop: &Shop) -> Command {
    let mut process = command(shop, "serve");
    process
        .env("SHOP_CURRENCY", "EUR")
        .env("LISTEN_ADDRESS", "127.0.0.1:0")
        .env("MIGRATION_PASSWORD", PASSWORD)
        .env("ADMIN_KEY", ADMIN_KEY);
    process
}

/// `consume`, with short times.
pub fn consume(shop: &Shop, name: &str) -> Command {
    let mut process = command(shop, "consume");
    process
        .env("POD_NAME", name)
        .env("CLAIM_MIN_IDLE_MILLISECONDS", "300")
        .env("BLOCK_MILLISECONDS", "100")
        // Killed more often than a pod would be: none of these deaths is the entry's fault.
        .env("MAX_DELIVERIES", "50");
    process
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Whoever writes to a pipe that nobody reads stands still some day.
        std::thread::spawn(move || {
            for line in output.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        Self {
            child,
            lines,
            log: Vec::new(),
        }
    }

    /// The line of its log with this message.
    pub fn says(&mut self, message: &str) -> Value {
        loop {
            self.log.push(self.lines.recv_timeout(PATIENCE).unwrap());
            let line: Value = serde_json::from_str(self.log.last().unwrap()).unwrap();
            if line["message"] == message {
                return line;
            }
        }
    }

    /// Where `serve` listens, and its admin port.
    pub fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let serving = self.says("serving");
        let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        (address("listen"), address("admin"))
    }

    pub async fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it did not end");
            tokio::time::sleep(super::LOOK).await;
        }
    }

    /// Waits until it ends by itself, and gives what it wrote to standard error.
    pub async fn error(&mut self) -> (ExitStatus, String) {
        let status = self.ended().await;
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (status, text)
    }

    /// Waits until it crashed where it was told to.
    pub async fn crashed_at(mut self, point: &str) {
        let (status, text) = self.error().await;
        assert_eq!(status.signal(), Some(6), "{status:?}: {text}");
        assert!(text.contains(&format!("crash point {point}")), "{text}");
    }

    /// SIGTERM, and what it logged.
    pub async fn end(mut self) -> (ExitStatus, Vec<String>) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.ended().await;
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
