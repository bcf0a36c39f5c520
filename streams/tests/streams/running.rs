//! Consumer loops to run in tests, and a handler that records what they hand it.

use crate::support::{command, eventually, execute, within};
use redis::streams::StreamInfoGroupsReply;
use shopwright_streams::consume::{
    BatchHandler, Counters, Drained, Entry, Handler, Outcome, Settings, run, run_batches,
};
use shopwright_streams::{Client, EntryId, Shared};
use std::collections::BTreeMap;
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

/// So long that nothing comes again by being idle.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Nothing comes again by being idle, and the end is quick.
pub(crate) fn hour(consumer: &str) -> Settings {
    Settings {
        claim_min_idle: HOUR,
        drain: Duration::from_millis(100),
        ..settings(consumer)
    }
}

pub(crate) struct Running {
    pub(crate) task: JoinHandle<Drained>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shutdown: CancellationToken,
}

impl Running {
    fn spawn<F>(run: impl FnOnce(Arc<Counters>, CancellationToken) -> F) -> Self
    where
        F: Future<Output = Drained> + Send + 'static,
    {
        let (counters, shutdown) = (Arc::<Counters>::default(), CancellationToken::new());
        let task = tokio::spawn(run(Arc::clone(&counters), shutdown.clone()));
        Self {
            task,
            counters,
            shutdown,
        }
    }

    /// As a kill would end it: nothing is handed over.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn stop(self) -> Drained {
        self.shutdown.cancel();
        within("the drain", self.task).await.unwrap()
    }
}

pub(crate) fn start<H: Handler>(client: &Client, settings: Settings, handler: &Arc<H>) -> Running {
    let (client, handler) = (client.clone(), Arc::clone(handler));
    Running::spawn(|counters, shutdown| run(client, settings, handler, counters, shutdown))
}

pub(crate) fn start_batches<H: BatchHandler>(client: &Client, settings: Settings, handler: &Arc<H>) -> Running {
    let (client, handler) = (client.clone(), Arc::clone(handler));
    Running::spawn(|counters, shutdown| run_batches(client, settings, handler, counters, shutdown))
}

pub(crate) async fn group(shared: &Shared) {
    execute(shared, "XGROUP CREATE s g 0 MKSTREAM").await;
}

/// Waits until the group has read to the end and nothing is pending, not even poison.
pub(crate) async fn all_acknowledged(shared: &Shared) {
    eventually("everything read and acknowledged", async || {
        let Ok(groups) = command::<StreamInfoGroupsReply>(shared, "XINFO GROUPS s").await else {
            return false;
        };
        let Some(group) = groups.groups.first() else {
            return false;
        };
        let ahead = format!("XRANGE s ({} + COUNT 1", group.last_delivered_id);
        let ahead = command::<Vec<redis::Value>>(shared, &ahead).await;
        group.pending == 0 && ahead.is_ok_and(|ahead| ahead.is_empty())
    })
    .await;
}
