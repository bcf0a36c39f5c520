//! The serving process: the API, the sweeper, the search index, an admin port.

use std::time::Duration;

use shopwright_domain::access::User;
use shopwright_domain::keys::ShopKeys;
use shopwright_kit::schema::Duty;
use shopwright_kit::search_index::IndexReady;
use shopwright_kit::sse::Places;
use shopwright_kit::{
    AdminKey, Admission, Capacity, Redis, Secret, admin, metrics as kit_metrics, serve, shutdown, telemetry,
};
use tokio_util::sync::CancellationToken;

use super::{bind, schema};
use crate::act::Actor;
use crate::cli::Serve;
use crate::http::{ApiState, WATCHERS, router};
use crate::index;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::sweep;
use crate::token::TokenKeys;
use crate::watch::Watch;

pub(super) async fn run(arguments: Serve) -> anyhow::Result<()> {
    telemetry::init(&arguments.log)?;
    let shutdown = shutdown::on_signals()?;
    let keys = ShopKeys::new(&arguments.shop.shop_name);
    let settings = arguments.redis.settings()?;
    let redis = Redis::new(&settings)?;
    let migration = arguments
        .redis
        .settings_as(User::Migration.name(), "MIGRATION_PASSWORD")?;
    let admin_key = AdminKey::new(Secret::from_environment("ADMIN_KEY")?);
    let token_keys = TokenKeys::from_environment()?;

    let mut registry = kit_metrics::registry();
    let http_metrics = kit_metrics::HttpMetrics::register(&mut registry);
    let actor = Actor {
        store: Store::new(redis.clone(), keys.clone()),
        policy: arguments.orders.policy(),
        metrics: Metrics::register(&mut registry),
    };
    let (admission, index_ready) = (Admission::default(), IndexReady::default());
    let (capacity, watch) = (Capacity::default(), Watch::new(actor.store.clone()));
    let readiness = admin::Readiness::new(shutdown.clone())
        .check("redis", redis.readiness())
        .check("schema", admission.readiness())
        .check("search_index", index_ready.readiness());

    tokio::spawn(redis.clone().watch(shutdown.clone()));
    tokio::spawn(index::orders(&keys).keep(redis.clone(), migration, index_ready, shutdown.clone()));
    tokio::spawn(capacity.clone().watch(redis.clone(), shutdown.clone()));
    tokio::spawn(watch.clone().run(settings.client()?, shutdown.clone()));
    let kept = admission.clone();
    let kept = tokio::spawn(kept.keep(schema(&keys), redis, Duty::Raise, shutdown.clone()));
    let interval = Duration::from_millis(arguments.sweep_interval_milliseconds);
    let sweeper = sweep_once_admitted(actor.clone(), interval, admission.clone(), shutdown.clone());
    let sweeper = tokio::spawn(sweeper);

    let api = router(ApiState {
        actor,
        currency: arguments.orders.shop_currency,
        admin_key,
        token_keys,
        retention: arguments.idempotency.retention(),
        capacity,
        watch,
        places: Places::new(WATCHERS),
        streams: settings.consumer_client().shared(),
        shutdown: shutdown.clone(),
    });
    let application = serve::public(admission.guard(api), http_metrics, serve::Limits::default());
    let listener = bind("public", arguments.listen.listen_address).await?;
    let admin_listener = bind("admin", arguments.admin.admin_address).await?;
    tokio::try_join!(
        serve::run(listener, application, shutdown.clone()),
        serve::run(admin_listener, admin::router(registry, readiness), shutdown),
    )?;
    sweeper.await?;
    kept.await??;
    Ok(())
}

async fn sweep_once_admitted(actor: Actor, interval: Duration, admission: Admission, shutdown: CancellationToken) {
    if admission.granted(&shutdown).await {
        sweep::run(actor, interval, shutdown).await;
    }
}
