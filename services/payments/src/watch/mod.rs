//! Orders as they change, for any number of watchers in this process. Reads documents; writes nothing.
//!
//! A change is told on a channel of Redis as a mere hint ([`follow`]), and the order is then read once for all who watch
//! it, many orders in one round trip. A watcher sees the newest version only: what it was too slow for is skipped. Hints
//! may be lost with their connection, so everything watched is read again after each subscription, and every 15 s.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shopwright_domain::ids::OrderId;
use shopwright_domain::order::Order;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::http::OrderView;
use crate::store::{Store, StoreError};

mod follow;

/// Orders read in one round trip, one such at a time.
const BATCH: usize = 64;
/// Between two attempts to read while Redis does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// How long a hint that got lost unnoticed goes unnoticed.
const BACKSTOP: Duration = Duration::from_secs(15);

/// An order at one version, as the API shows it; written out once for all watchers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Of the order.
    pub version: u64,
    /// The order's view as JSON.
    pub text: Arc<str>,
}

/// Why an order cannot be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// There is no such order.
    #[error("there is no such order")]
    Missing,
    /// It could not be read.
    #[error("the order could not be read")]
    Unavailable,
}

/// What was last read of an order, and how new that is.
#[derive(Debug, Clone)]
struct Reading {
    /// Whoever wanted the order with this number or a lower one, wanted it before it was read.
    ticket: u64,
    found: Result<Snapshot, WatchError>,
}

/// An order that somebody watches.
struct Watched {
    sender: watch::Sender<Reading>,
    /// How many do. Counted here, under the registry's lock, because the sender's own count of receivers falls only when a
    /// watcher is gone altogether: the last two, going at once, would each still see the other.
    watchers: usize,
}

#[derive(Default)]
struct Registry {
    watched: HashMap<OrderId, Watched>,
    /// To be read.
    wanted: HashSet<OrderId>,
    /// The last number given out.
    tickets: u64,
}

struct Shared {
    store: Store,
    registry: Mutex<Registry>,
    wake: Notify,
}

/// Who watches what. Cloning is cheap; every clone is the same registry. Somebody has to [`run`](Watch::run) it.
#[derive(Clone)]
pub struct Watch(Arc<Shared>);

impl std::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Watch")
            .field("orders", &self.orders())
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// Nobody watches yet.
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Shared {
            store,
            registry: Mutex::default(),
            wake: Notify::new(),
        }))
    }

    /// How many orders are watched.
    pub fn orders(&self) -> usize {
        self.registry().watched.len()
    }

    /// A watcher of the order, which has been read since it was asked for.
    pub async fn join(&self, id: OrderId) -> Result<Watcher, WatchError> {
        let (mut watcher, ticket) = self.enter(id);
        // The sender stays as long as the watcher, so that waiting ends with a reading.
        let reading = watcher.receiver.wait_for(|reading| reading.ticket >= ticket).await;
        watcher.current = reading.map_err(|_| WatchError::Unavailable)?.found.clone()?;
        Ok(watcher)
    }

    fn enter(&self, id: OrderId) -> (Watcher, u64) {
        let mut registry = self.registry();
        registry.tickets += 1;
        registry.wanted.insert(id);
        let ticket = registry.tickets;
        let unread = Reading {
            ticket: 0,
            found: Err(WatchError::Unavailable),
        };
        let entry = registry.watched.entry(id).or_insert_with(|| Watched {
            sender: watch::Sender::new(unread),
            watchers: 0,
        });
        entry.watchers += 1;
        let receiver = entry.sender.subscribe();
        self.0.wake.notify_one();
        let watcher = Watcher {
            id,
            receiver,
            current: Snapshot {
                version: 0,
                text: "".into(),
            },
            watch: self.clone(),
        };
        (watcher, ticket)
    }

    /// Follows changes and reads what changed, until `shutdown`.
    ///
    /// Commands used: SUBSCRIBE on a connection of its own; TIME, JSON.MGET on the shared one.
    pub async fn run(self, client: redis::Client, shutdown: CancellationToken) {
        let channel = self.0.store.keys().payments_changes();
        tokio::join!(
            self.follow(&client, &channel, &shutdown),
            self.read_wanted(&shutdown),
            self.want_all_now_and_then(&shutdown),
        );
    }

    /// An order is said to have this version now.
    fn hear(&self, id: OrderId, version: u64) {
        let mut registry = self.registry();
        let is_news = registry.watched.get(&id).is_some_and(|watched| {
            let reading = watched.sender.borrow();
            reading.found.as_ref().map_or(true, |known| known.version < version)
        });
        if is_news {
            registry.wanted.insert(id);
            self.0.wake.notify_one();
        }
    }

    fn want_all(&self) {
        let mut registry = self.registry();
        let Registry { watched, wanted, .. } = &mut *registry;
        wanted.extend(watched.keys());
        self.0.wake.notify_one();
    }

    async fn want_all_now_and_then(&self, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(BACKSTOP) => self.want_all(),
            }
        }
    }

    /// One batch after the other, so that what is read of an order is never older than what was read before.
    async fn read_wanted(&self, shutdown: &CancellationToken) {
        loop {
            let (ids, ticket) = self.take_wanted();
            let pause = if ids.is_empty() {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = self.0.wake.notified() => Duration::ZERO,
                }
            } else {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    is_read = self.read(&ids, ticket) => if is_read { Duration::ZERO } else { RETRY },
                }
            };
            if !pause.is_zero() {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }

    fn take_wanted(&self) -> (Vec<OrderId>, u64) {
        let mut registry = self.registry();
        let ids: Vec<_> = registry.wanted.iter().take(BATCH).copied().collect();
        for id in &ids {
            registry.wanted.remove(id);
        }
        (ids, registry.tickets)
    }

    /// False when Redis did not answer; then all of them stay wanted.
    async fn read(&self, ids: &[OrderId], ticket: u64) -> bool {
        let read = self.0.store.load_many(ids).await;
        let mut registry = self.registry();
        match read {
            Ok(read) => {
                for (id, order) in ids.iter().zip(read.orders) {
                    registry.tell(*id, ticket, snapshot(*id, order));
                }
                true
            }
            Err(error) => {
                tracing::debug!(%error, orders = ids.len(), "watched orders could not be read");
                for id in ids {
                    registry.tell(*id, ticket, Err(WatchError::Unavailable));
                    if registry.watched.contains_key(id) {
                        registry.wanted.insert(*id);
                    }
                }
                false
            }
        }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn tell(&mut self, id: OrderId, ticket: u64, found: Result<Snapshot, WatchError>) {
        let Some(watched) = self.watched.get(&id) else { return };
        watched.sender.send_if_modified(|reading| {
            // Those who wait for their first reading wait for its ticket; the others for another content only.
            let is_awaited = reading.ticket < ticket;
            let is_news = reading.found != found;
            *reading = Reading { ticket, found };
            is_awaited || is_news
        });
    }
}

fn snapshot(id: OrderId, order: Result<Option<Order>, StoreError>) -> Result<Snapshot, WatchError> {
    let order = order.map_err(|error| {
        tracing::error!(order = %id, %error, "a watched order is not understood");
        WatchError::Unavailable
    })?;
    let order = order.ok_or(WatchError::Missing)?;
    let text = serde_json::to_string(&OrderView::from(&order)).map_err(|_| WatchError::Unavailable)?;
    Ok(Snapshot {
        version: order.version,
        text: text.into(),
    })
}

/// One who watches one order. The order is no longer read when the last one is dropped.
#[derive(Debug)]
pub struct Watcher {
    id: OrderId,
    receiver: watch::Receiver<Reading>,
    current: Snapshot,
    watch: Watch,
}

impl Watcher {
    /// The order as this watcher last saw it.
    pub fn current(&self) -> &Snapshot {
        &self.current
    }

    /// The newest version, as soon as there is a higher one than the last. None when the order is gone or an older version
    /// is back, which is when Redis lost its last moments: then what was seen no longer counts, and one has to join anew.
    ///
    /// While Redis does not answer, nothing is seen.
    pub async fn next(&mut self) -> Option<&Snapshot> {
        loop {
            self.receiver.changed().await.ok()?;
            let found = self.receiver.borrow_and_update().found.clone();
            match found {
                Ok(snapshot) if snapshot.version > self.current.version => {
                    self.current = snapshot;
                    return Some(&self.current);
                }
                Ok(snapshot) if snapshot.version < self.current.version => return None,
                Ok(_) | Err(WatchError::Unavailable) => {}
                Err(WatchError::Missing) => return None,
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut registry = self.watch.registry();
        let Some(watched) = registry.watched.get_mut(&self.id) else {
            return;
        };
        watched.watchers -= 1;
        if watched.watchers == 0 {
            registry.watched.remove(&self.id);
            registry.wanted.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use shopwright_domain::keys::ShopKeys;
    use shopwright_kit::{Redis, RedisSettings};

    use super::*;

    /// The last watchers of an order go at the same moment, from several threads, again and again.
    #[tokio::test]
    async fn however_they_go_nothing_is_left() {
        const THREADS: usize = 4;
        const ROUNDS: usize = 5_000;
        // Nobody is there: what is looked at needs no Redis.
        let settings = RedisSettings {
            host: "127.0.0.1".to_owned(),
            port: 1,
            username: None,
            password: None,
        };
        let store = Store::new(Redis::new(&settings).unwrap(), ShopKeys::new("demo"));
        let watch = Watch::new(store);
        let ids: Vec<_> = (0..ROUNDS).map(|_| OrderId::generate()).collect();
        let barrier = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for id in &ids {
                        let (watcher, _) = watch.enter(*id);
                        barrier.wait();
                        drop(watcher);
                    }
                });
            }
        });
        assert_eq!((watch.orders(), watch.registry().wanted.len()), (0, 0));
    }
}
