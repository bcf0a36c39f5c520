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

impl Drop for Recorder {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn locked(seen: &Mutex<Vec<Seen>>) -> std::sync::MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
