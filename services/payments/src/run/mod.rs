//! Wiring only: from configuration to running tasks, and their orderly end.

use anyhow::Context;
use shopwright_domain::keys::ShopKeys;
use shopwright_kit::Schema;
use tokio::net::TcpListener;

use crate::cli::{Arguments, Command};

mod consume;
mod serve;

/// The data as this program writes it.
pub fn schema(keys: &ShopKeys) -> Schema {
    Schema {
        key: keys.payments_schema(),
        version: 1,
        oldest_compatible: 1,
    }
}

/// Runs the command until SIGTERM or SIGINT.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Consume(arguments) => consume::run(arguments).await,
    }
}

async fn bind(port: &'static str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(port, address = %listener.local_addr()?, "listening");
    Ok(listener)
}
