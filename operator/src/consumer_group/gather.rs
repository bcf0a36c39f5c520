//! Every read this controller makes of the cluster, kept as small facts: `ConsumerGroup` objects, the replicas of
//! Deployments, the targets of `HorizontalPodAutoscaler`s. Reads by watch only; at rest that is no request at all.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{Stream, StreamExt as _};
use k8s_openapi::{
    api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, ResourceExt as _,
    core::{DeserializeGuard, NamespaceResourceScope, Resource},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use shopwright_api::{ConsumerGroup, Shop};
use tokio::sync::watch;
use tracing::warn;

use super::identity::ObjectKey;
use crate::{
    health::Health,
    metrics::{Controller, Metrics},
};

/// Names of the caches, for readiness.
pub const CACHES: [&str; 3] = ["consumergroups", "deployments", "autoscalers"];

/// A `ConsumerGroup` as it was last seen; `Err` says what is wrong with an object that this version cannot read.
#[derive(Clone, Debug)]
pub(super) struct SeenGroup {
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    /// Seconds since the epoch; the oldest of two rivals acts.
    pub(super) created: i64,
    pub(super) being_deleted: bool,
    /// Uid of the Shop that controls it.
    pub(super) owner: Option<String>,
    pub(super) object: Result<Arc<ConsumerGroup>, String>,
}

/// What scaling needs to know of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenTarget {
    pub(super) replicas: u32,
    pub(super) available: u32,
    /// Orders this against our own writes; `None` when the server's versions cannot be compared.
    pub(super) version: Option<u64>,
}

/// What an autoscaler scales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenAutoscaler {
    pub(super) deployment: String,
}

type Cache<Value> = Mutex<BTreeMap<ObjectKey, Value>>;

/// Everything known of the cluster.
#[derive(Debug)]
pub(super) struct Caches {
    groups: Cache<SeenGroup>,
    targets: Cache<SeenTarget>,
    autoscalers: Cache<SeenAutoscaler>,
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
    let [groups, targets, autoscalers] = CACHES;
    let synced = |name| {
        caches.complete.fetch_add(1, Ordering::AcqRel);
        health.synced(name);
    };
    tokio::join!(
        keep(
            watch_all::<DeserializeGuard<ConsumerGroup>>(client, namespaces),
            &caches.groups,
            |guard| Some(seen_group(guard)),
            || caches.changed(),
            || synced(groups),
            metrics,
        ),
        keep(
            watch_all::<Deployment>(client, namespaces),
            &caches.targets,
            |deployment| Some(seen_target(&deployment)),
            || caches.changed(),
            || synced(targets),
            metrics,
        ),
        keep(
            watch_all::<HorizontalPodAutoscaler>(client, namespaces),
            &caches.autoscalers,
            seen_autoscaler,
            || caches.changed(),
            || synced(autoscalers),
            metrics,
        ),
    );
}

type Source<Kind> = (
    String,
    futures::stream::BoxStream<'static, Result<Event<Kind>, watcher::Error>>,
);

/// One watch of the whole cluster, or one of each namespace.
fn watch_all<Kind>(client: &Client, namespaces: &[String]) -> Vec<Source<Kind>>
where
    Kind:
        Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let stream = |api: Api<Kind>| {
        // Shorter than the idle timeout of the load balancers that stand before API servers.
        let config = watcher::Config::default().timeout(200);
        watcher::watcher(api, config).default_backoff().boxed()
    };
    if namespaces.is_empty() {
        return vec![(String::new(), stream(Api::all(client.clone())))];
    }
    namespaces
        .iter()
        .map(|namespace| (namespace.clone(), stream(Api::namespaced(client.clone(), namespace))))
        .collect()
}

/// Keeps one cache like what its sources say. A source that starts again replaces what it had said before, at once and
/// only when its list is complete.
async fn keep<Kind, Value: Differs>(
    sources: Vec<Source<Kind>>,
    cache: &Cache<Value>,
    shrink: impl Fn(Kind) -> Option<Value>,
    changed: impl Fn(),
    synced: impl Fn(),
    metrics: &Metrics,
) where
    Kind: Resource<DynamicType = ()> + Send + 'static,
{
    let mut waiting: std::collections::BTreeSet<String> = sources.iter().map(|(scope, _)| scope.clone()).collect();
    let mut lists: BTreeMap<String, BTreeMap<ObjectKey, Value>> = BTreeMap::new();
    let streams = sources.into_iter().map(|(scope, stream)| labelled(scope, stream));
    let mut events = futures::stream::select_all(streams);
    while let Some((scope, event)) = events.next().await {
        match event {
            Ok(Event::Init) => {
                lists.insert(scope, BTreeMap::new());
            }
            Ok(Event::InitApply(object)) => {
                let key = key_of(&object);
                if let Some(value) = shrink(object) {
                    lists.entry(scope).or_default().insert(key, value);
                }
            }
            Ok(Event::InitDone) => {
                let list = lists.remove(&scope).unwrap_or_default();
                {
                    let mut cache = lock(cache);
                    cache.retain(|key, _| !scope.is_empty() && key.namespace != scope);
                    cache.extend(list);
                }
                if waiting.remove(&scope) && waiting.is_empty() {
                    synced();
                }
                changed();
            }
            Ok(Event::Apply(object)) => {
                let key = key_of(&object);
                let differs = match shrink(object) {
                    Some(value) => {
                        let mut cache = lock(cache);
                        let differs = cache.get(&key).is_none_or(|known| known.differs(&value));
                        cache.insert(key, value);
                        differs
                    }
                    None => lock(cache).remove(&key).is_some(),
                };
                if differs {
                    changed();
                }
            }
            Ok(Event::Delete(object)) => {
                if lock(cache).remove(&key_of(&object)).is_some() {
                    changed();
                }
            }
            Err(error) => {
                metrics.api_error(Controller::ConsumerGroup, 0);
                warn!(%error, kind = %Kind::kind(&()), "watch failed; it is started again");
            }
        }
    }
}

fn labelled<Item: 'static>(
    scope: String,
    stream: impl Stream<Item = Item> + Unpin + Send + 'static,
) -> impl Stream<Item = (String, Item)> + Unpin {
    stream.map(move |item| (scope.clone(), item))
}

fn key_of(object: &impl Resource<DynamicType = ()>) -> ObjectKey {
    ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// Whether a new value is worth waking anybody for.
trait Differs {
    fn differs(&self, other: &Self) -> bool;
}

impl Differs for SeenGroup {
    /// Our own status writes come back as changes; they concern nobody.
    fn differs(&self, other: &Self) -> bool {
        (&self.uid, self.generation, self.being_deleted, &self.owner)
            != (&other.uid, other.generation, other.being_deleted, &other.owner)
    }
}

impl Differs for SeenTarget {
    fn differs(&self, other: &Self) -> bool {
        (self.replicas, self.available) != (other.replicas, other.available)
    }
}

impl Differs for SeenAutoscaler {
    fn differs(&self, other: &Self) -> bool {
        self != other
    }
}

fn seen_group(guard: DeserializeGuard<ConsumerGroup>) -> SeenGroup {
    let (metadata, object) = match guard.0 {
        Ok(mut group) => {
            group.metadata.managed_fields = None;
            (group.metadata.clone(), Ok(Arc::new(group)))
        }
        Err(invalid) => (invalid.metadata, Err(invalid.error)),
    };
    let owners = metadata.owner_references.unwrap_or_default();
    SeenGroup {
        uid: metadata.uid.unwrap_or_default(),
        generation: metadata.generation,
        created: metadata.creation_timestamp.map_or(i64::MAX, |time| time.0.as_second()),
        being_deleted: metadata.deletion_timestamp.is_some(),
        owner: owners
            .into_iter()
            // Only of Shops is it known whether they are going; any other owner's group would look like an orphan.
            .find(|owner| owner.controller == Some(true) && is_shop(owner))
            .map(|owner| owner.uid),
        object,
    }
}

/// Whether the owner is a Shop of ours, of whatever version: other groups may have a kind of that name.
fn is_shop(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    owner.kind == Shop::kind(&()) && group == Some(Shop::group(&()).as_ref())
}

fn seen_target(deployment: &Deployment) -> SeenTarget {
    let count = |replicas: Option<i32>| replicas.and_then(|count| u32::try_from(count).ok());
    SeenTarget {
        replicas: count(deployment.spec.replicas).unwrap_or(1),
        available: count(deployment.status.as_ref().and_then(|status| status.available_replicas)).unwrap_or(0),
        version: deployment
            .metadata
            .resource_version
            .as_deref()
            .and_then(|version| version.parse().ok()),
    }
}

fn seen_autoscaler(autoscaler: HorizontalPodAutoscaler) -> Option<SeenAutoscaler> {
    let target = autoscaler.spec.scale_target_ref;
    let is_deployment = target.kind == "Deployment"
        && target
            .api_version
            .as_deref()
            .is_none_or(|version| version.starts_with("apps/"));
    is_deployment.then_some(SeenAutoscaler {
        deployment: target.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shop_of_ours_is_an_owner_that_may_be_going() {
        let owner = |api_version: &str, kind: &str| OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            ..OwnerReference::default()
        };
        assert!(is_shop(&owner(&Shop::api_version(&()), "Shop")));
        assert!(is_shop(&owner("shopwright.dev/v9", "Shop")));
        assert!(!is_shop(&owner("retail.example.com/v1", "Shop")));
        assert!(!is_shop(&owner("v1", "Shop")));
        assert!(!is_shop(&owner("shopwright.dev/v1", "ConsumerGroup")));
    }
}
