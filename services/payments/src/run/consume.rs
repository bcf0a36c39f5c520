//! The consumer process: two loops, their provider, an admin port.

use std::sync::Arc;

use shopwright_domain::keys::{GROUP_PAYMENTS, ShopKeys};
use shopwright_kit::schema::Duty;
use shopwright_kit::{
    Admission, Redis, RedisSettings, admin, consumer_metrics, metrics as kit_metrics, serve, shutdown, telemetry,
};
use shopwright_streams::consume::{Counters, Settings, run as run_each, run_batches};
use tokio_util::sync::CancellationToken;

use super::{bind, schema};
use crate::act::Actor;
use crate::cli::Consume;
use crate::consume::{JobHandler, StockHandler};
use crate::metrics::Metrics;
use crate::provider::Simulated;
use crate::store::Store;

pub(super) async fn run(arguments: Consume) -> anyhow::Result<()> {
    telemetry::init(&arguments.log)?;
    let shutdown = shutdown::on_signals()?;
    let keys = ShopKeys::new(&arguments.shop.shop_name);
    let settings = arguments.redis.settings()?;
    let redis = Redis::new(&settings)?;
    let provider_redis = Redis::new(&arguments.provider.settings(&arguments.redis)?)?;

    let mut registry = kit_metrics::registry();
    let metrics = Metrics::register(&mut registry);
    let provider = Simulated::new(
        provider_redis.clone(),
        keys.clone(),
        arguments.provider.latency(),
        arguments.provider.provider_decline_above_minor,
        metrics.clone(),
    );
    let actor = Actor {
        store: Store::new(redis.clone(), keys.clone()),
        policy: arguments.orders.policy(),
        metrics,
    };
    let loops = Loops::new(&arguments, &keys);
    consumer_metrics::register(&mut registry, loops.counters());

    // The admin port answers until the last entry is done: a draining consumer is alive.
    let drained = CancellationToken::new();
    let admission = Admission::default();
    let readiness = admin::Readiness::new(shutdown.clone())
        .check("redis", redis.readiness())
        .check("schema", admission.readiness())
        .check("provider_redis", provider_redis.readiness());
    let admin_listener = bind("admin", arguments.admin.admin_address).await?;
    let router = admin::router(registry, readiness);
    let admin = tokio::spawn(serve::run(admin_listener, router, drained.clone()));
    tokio::spawn(redis.clone().watch(drained.clone()));
    tokio::spawn(provider_redis.watch(drained.clone()));
    let kept = admission.clone();
    let kept = tokio::spawn(kept.keep(schema(&keys), redis, Duty::Check, shutdown.clone()));

    if admission.granted(&shutdown).await {
        let handlers = (StockHandler::new(actor.clone()), JobHandler::new(actor, provider));
        loops.run(&settings, handlers, shutdown).await;
    }
    drained.cancel();
    admin.await??;
    kept.await??;
    Ok(())
}

/// Settings and counts of both loops.
struct Loops {
    stock: (Settings, Arc<Counters>),
    jobs: (Settings, Arc<Counters>),
}

impl Loops {
    fn new(arguments: &Consume, keys: &ShopKeys) -> Self {
        let one = |key: String, concurrency: u16| {
            let consumer = arguments.pod.consumer_name();
            let settings = Settings {
                concurrency: usize::from(concurrency),
                ..arguments.consumer.settings(key, GROUP_PAYMENTS, consumer)
            };
            (settings, Arc::default())
        };
        Self {
            stock: one(keys.inventory_events(), arguments.stock_concurrency),
            jobs: one(keys.payments_jobs(), arguments.job_concurrency),
        }
    }

    fn counters(&self) -> Vec<(String, Arc<Counters>)> {
        let loops = [&self.stock, &self.jobs];
        loops
            .map(|(settings, counters)| (settings.key.clone(), Arc::clone(counters)))
            .into()
    }

    /// Until `shutdown`, and until what is in hand is finished or handed over.
    async fn run(
        self,
        redis: &RedisSettings,
        handlers: (StockHandler, JobHandler<Simulated>),
        shutdown: CancellationToken,
    ) {
        let client = redis.consumer_client();
        let (stock, jobs) = handlers;
        let ((stock_settings, stock_counters), (job_settings, job_counters)) = (self.stock, self.jobs);
        let stock = run_batches(
            client.clone(),
            stock_settings,
            Arc::new(stock),
            stock_counters,
            shutdown.clone(),
        );
        let jobs = run_each(client, job_settings, Arc::new(jobs), job_counters, shutdown);
        let (stock, jobs) = tokio::join!(stock, jobs);
        tracing::info!(unfinished = stock.unfinished + jobs.unfinished, "drained");
    }
}
