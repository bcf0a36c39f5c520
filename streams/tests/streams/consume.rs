//! The consumer loop in fair weather: everything once, no more in hand than slots, retries, drain.

use crate::support::{add, as_user, eventually, execute, pending, redis, redis_with_users, within};
use shopwright_streams::consume::{Counters, Drained, Entry, Handler, Outcome, Settings, run};
use shopwright_streams::group::StartFrom;
use shopwright_streams::{Client, EntryId, Shared};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Records what it was given and answers as told by a function of the entry and how often it has seen it.
pub(crate) struct Recorder<F> {
    pub(crate) seen: Mutex<BTreeMap<EntryId, Vec<u64>>>,
    answer: F,
}

impl<F: AsyncAnswer> Recorder<F> {
    pub(crate) fn new(answer: F) -> Arc<Self> {
        Arc::new(Self {
            seen: Mutex::default(),
            answer,
        })
    }

    /// How many entries were seen, and how often an entry was at most.
    pub(crate) fn totals(&self) -> (usize, usize) {
        let seen = self.seen.lock().unwrap();
        (seen.len(), seen.values().map(Vec::len).max().unwrap_or(0))
    }

    /// The delivery counts with which the entry came.
    pub(crate) fn counts(&self, id: EntryId) -> Vec<u64> {
        self.seen.lock().unwrap().get(&id).cloned().unwrap_or_default()
    }
}

pub(crate) trait AsyncAnswer: Send + Sync + 'static {
    fn answer(&self, times: usize) -> impl Future<Output = Outcome> + Send;
}

impl<F: Fn(usize) -> R + Send + Sync + 'static, R: Future<Output = Outcome> + Send> AsyncAnswer for F {
    fn answer(&self, times: usize) -> impl Future<Output = Outcome> + Send {
        self(times)
    }
}

impl<F: AsyncAnswer> Handler for Recorder<F> {
    async fn handle(&self, entry: &Entry) -> Outcome {
        assert!(entry.fields.text("number").is_some());
        let times = {
            let mut seen = self.seen.lock().unwrap();
            let counts = seen.entry(entry.id).or_default();
            counts.push(entry.delivery_count);
            counts.len()
        };
        self.answer.answer(times).await
    }
}

pub(crate) fn settings(consumer: &str) -> Settings {
    Settings {
        claim_interval: Duration::from_millis(50),
        ..Settings::new("s", "g", consumer)
    }
}

pub(crate) struct Running {
    pub(crate) task: JoinHandle<Drained>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shutdown: CancellationToken,
}

impl Running {
    pub(crate) async fn stop(self) -> Drained {
        self.shutdown.cancel();
        within("the drain", self.task).await.unwrap()
    }
}

pub(crate) fn start<F: AsyncAnswer>(client: &Client, settings: Settings, handler: &Arc<Recorder<F>>) -> Running {
    let (counters, shutdown) = (Arc::<Counters>::default(), CancellationToken::new());
    let task = tokio::spawn(run(
        client.clone(),
        settings,
        Arc::clone(handler),
        Arc::clone(&counters),
        shutdown.clone(),
    ));
    Running {
        task,
        counters,
        shutdown,
    }
}

pub(crate) async fn group(shared: &Shared) {
    execute(shared, "XGROUP CREATE s g 0 MKSTREAM").await;
}

pub(crate) async fn all_acknowledged(shared: &Shared) {
    eventually("everything read and acknowledged", async || {
        let target = shopwright_streams::sample::Target {
            key: "s",
            group: "g",
            cap: 1000,
        };
        let sample = shopwright_streams::sample::sample(shared, target).await;
        matches!(sample, Ok(shopwright_streams::sample::Sample::Known(known)) if known.backlog() == 0)
    })
    .await;
}

#[tokio::test]
async fn racing_consumers_share_the_work_and_each_entry_is_handled_once() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let handler = Recorder::new(|_| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Outcome::Done
    });
    let running: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| start(&client, settings(name), &handler))
        .into_iter()
        .collect();
    for number in 0..600 {
        add(&shared, "s", number).await;
    }
    all_acknowledged(&shared).await;
    assert_eq!(handler.totals(), (600, 1));
    for running in running {
        assert!(
            running.counters.delivered.load(Ordering::Relaxed) > 0,
            "one consumer got nothing"
        );
        assert_eq!(running.stop().await, Drained { unfinished: 0 });
    }
}

#[tokio::test]
async fn no_more_is_in_hand_than_there_are_slots() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    for number in 0..100 {
        add(&shared, "s", number).await;
    }
    let handler = Recorder::new(|_| async {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        NOW.fetch_sub(1, Ordering::SeqCst);
        Outcome::Done
    });
    let running = start(
        &client,
        Settings {
            concurrency: 3,
            ..settings("a")
        },
        &handler,
    );
    let mut most_pending = 0;
    eventually("all handled", async || {
        most_pending = most_pending.max(pending(&shared, "s", "g").await);
        handler.totals().0 == 100
    })
    .await;
    assert_eq!(MOST.load(Ordering::SeqCst), 3);
    assert!(most_pending <= 3, "{most_pending} pending");
    running.stop().await;
}

#[tokio::test]
async fn an_entry_left_pending_comes_again_after_its_idle_time_with_a_higher_count() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let handler = Recorder::new(|times| async move { if times < 3 { Outcome::Retry } else { Outcome::Done } });
    let idle = Duration::from_millis(200);
    let running = start(
        &client,
        Settings {
            claim_min_idle: idle,
            ..settings("a")
        },
        &handler,
    );
    let began = std::time::Instant::now();
    all_acknowledged(&shared).await;
    assert!(began.elapsed() >= idle * 2, "came again too soon");
    assert_eq!(handler.counts(id), [1, 2, 3]);
    assert_eq!(running.counters.retried.load(Ordering::Relaxed), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_retry_in_hand_counts_as_no_delivery() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let handler = Recorder::new(|times| async move {
        if times < 4 {
            Outcome::RetryAfter(Duration::from_millis(10))
        } else {
            Outcome::Done
        }
    });
    let running = start(&client, settings("a"), &handler);
    all_acknowledged(&shared).await;
    assert_eq!(handler.counts(id), [1, 1, 1, 1]);
    running.stop().await;
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_hand_and_reads_no_more() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    for number in 0..10 {
        add(&shared, "s", number).await;
    }
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&release);
    let handler = Recorder::new(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Outcome::Done
        }
    });
    let running = start(
        &client,
        Settings {
            concurrency: 4,
            ..settings("a")
        },
        &handler,
    );
    eventually("four in hand", async || handler.totals().0 == 4).await;
    running.shutdown.cancel();
    release.add_permits(100);
    assert_eq!(
        within("the drain", running.task).await.unwrap(),
        Drained { unfinished: 0 }
    );
    assert_eq!(handler.totals(), (4, 1));
    assert_eq!(pending(&shared, "s", "g").await, 0);
}

#[tokio::test]
async fn what_outlasts_the_drain_stays_pending_and_a_waiting_retry_is_not_waited_for() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    add(&shared, "s", 1).await;
    let stuck = Recorder::new(|_| std::future::pending::<Outcome>());
    let running = start(
        &client,
        Settings {
            drain: Duration::from_millis(100),
            ..settings("a")
        },
        &stuck,
    );
    eventually("one in hand", async || stuck.totals().0 == 1).await;
    assert_eq!(running.stop().await, Drained { unfinished: 1 });
    assert_eq!(pending(&shared, "s", "g").await, 1);

    let patient = Recorder::new(|_| async { Outcome::RetryAfter(Duration::from_secs(3600)) });
    let running = start(&client, settings("a"), &patient);
    eventually("one in hand", async || patient.totals().0 == 1).await;
    assert_eq!(running.stop().await, Drained { unfinished: 0 });
    assert_eq!(pending(&shared, "s", "g").await, 1);
}

#[tokio::test]
async fn a_missing_group_is_waited_for_or_made() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    add(&shared, "s", 1).await;
    let handler = Recorder::new(|_| async { Outcome::Done });
    let running = start(&client, settings("a"), &handler);
    eventually("a failed read", async || {
        running.counters.failures.load(Ordering::Relaxed) > 0
    })
    .await;
    execute(&shared, "XGROUP CREATE s g 0").await;
    all_acknowledged(&shared).await;
    // Lost under way, and made again by somebody.
    execute(&shared, "DEL s").await;
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, "s", 2).await;
    all_acknowledged(&shared).await;
    assert_eq!(handler.totals(), (2, 1));
    running.stop().await;

    execute(&shared, "DEL s").await;
    let running = start(
        &client,
        Settings {
            ensure: Some(StartFrom::Beginning),
            ..settings("a")
        },
        &handler,
    );
    add(&shared, "s", 3).await;
    eventually("the third", async || handler.totals().0 == 3).await;
    running.stop().await;
}

#[tokio::test]
async fn a_consumer_needs_no_more_than_its_selector_of_a_foreign_stream() {
    let foreign = "~own:* +@all (%RW~s +xreadgroup +xack +xclaim +xautoclaim +xpending +eval +evalsha +script|load)";
    let (stack, client) = redis_with_users(&[("inventory", foreign)]).await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let inventory = as_user(&stack, "inventory");
    let handler = Recorder::new(|times| async move { if times < 2 { Outcome::Retry } else { Outcome::Done } });
    let idle = Duration::from_millis(100);
    let running = start(
        &inventory,
        Settings {
            claim_min_idle: idle,
            ..settings("a")
        },
        &handler,
    );
    all_acknowledged(&shared).await;
    assert_eq!(handler.counts(id), [1, 2]);
    assert_eq!(running.counters.failures.load(Ordering::Relaxed), 0);
    running.stop().await;
}
