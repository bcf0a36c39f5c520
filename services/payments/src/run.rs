//! Wiring only: from configuration to running tasks, and their orderly end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use shopwright_domain::keys::{GROUP_PAYMENTS, ShopKeys};
use shopwright_kit::{
    AdminKey, Capacity, Redis, Secret, admin, consumer_metrics, idempotency, metrics as kit_metrics,
    search_index::IndexReady, serve, shutdown, sse::Places, telemetry,
};
use shopwright_streams::consume::{self, Counters, Settings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::act::Actor;
use crate::cli::{Arguments, Command, Consume, Serve};
use crate::consume::{JobHandler, StockHandler};
use crate::http::{ApiState, WATCHERS, router};
use crate::index;
use crate::metrics::Metrics;
use crate::provider::Simulated;
use crate::store::Store;
use crate::sweep;
use crate::token::TokenKeys;
use crate::watch::Watch;

/// Runs the command until SIGTERM or SIGINT.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Serve(arguments) => run_serve(arguments).await,
        Command::Consume(arguments) => run_consume(arguments).await,
    }
}

async fn run_serve(arguments: Serve) -> anyhow::Result<()> {
    telemetry::init(&arguments.log)?;
    let shutdown = shutdown::on_signals()?;
    let keys = ShopKeys::new(&arguments.shop.shop_name);
    let settings = arguments.redis.settings()?;
    let redis = Redis::new(&settings)?;
    let migration = arguments.redis.settings_as("migration", "MIGRATION_PASSWORD")?;
    let admin_key = AdminKey::new(Secret::from_environment("ADMIN_KEY")?);
    let token_keys = TokenKeys::from_environment()?;

    let mut registry = kit_metrics::registry();
    let http_metrics = kit_metrics::HttpMetrics::register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let actor = Actor {
        store: Store::new(redis.clone(), keys.clone()),
        policy: arguments.orders.policy(),
        metrics,
    };

    let index_ready = IndexReady::default();
    tokio::spawn(redis.clone().watch(shutdown.clone()));
    tokio::spawn(index::orders(&keys).keep(redis.clone(), migration, index_ready.clone(), shutdown.clone()));
    let interval = Duration::from_millis(arguments.sweep_interval_milliseconds);
    let sweeper = tokio::spawn(sweep::run(actor.clone(), interval, shutdown.clone()));

    let readiness = admin::Readiness::new(shutdown.clone())
        .check("redis", redis.readiness())
        .check("search_index", index_ready.readiness());
    let (capacity, watch) = (Capacity::default(), Watch::new(actor.store.clone()));
    tokio::spawn(capacity.clone().watch(redis, shutdown.clone()));
    tokio::spawn(watch.clone().run(settings.client()?, shutdown.clone()));
    let state = ApiState {
        actor,
        currency: arguments.orders.shop_currency,
        admin_key,
        token_keys,
        retention: idempotency::RETENTION,
        capacity,
        watch,
        places: Places::new(WATCHERS),
        streams: settings.consumer_client().shared(),
        shutdown: shutdown.clone(),
    };
    let application = serve::public(router(state), http_metrics, serve::Limits::default());
    let listener = bind("public", arguments.listen.listen_address).await?;
    let admin_listener = bind("admin", arguments.admin.admin_address).await?;
    tokio::try_join!(
        serve::run(listener, application, shutdown.clone()),
        serve::run(admin_listener, admin::router(registry, readiness), shutdown),
    )?;
    sweeper.await?;
    Ok(())
}

async fn run_consume(arguments: Consume) -> anyhow::Result<()> {
    telemetry::init(&arguments.log)?;
    let shutdown = shutdown::on_signals()?;
    let keys = ShopKeys::new(&arguments.shop.shop_name);
    let settings = arguments.redis.settings()?;
    let redis = Redis::new(&settings)?;
    let provider_redis = Redis::new(&arguments.redis.settings_as("provider", "PROVIDER_PASSWORD")?)?;
    let client = settings.consumer_client();

    let mut registry = kit_metrics::registry();
    let metrics = Metrics::register(&mut registry);
    let actor = Actor {
        store: Store::new(redis.clone(), keys.clone()),
        policy: arguments.orders.policy(),
        metrics: metrics.clone(),
    };
    let provider = Simulated::new(
        provider_redis.clone(),
        keys.clone(),
        arguments.provider.latency(),
        arguments.provider.provider_decline_above_minor,
        metrics,
    );
    let (stock_counters, job_counters) = (Arc::<Counters>::default(), Arc::<Counters>::default());
    let stock_settings = loop_settings(&arguments, keys.inventory_events(), arguments.stock_concurrency);
    let job_settings = loop_settings(&arguments, keys.payments_jobs(), arguments.job_concurrency);
    let loops = [(&stock_settings, &stock_counters), (&job_settings, &job_counters)];
    let loops = loops.map(|(settings, counters)| (settings.key.clone(), Arc::clone(counters)));
    consumer_metrics::register(&mut registry, loops.into());

    // The admin port answers until the last entry is done: a draining consumer is alive.
    let drained = CancellationToken::new();
    tokio::spawn(redis.clone().watch(drained.clone()));
    let readiness = admin::Readiness::new(shutdown.clone())
        .check("redis", redis.readiness())
        .check("provider_redis", provider_redis.readiness());
    tokio::spawn(provider_redis.watch(drained.clone()));
    let admin_listener = bind("admin", arguments.admin.admin_address).await?;
    let admin = tokio::spawn(serve::run(
        admin_listener,
        admin::router(registry, readiness),
        drained.clone(),
    ));

    let stock = consume::run_batches(
        client.clone(),
        stock_settings,
        Arc::new(StockHandler::new(actor.clone())),
        stock_counters,
        shutdown.clone(),
    );
    let jobs = consume::run(
        client,
        job_settings,
        Arc::new(JobHandler::new(actor, provider)),
        job_counters,
        shutdown,
    );
    let (stock, jobs) = tokio::join!(stock, jobs);
    tracing::info!(unfinished = stock.unfinished + jobs.unfinished, "drained");
    drained.cancel();
    admin.await??;
    Ok(())
}

fn loop_settings(arguments: &Consume, key: String, concurrency: u16) -> Settings {
    let consumer = arguments.pod.consumer_name();
    Settings {
        concurrency: usize::from(concurrency),
        ..arguments.consumer.settings(key, GROUP_PAYMENTS, consumer)
    }
}

async fn bind(port: &'static str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(port, address = %listener.local_addr()?, "listening");
    Ok(listener)
}
