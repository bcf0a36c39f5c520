//! The binary as it is run: ports, probes, SIGTERM.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const BINARY: &str = env!("CARGO_BIN_EXE_shopwright-storefront");

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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

#[tokio::test]
async fn it_serves_answers_probes_and_ends_on_sigterm() {
    let (listen, admin) = (free_address(), free_address());
    let child = Command::new(BINARY)
        .args([
            "serve",
            "--inventory-url",
            "http://127.0.0.1:1",
            "--payments-url",
            "http://127.0.0.1:1",
        ])
        .env("LISTEN_ADDRESS", listen.to_string())
        .env("ADMIN_ADDRESS", admin.to_string())
        .env("LOG_FORMAT", "json")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut process = Process(child);
    let deadline = Instant::now() + Duration::from_secs(60);
    while status(admin, "/readyz").await != Some(200) {
        assert!(Instant::now() < deadline, "not ready in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status(listen, "/").await, Some(200));
    assert_eq!(status(admin, "/livez").await, Some(200));
    let metrics = reqwest::get(format!("http://{admin}/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("shopwright_http_requests_total{method=\"GET\",route=\"/\",status=\"200\"} 1"),
        "{metrics}"
    );

    kill_process(Pid::from_child(&process.0), Signal::TERM).unwrap();
    loop {
        if let Some(status) = process.0.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            break;
        }
        assert!(Instant::now() < deadline, "did not end in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn it_tells_its_version_and_its_flags() {
    let run = |arguments: &[&str]| {
        let output = Command::new(BINARY).args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
    let help = run(&["serve", "--help"]);
    for word in [
        "INVENTORY_URL",
        "PAYMENTS_URL",
        "LISTEN_ADDRESS",
        "ADMIN_ADDRESS",
        "LOG_FORMAT",
    ] {
        assert!(help.contains(word), "{word}");
    }
}
