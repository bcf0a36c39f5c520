//! Compares the books of each shop that asks for it, in a task of its own, so that a large shop or a slow Redis holds up
//! nobody's reconcile. Reads Redis as the user `verify`, which can write nothing.
//!
//! One comparison at a time in the whole operator: what it holds in memory is bounded by one shop's share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use shopwright_domain::keys::ShopKeys;
use shopwright_streams::{Client, Endpoint, connection::Vet};
use shopwright_verify::{Books, Options, verify};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::AbortHandle,
};

use super::{
    memory::Key,
    verdict::{Obstacle, Verdict},
};
use crate::metrics::Metrics;

/// The longest that one comparison may take, and so the longest that one shop keeps the others waiting.
pub const DEADLINE: Duration = Duration::from_mins(2);
/// The most orders, lines and events of one shop, each, that are held at once.
pub const MOST_HELD: usize = 200_000;
/// For one reply. Longer than usual: the second look is one script, and whoever only reads can wait for a slow disk.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// One comparison may fail for reasons of the network: as many in a row make the news.
const FAILURES_TO_BELIEVE: u32 = 2;

/// How long the tasks wait.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Before a violation that was not known is looked for again. A shop whose Redis was away has overdue orders for some
    /// seconds, until the sweeper has come round.
    pub confirm: Duration,
    /// After a failure.
    pub retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            confirm: Duration::from_secs(20),
            retry: Duration::from_secs(10),
        }
    }
}

/// What a task was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assignment {
    endpoint: Endpoint,
    interval: Duration,
}

struct Watched {
    assignment: Assignment,
    verdict: watch::Receiver<Verdict>,
    task: AbortHandle,
}

/// Compares the books of every shop it was asked about, again and again.
pub struct Verifier {
    shops: Mutex<HashMap<Key, Watched>>,
    comparer: Comparer,
}

/// What every task shares.
#[derive(Clone)]
struct Comparer {
    news: mpsc::UnboundedSender<Key>,
    vet: Vet,
    /// One permit.
    turn: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    pace: Pace,
}

impl Verifier {
    /// Dials only addresses that `vet` allows, whoever has the one permit of `turn`. Tells `news` of each shop about which
    /// more is known.
    pub fn new(
        vet: Vet,
        news: mpsc::UnboundedSender<Key>,
        turn: Arc<Semaphore>,
        metrics: Arc<Metrics>,
        pace: Pace,
    ) -> Self {
        Self {
            shops: Mutex::default(),
            comparer: Comparer {
                news,
                vet,
                turn,
                metrics,
                pace,
            },
        }
    }

    /// What is known of the shop's books. Begins to compare them, the first time at once.
    pub fn verdict(&self, key: &Key, endpoint: &Endpoint, interval: Duration) -> Verdict {
        let assignment = Assignment {
            endpoint: endpoint.clone(),
            interval,
        };
        let mut shops = self.shops.lock().unwrap_or_else(PoisonError::into_inner);
        let former = shops.get(key);
        if let Some(watched) = former
            && watched.assignment == assignment
        {
            return watched.verdict.borrow().clone();
        }
        let known = former.map_or(Verdict::NotYet, |former| former.verdict.borrow().clone());
        let (sender, verdict) = watch::channel(known.clone());
        let task = self
            .comparer
            .clone()
            .keep_comparing(key.clone(), assignment.clone(), sender);
        let watched = Watched {
            assignment,
            verdict,
            task: tokio::spawn(task).abort_handle(),
        };
        if let Some(former) = shops.insert(key.clone(), watched) {
            former.task.abort();
        }
        known
    }

    /// Stops comparing a shop's books.
    pub fn forget(&self, key: &Key) {
        if let Some(watched) = self.shops.lock().unwrap_or_else(PoisonError::into_inner).remove(key) {
            watched.task.abort();
        }
    }

    /// Stops comparing those of every shop for which `is_there` says no.
    pub fn keep(&self, is_there: &impl Fn(&Key) -> bool) {
        let mut shops = self.shops.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, watched) in shops.extract_if(|key, _| !is_there(key)) {
            watched.task.abort();
        }
    }

    /// Stops comparing all of them.
    pub fn forget_all(&self) {
        for (_, watched) in self.shops.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            watched.task.abort();
        }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.forget_all();
    }
}

/// A shop's figures, which go with the task that shows them, however that ends.
struct Figures {
    metrics: Arc<Metrics>,
    key: Key,
}

impl Drop for Figures {
    fn drop(&mut self) {
        self.metrics.forget_shop(&self.key.0, &self.key.1);
    }
}

impl Comparer {
    async fn keep_comparing(self, key: Key, assignment: Assignment, sender: watch::Sender<Verdict>) {
        let figures = Figures {
            metrics: Arc::clone(&self.metrics),
            key,
        };
        let mut failures = 0;
        loop {
            let known = sender.borrow().clone();
            let mut verdict = self.in_turn(&figures, &assignment).await;
            if matches!(verdict, Verdict::Violated(_)) && !matches!(known, Verdict::Violated(_)) {
                tokio::time::sleep(self.pace.confirm).await;
                verdict = self.in_turn(&figures, &assignment).await;
            }
            let failed = matches!(verdict, Verdict::NotVerified(_));
            failures = if failed { failures + 1 } else { 0 };
            let was_compared = matches!(known, Verdict::Sound | Verdict::Violated(_));
            let doubtful = failed && was_compared && failures < FAILURES_TO_BELIEVE;
            if known != verdict && !doubtful {
                sender.send_replace(verdict);
                if self.news.send(figures.key.clone()).is_err() {
                    return;
                }
            }
            let pause = if failed {
                self.pace.retry.min(assignment.interval)
            } else {
                assignment.interval
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One comparison, when it is this shop's turn.
    async fn in_turn(&self, figures: &Figures, assignment: &Assignment) -> Verdict {
        // Never closed; without a permit it would be compared all the same.
        let _turn = self.turn.acquire().await;
        let (namespace, name) = &figures.key;
        let started = Instant::now();
        let compared = tokio::time::timeout(DEADLINE, self.compare(&figures.key, &assignment.endpoint)).await;
        match compared.unwrap_or(Err(Obstacle::Deadline)) {
            Ok(report) => {
                self.metrics.verified(namespace, name, &report, started.elapsed());
                Verdict::of(&report)
            }
            Err(obstacle) => {
                self.metrics.forget_shop(namespace, name);
                Verdict::NotVerified(obstacle)
            }
        }
    }

    async fn compare(&self, key: &Key, endpoint: &Endpoint) -> Result<shopwright_verify::Report, Obstacle> {
        let client = Client::vetted(endpoint.clone(), self.vet.clone()).with_response_timeout(RESPONSE_TIMEOUT);
        // One that never dials again: behind a second one could be a Redis that restarted without its last writes, and what
        // was read before would not fit what is read after.
        let connection = client.private(Duration::ZERO).await.map_err(Obstacle::Redis)?;
        let options = Options {
            most_held: MOST_HELD,
            ..Options::default()
        };
        let mut books = Books::new(ShopKeys::new(key.1.as_str()), connection);
        Ok(verify(&mut books, &options).await?)
    }
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
