//! Consumers and sweepers as tasks of the test.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use shopwright_domain::access::User;
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS};
use shopwright_payments::act::Actor;
use shopwright_payments::consume::{JobHandler, StockHandler};
use shopwright_payments::provider::{Provider, Simulated};
use shopwright_streams::Client;
use shopwright_streams::consume::{self, Handler, Settings};
use tokio_util::sync::CancellationToken;

use super::{Inventory, InventoryHandler, Shop};

/// Tasks that end with the test.
pub struct Running {
    shutdown: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    pub fn new() -> Self {
        Self {
            shutdown: CancellationToken::new(),
            tasks: Vec::new(),
        }
    }

    pub fn token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    fn consume<H: Handler>(&mut self, client: Client, settings: Settings, handler: H) {
        let shutdown = self.token();
        self.spawn(async move {
            consume::run(client, settings, Arc::new(handler), Arc::default(), shutdown).await;
        });
    }

    pub fn inventory(&mut self, shop: &Shop, inventory: &Arc<Inventory>) {
        let handler = InventoryHandler {
            inventory: inventory.clone(),
            redis: shop.redis(User::Inventory),
            stream: shop.keys.inventory_events(),
        };
        let settings = loop_settings(shop.keys.payments_events(), GROUP_INVENTORY, "test");
        self.consume(shop.streams(User::Inventory), settings, handler);
    }

    /// Both loops of a consumer.
    pub fn payments(&mut self, shop: &Shop, actor: &Actor, provider: &Simulated) {
        self.payments_as("test", shop, actor, provider);
    }

    /// The same under another name than the usual one: of a group, no two have the same.
    pub fn payments_as(&mut self, name: &str, shop: &Shop, actor: &Actor, provider: &Simulated) {
        self.stock_as(name, shop, actor);
        let jobs = loop_settings(shop.keys.payments_jobs(), GROUP_PAYMENTS, name);
        let handler = JobHandler::new(actor.clone(), provider.clone());
        self.consume(shop.streams(User::Payments), jobs, handler);
    }

    /// The loop that stock answers come in by.
    pub fn stock_as(&mut self, name: &str, shop: &Shop, actor: &Actor) {
        let settings = loop_settings(shop.keys.inventory_events(), GROUP_PAYMENTS, name);
        let (client, handler, shutdown) = (
            shop.streams(User::Payments),
            StockHandler::new(actor.clone()),
            self.token(),
        );
        self.spawn(async move {
            consume::run_batches(client, settings, Arc::new(handler), Arc::default(), shutdown).await;
        });
    }

    /// The loop that asks the provider, so many calls at once.
    pub fn jobs<P: Provider>(&mut self, shop: &Shop, handler: JobHandler<P>, concurrency: usize) {
        let settings = Settings {
            concurrency,
            ..loop_settings(shop.keys.payments_jobs(), GROUP_PAYMENTS, "test")
        };
        self.consume(shop.streams(User::Payments), settings, handler);
    }

    pub fn sweeper(&mut self, actor: &Actor) {
        let (actor, shutdown) = (actor.clone(), self.token());
        self.spawn(shopwright_payments::sweep::run(
            actor,
            Duration::from_millis(20),
            shutdown,
        ));
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        for task in std::mem::take(&mut self.tasks) {
            task.await.unwrap();
        }
    }
}

fn loop_settings(key: String, group: &str, consumer: &str) -> Settings {
    Settings {
        claim_min_idle: Duration::from_millis(500),
        claim_interval: Duration::from_millis(100),
        block: Duration::from_millis(100),
        drain: Duration::from_secs(5),
        ..Settings::new(key, group, consumer)
    }
}
