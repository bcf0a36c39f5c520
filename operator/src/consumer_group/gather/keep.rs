//! Watches that start again when they break, and that keep a store like what they say. Reads only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use futures::{Stream, StreamExt as _};
use kube::{
    Api, Client, ResourceExt as _,
    core::{NamespaceResourceScope, Resource},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::super::identity::ObjectKey;
use crate::metrics::{Controller, Metrics};

/// What is kept of the objects of a kind.
pub(super) trait Store<Kind> {
    /// What is kept of one.
    type Value;

    /// Takes what is kept out of the object, at once; `None` when nothing is.
    fn shrink(&self, object: Kind) -> Option<Self::Value>;

    /// The object is as this value says. True when that is worth waking anybody for.
    fn apply(&self, key: ObjectKey, value: Option<Self::Value>) -> bool;

    /// The object is gone. True when that is worth waking anybody for.
    fn delete(&self, key: &ObjectKey) -> bool;

    /// These are all there are in the namespace, or anywhere with an empty one.
    fn replace(&self, namespace: &str, list: BTreeMap<ObjectKey, Self::Value>);
}

/// A namespace, or an empty name for all, and its watch.
pub(super) type Source<Kind> = (
    String,
    futures::stream::BoxStream<'static, Result<Event<Kind>, watcher::Error>>,
);

/// One watch of the whole cluster, or one of each namespace.
pub(super) fn watch_all<Kind>(client: &Client, namespaces: &[String]) -> Vec<Source<Kind>>
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

/// Keeps a store like what its sources say. A source that starts again replaces what it had said before, at once and only
/// when its list is complete.
pub(super) async fn keep<Kind, Kept>(
    sources: Vec<Source<Kind>>,
    store: &Kept,
    changed: impl Fn(),
    synced: impl Fn(),
    metrics: &Metrics,
) where
    Kind: Resource<DynamicType = ()> + Send + 'static,
    Kept: Store<Kind>,
{
    let mut waiting: BTreeSet<String> = sources.iter().map(|(scope, _)| scope.clone()).collect();
    let mut lists: BTreeMap<String, BTreeMap<ObjectKey, Kept::Value>> = BTreeMap::new();
    let streams = sources.into_iter().map(|(scope, stream)| labelled(scope, stream));
    let mut events = futures::stream::select_all(streams);
    while let Some((scope, event)) = events.next().await {
        match event {
            Ok(Event::Init) => {
                lists.insert(scope, BTreeMap::new());
            }
            Ok(Event::InitApply(object)) => {
                let key = key_of(&object);
                if let Some(value) = store.shrink(object) {
                    lists.entry(scope).or_default().insert(key, value);
                }
            }
            Ok(Event::InitDone) => {
                store.replace(&scope, lists.remove(&scope).unwrap_or_default());
                if waiting.remove(&scope) && waiting.is_empty() {
                    synced();
                }
                changed();
            }
            Ok(Event::Apply(object)) => {
                let key = key_of(&object);
                if store.apply(key, store.shrink(object)) {
                    changed();
                }
            }
            Ok(Event::Delete(object)) => {
                if store.delete(&key_of(&object)) {
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
