//! Every number of replicas that a Deployment was ever asked to have while we looked, not only those at the moments of asking.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// When a number was first seen, and the number.
pub type Seen = (Instant, i32);

/// Watches one Deployment until dropped.
pub struct Recorder {
    seen: Arc<Mutex<Vec<Seen>>>,
    changed: Arc<Notify>,
    watching: JoinHandle<()>,
}

impl Recorder {
    /// Begins to watch, and waits until the present number is known.
    pub async fn start(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let changed = Arc::new(Notify::new());
        let (log, bell) = (seen.clone(), changed.clone());
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let watching = tokio::spawn(async move {
            let objects = watcher(deployments, only).default_backoff().applied_objects();
            pin_mut!(objects);
            while let Some(event) = objects.next().await {
                let Some(now) = event.ok().and_then(|found| found.spec.replicas) else {
                    continue;
                };
                let mut log = locked(&log);
                if log.last().is_none_or(|(_, last)| *last != now) {
                    log.push((Instant::now(), now));
                    bell.notify_waiters();
                    bell.notify_one();
                }
            }
        });
        let recorder = Self {
            seen,
            changed,
            watching,
        };
        while recorder.seen().is_empty() {
            recorder.changed.notified().await;
        }
        recorder
    }

    /// All numbers so far, in order.
    pub fn seen(&self) -> Vec<i32> {
        locked(&self.seen).iter().map(|(_, replicas)| *replicas).collect()
    }

    /// All numbers so far with the time at which each was first seen.
    pub fn history(&self) -> Vec<Seen> {
        locked(&self.seen).clone()
    }

    /// The present number.
    pub fn last(&self) -> i32 {
        self.seen().last().copied().unwrap_or_default()
    }

    /// Waits until a number that fulfils `wanted` is seen after `since`; when.
    pub async fn first_since(&self, since: Instant, wanted: impl Fn(i32) -> bool) -> Instant {
        loop {
            // Taken before looking, so that a change in between is not slept over.
            let bell = self.changed.notified();
            if let Some((at, _)) = locked(&self.seen).iter().find(|(at, now)| *at >= since && wanted(*now)) {
                return *at;
            }
            bell.await;
        }
    }
}

/// Replicas times seconds from `since` to `until`: what was asked for, and so what was paid for.
pub fn replica_seconds(history: &[Seen], since: Instant, until: Instant) -> f64 {
    let ends = history.iter().skip(1).map(|(at, _)| *at).chain([until]);
    history
        .iter()
        .zip(ends)
        .map(|((from, replicas), to)| {
            let within = to.min(until).saturating_duration_since((*from).max(since));
            f64::from(*replicas) * within.as_secs_f64()
        })
        .sum()
}

/// How often the replicas went up after they had gone down.
pub fn flaps(history: &[i32]) -> usize {
    let mut went_down = false;
    let mut flaps = 0;
    for step in history.windows(2) {
        match step {
            [before, after] if after < before => went_down = true,
            [before, after] if after > before && went_down => {
                flaps += 1;
                went_down = false;
            }
            _ => {}
        }
    }
    flaps
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn locked(seen: &Mutex<Vec<Seen>>) -> std::sync::MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{flaps, replica_seconds};

    #[test]
    fn replica_seconds_count_only_the_span_asked_for() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let history = [(at(0), 0), (at(10), 20), (at(20), 1), (at(30), 0)];
        let sum = |since, until| replica_seconds(&history, at(since), at(until));
        assert!((sum(0, 40) - 210.0).abs() < 1e-9);
        assert!((sum(15, 25) - 105.0).abs() < 1e-9);
        assert!((sum(35, 40)).abs() < 1e-9);
    }

    #[test]
    fn only_up_after_down_is_a_flap() {
        assert_eq!(flaps(&[0, 4, 20, 12, 1, 0]), 0);
        assert_eq!(flaps(&[0, 20, 1, 3, 5, 0, 1]), 2);
        assert_eq!(flaps(&[]), 0);
    }
}
