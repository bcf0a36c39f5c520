//! Every read this controller makes of the cluster, kept as small facts: `ConsumerGroup` objects, the replicas of
//! Deployments, the targets of `HorizontalPodAutoscaler`s. Reads by watch only; at rest that is no request at all.

mod keep;
mod seen;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::{Client, core::DeserializeGuard};
use shopwright_api::ConsumerGroup;
use tokio::sync::watch;

pub(super) use self::seen::{SeenAutoscaler, SeenGroup, SeenTarget};
use self::{
    keep::{Store, keep, watch_all},
    seen::{Differs, seen_autoscaler, seen_group, seen_target},
};
use super::{
    identity::ObjectKey,
    pods::{Fact, Pods, TargetPods, WirePod},
};
use crate::{health::Health, metrics::Metrics};

/// Names of the caches, for readiness.
pub const CACHES: [&str; 4] = ["consumergroups", "deployments", "autoscalers", "pods"];

type Cache<Value> = Mutex<BTreeMap<ObjectKey, Value>>;

/// Everything known of the cluster.
#[derive(Debug)]
pub(super) struct Caches {
    groups: Cache<SeenGroup>,
    targets: Cache<SeenTarget>,
    autoscalers: Cache<SeenAutoscaler>,
    pods: Pods,
    changes: watch::Sender<u64>,
    /// How many of [`CACHES`] are filled.
    complete: AtomicUsize,
}

fn lock<Value>(cache: &Cache<Value>) -> MutexGuard<'_, BTreeMap<ObjectKey, Value>> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Caches {
    pub(super) fn new() -> Arc<Self> {
        let (changes, _) = watch::channel(0);
        Arc::new(Self {
            groups: Mutex::default(),
            targets: Mutex::default(),
            autoscalers: Mutex::default(),
            pods: Pods::default(),
            changes,
            complete: AtomicUsize::new(0),
        })
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn groups(&self) -> BTreeMap<ObjectKey, SeenGroup> {
        lock(&self.groups).clone()
    }

    pub(super) fn group(&self, key: &ObjectKey) -> Option<SeenGroup> {
        lock(&self.groups).get(key).cloned()
    }

    /// Whether each cache has held all there is. Before, nothing may be concluded from what is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire) == CACHES.len()
    }

    pub(super) fn target(&self, key: &ObjectKey) -> Option<SeenTarget> {
        lock(&self.targets).get(key).cloned()
    }

    /// The autoscaler that has this Deployment for its target, if one has.
    pub(super) fn autoscaler_of(&self, target: &ObjectKey) -> Option<String> {
        lock(&self.autoscalers)
            .iter()
            .find(|(key, seen)| key.namespace == target.namespace && seen.deployment == target.name)
            .map(|(key, _)| key.name.clone())
    }

    /// What is known of a Deployment's pods.
    pub(super) fn pods_of(&self, target: &ObjectKey) -> Arc<TargetPods> {
        self.pods.of(target)
    }

    /// Whether a group names this Deployment: whatever happens to the pods of others wakes nobody.
    fn is_target(&self, deployment: &ObjectKey) -> bool {
        lock(&self.groups).iter().any(|(key, seen)| {
            key.namespace == deployment.namespace
                && seen
                    .object
                    .as_ref()
                    .is_ok_and(|group| group.spec.scale_target_ref.name == deployment.name)
        })
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Fills the caches, and keeps them filled, until dropped.
pub(super) async fn follow(
    client: &Client,
    namespaces: &[String],
    caches: &Caches,
    health: &Health,
    metrics: &Metrics,
) {
    let [groups, targets, autoscalers, pods] = CACHES;
    let synced = |name| {
        move || {
            caches.complete.fetch_add(1, Ordering::AcqRel);
            health.synced(name);
        }
    };
    let changed = || caches.changed();
    let seen_groups = Shrunk {
        cache: &caches.groups,
        shrink: |guard| Some(seen_group(guard)),
    };
    let seen_targets = Shrunk {
        cache: &caches.targets,
        shrink: |deployment| Some(seen_target(&deployment)),
    };
    let seen_autoscalers = Shrunk {
        cache: &caches.autoscalers,
        shrink: seen_autoscaler,
    };
    let seen_pods = SeenPods { caches };
    tokio::join!(
        keep::<DeserializeGuard<ConsumerGroup>, _>(
            watch_all(client, namespaces),
            &seen_groups,
            changed,
            synced(groups),
            metrics
        ),
        keep::<Deployment, _>(
            watch_all(client, namespaces),
            &seen_targets,
            changed,
            synced(targets),
            metrics
        ),
        keep::<HorizontalPodAutoscaler, _>(
            watch_all(client, namespaces),
            &seen_autoscalers,
            changed,
            synced(autoscalers),
            metrics
        ),
        keep::<WirePod, _>(
            watch_all(client, namespaces),
            &seen_pods,
            changed,
            synced(pods),
            metrics
        ),
    );
}

/// A cache of one small value an object.
struct Shrunk<'a, Value, Shrink> {
    cache: &'a Cache<Value>,
    shrink: Shrink,
}

impl<Kind, Value: Differs, Shrink: Fn(Kind) -> Option<Value>> Store<Kind> for Shrunk<'_, Value, Shrink> {
    type Value = Value;

    fn shrink(&self, object: Kind) -> Option<Value> {
        (self.shrink)(object)
    }

    fn apply(&self, key: ObjectKey, value: Option<Value>) -> bool {
        let mut cache = lock(self.cache);
        let Some(value) = value else {
            return cache.remove(&key).is_some();
        };
        let differs = cache.get(&key).is_none_or(|known| known.differs(&value));
        cache.insert(key, value);
        differs
    }

    fn delete(&self, key: &ObjectKey) -> bool {
        lock(self.cache).remove(key).is_some()
    }

    fn replace(&self, namespace: &str, list: BTreeMap<ObjectKey, Value>) {
        let mut cache = lock(self.cache);
        cache.retain(|key, _| !namespace.is_empty() && key.namespace != namespace);
        cache.extend(list);
    }
}

/// The pods, of which more is remembered than those that exist.
struct SeenPods<'a> {
    caches: &'a Caches,
}

impl Store<WirePod> for SeenPods<'_> {
    type Value = Fact;

    fn shrink(&self, pod: WirePod) -> Option<Fact> {
        Some(pod.shrink())
    }

    fn apply(&self, key: ObjectKey, fact: Option<Fact>) -> bool {
        let remember = |target: &ObjectKey| self.caches.is_target(target);
        let changed = fact.and_then(|fact| self.caches.pods.apply(&key, fact, Instant::now(), remember));
        changed.is_some_and(|target| self.caches.is_target(&target))
    }

    fn delete(&self, key: &ObjectKey) -> bool {
        let remember = |target: &ObjectKey| self.caches.is_target(target);
        let changed = self.caches.pods.delete(key, Instant::now(), remember);
        changed.is_some_and(|target| self.caches.is_target(&target))
    }

    fn replace(&self, namespace: &str, list: BTreeMap<ObjectKey, Fact>) {
        let remember = |target: &ObjectKey| self.caches.is_target(target);
        self.caches.pods.replace(namespace, list, Instant::now(), remember);
    }
}
