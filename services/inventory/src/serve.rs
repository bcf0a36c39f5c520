//! Wiring of `serve`: the API, the search index, the admin port.

use anyhow::Context;
use shopwright_domain::{access::User, keys::ShopKeys};
use shopwright_kit::{
    AdminKey, Admission, Redis, Secret, admin,
    metrics::{self, HttpMetrics},
    schema::Duty,
    search_index::IndexReady,
    serve::{self, Limits},
    shutdown, telemetry,
};
use tokio::net::TcpListener;

use crate::{
    api::{self, ApiState},
    catalogue::Catalogue,
    cli::ServeArguments,
    schema::schema,
};

/// Serves until SIGTERM or SIGINT.
pub async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    let common = &arguments.common;
    telemetry::init(&common.log)?;
    let shutdown = shutdown::on_signals()?;
    let admin_key = AdminKey::new(Secret::from_environment("ADMIN_KEY")?);
    let migration = common.redis.settings_as(User::Migration.name(), "MIGRATION_PASSWORD")?;
    let redis_settings = common.redis.settings()?;
    let redis = Redis::new(&redis_settings).context("the address of Redis")?;
    let keys = ShopKeys::new(&common.shop.shop_name);

    let listener = TcpListener::bind(arguments.listen.listen_address)
        .await
        .context("binding the API's address")?;
    let admin_listener = TcpListener::bind(common.admin.admin_address)
        .await
        .context("binding the admin address")?;
    tracing::info!(
        shop = %common.shop.shop_name,
        listen = %listener.local_addr()?,
        admin = %admin_listener.local_addr()?,
        redis = %format_args!("{}:{}", common.redis.redis_host, common.redis.redis_port),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );

    let index_ready = IndexReady::default();
    let index = Catalogue::index(&keys).keep(redis.clone(), migration, index_ready.clone(), shutdown.clone());
    let background = tokio::spawn(index);
    let watching = tokio::spawn(redis.clone().watch(shutdown.clone()));

    let mut registry = metrics::registry();
    let http = HttpMetrics::register(&mut registry);
    let admission = Admission::default();
    let readiness = admin::Readiness::new(shutdown.clone())
        .check("redis", redis.readiness())
        .check("schema", admission.readiness())
        .check("search_index", index_ready.readiness());
    let kept = admission.clone();
    let kept = tokio::spawn(kept.keep(schema(&keys), redis.clone(), Duty::Raise, shutdown.clone()));
    let state = ApiState {
        catalogue: Catalogue::new(redis, keys.clone(), arguments.idempotency.retention()),
        admin_key,
        currency: arguments.shop_currency,
    };
    let routes = api::router(state, &keys, redis_settings.consumer_client().shared());
    let api = serve::public(admission.guard(routes), http, Limits::default());

    tokio::try_join!(
        serve::run(listener, api, shutdown.clone()),
        serve::run(admin_listener, admin::router(registry, readiness), shutdown),
    )?;
    // All end with the shutdown token. The first two fail only by a panic, which is worth a failed exit.
    background.await?;
    watching.await?;
    kept.await??;
    Ok(())
}
