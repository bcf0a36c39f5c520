//! Wiring of `serve`: the page, the gateway, the admin port.

use std::time::Duration;

use anyhow::Context;
use axum::Router;
use shopwright_kit::{
    admin,
    metrics::{self, HttpMetrics},
    serve::{self, Limits},
    shutdown, telemetry,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{cli::ServeArguments, gateway, gateway::Upstream, page};

/// Above the gateway's own limit for a reply's head, so that its more exact answer is given.
const TIMEOUT: Duration = Duration::from_secs(14);

/// The page and the gateway, without the layers that [`shopwright_kit::serve::public`] adds.
pub fn router(inventory: Upstream, payments: Upstream, shutdown: CancellationToken) -> reqwest::Result<Router> {
    Ok(page::router().merge(gateway::router(inventory, payments, shutdown)?))
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    telemetry::init(&arguments.log)?;
    let shutdown = shutdown::on_signals()?;
    let listener = TcpListener::bind(arguments.listen.listen_address)
        .await
        .context("binding the page's address")?;
    let admin_listener = TcpListener::bind(arguments.admin.admin_address)
        .await
        .context("binding the admin address")?;
    tracing::info!(
        listen = %listener.local_addr()?,
        admin = %admin_listener.local_addr()?,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );

    let mut registry = metrics::registry();
    let http = HttpMetrics::register(&mut registry);
    // Ready whatever the services do: each reply says what is away, and the page can be read meanwhile.
    let readiness = admin::Readiness::new(shutdown.clone());
    let router =
        router(arguments.inventory_url, arguments.payments_url, shutdown.clone()).context("building the gateway")?;
    let public = serve::public(
        router,
        http,
        Limits {
            timeout: TIMEOUT,
            ..Limits::default()
        },
    );
    tokio::try_join!(
        serve::run(listener, public, shutdown.clone()),
        serve::run(admin_listener, admin::router(registry, readiness), shutdown.clone()),
    )?;
    Ok(())
}
