//! The consumer loop within the test's own process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use shopwright_domain::{
    access::User,
    events::OrderEvent,
    keys::{GROUP_INVENTORY, ShopKeys},
};
use shopwright_inventory::{
    reactions::{ReactionMetrics, Reactions},
    reservations::Reservations,
};
use shopwright_streams::{
    Client, Endpoint,
    consume::{self, BatchHandler, Counters, Entry, Outcome, Settings},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Shop;

pub fn settings(shop: &Shop, consumer: &str) -> Settings {
    let mut settings = Settings::new(shop.keys.payments_events(), GROUP_INVENTORY, consumer);
    settings.block = Duration::from_millis(100);
    settings.claim_min_idle = Duration::from_millis(300);
    settings.claim_interval = Duration::from_millis(50);
    settings.concurrency = 2 * consume::LARGEST_BATCH;
    settings
}

pub fn client(shop: &Shop) -> Client {
    Client::new(Endpoint::from(&shop.settings(User::Inventory)))
}

pub fn reactions(reservations: Reservations) -> Reactions {
    Reactions::new(reservations, ReactionMetrics::default())
}

/// Counts how often it was asked.
pub struct Counted<H> {
    inner: H,
    pub calls: AtomicUsize,
}

impl<H> Counted<H> {
    pub fn new(inner: H) -> Self {
        Self {
            inner,
            calls: AtomicUsize::new(0),
        }
    }
}

impl<H: BatchHandler> BatchHandler for Counted<H> {
    async fn handle(&self, entries: &[Entry]) -> Vec<Outcome> {
        let outcomes = self.inner.handle(entries).await;
        self.calls.fetch_add(1, Ordering::SeqCst);
        outcomes
    }
}

pub struct Consumer {
    task: JoinHandle<consume::Drained>,
    ending: CancellationToken,
    pub counters: Arc<Counters>,
}

impl Consumer {
    pub fn start(shop: &Shop, settings: Settings, handler: Arc<impl BatchHandler>) -> Self {
        let (ending, counters) = (CancellationToken::new(), Arc::new(Counters::default()));
        let run = consume::run_batches(client(shop), settings, handler, Arc::clone(&counters), ending.clone());
        Self {
            task: tokio::spawn(run),
            ending,
            counters,
        }
    }

    pub async fn end(self) {
        self.ending.cancel();
        assert_eq!(self.task.await.unwrap().unfinished, 0);
    }

    /// As a kill: nothing is handed over.
    pub fn abort(self) {
        self.task.abort();
    }
}

/// An entry that holds an event, as the loop hands it to a handler.
pub async fn entry(shop: &Shop, event: &OrderEvent) -> Entry {
    let fields = shopwright_domain::events::encode(event, &super::meta())
        .into_iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes()))
        .collect();
    Entry {
        stream: ShopKeys::new(super::SHOP).payments_events().into(),
        id: shop.asking().await,
        delivery_count: 1,
        fields,
    }
}

pub async fn entries(shop: &Shop, events: &[OrderEvent]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for event in events {
        entries.push(entry(shop, event).await);
    }
    entries
}

pub async fn is_drained(shop: &Shop) -> bool {
    let groups: Vec<std::collections::HashMap<String, redis::Value>> = redis::cmd("XINFO")
        .arg(&["GROUPS", &shop.keys.payments_events()])
        .query_async(&mut shop.harness.clone())
        .await
        .unwrap();
    let number = |name: &str| redis::from_redis_value_ref::<Option<i64>>(&groups[0][name]).unwrap();
    number("pending") == Some(0) && number("lag") == Some(0)
}
