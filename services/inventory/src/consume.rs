//! Wiring of `consume`: the consumer loop and the admin port.

use std::sync::Arc;

use anyhow::Context;
use shopwright_domain::keys::{GROUP_INVENTORY, ShopKeys};
use shopwright_kit::{Admission, Redis, admin, consumer_metrics, metrics, schema::Duty, serve, shutdown, telemetry};
use shopwright_streams::consume::{self, Counters, LARGEST_BATCH};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::ConsumeArguments,
    reactions::{ReactionMetrics, Reactions},
    reservations::Reservations,
    schema::schema,
};

/// Consumes until SIGTERM or SIGINT, then finishes what is in hand.
pub async fn run(arguments: ConsumeArguments) -> anyhow::Result<()> {
    let common = &arguments.common;
    telemetry::init(&common.log)?;
    let shutdown = shutdown::on_signals()?;
    let redis_settings = common.redis.settings()?;
    let redis = Redis::new(&redis_settings).context("the address of Redis")?;
    let keys = ShopKeys::new(&common.shop.shop_name);

    let consumer = arguments.pod.consumer_name();
    let mut settings = arguments
        .consumer
        .settings(keys.payments_events(), GROUP_INVENTORY, consumer);
    // While one full batch is being stored, the next is read.
    settings.concurrency = 2 * LARGEST_BATCH;

    let admin_listener = TcpListener::bind(common.admin.admin_address)
        .await
        .context("binding the admin address")?;
    tracing::info!(
        shop = %common.shop.shop_name,
        stream = %settings.key,
        group = %settings.group,
        consumer = %settings.consumer,
        admin = %admin_listener.local_addr()?,
        version = env!("CARGO_PKG_VERSION"),
        "consuming"
    );

    let counters = Arc::new(Counters::default());
    let mut registry = metrics::registry();
    let reaction_metrics = ReactionMetrics::register(&mut registry);
    consumer_metrics::register(&mut registry, vec![(settings.key.clone(), Arc::clone(&counters))]);
    let admission = Admission::default();
    let readiness = admin::Readiness::new(shutdown.clone())
        .check("redis", redis.readiness())
        .check("schema", admission.readiness());

    // Probes and metrics are answered until the last entry is done, so that a long drain can be watched.
    let drained = CancellationToken::new();
    let admin = tokio::spawn(serve::run(
        admin_listener,
        admin::router(registry, readiness),
        drained.clone(),
    ));
    let watching = tokio::spawn(redis.clone().watch(drained.clone()));
    let kept = admission.clone();
    let kept = tokio::spawn(kept.keep(schema(&keys), redis.clone(), Duty::Check, shutdown.clone()));

    // Nothing is read before: an entry that is read and not handled would wait for its next delivery.
    if admission.granted(&shutdown).await {
        let handler = Arc::new(Reactions::new(Reservations::new(redis, keys), reaction_metrics));
        let client = redis_settings.consumer_client();
        let outcome = consume::run_batches(client, settings, handler, counters, shutdown).await;
        tracing::info!(unfinished = outcome.unfinished, "drained");
    }
    drained.cancel();
    admin.await??;
    watching.await?;
    kept.await??;
    Ok(())
}
