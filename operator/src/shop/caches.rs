//! What the API server told us of children, kept up to date by watches that are scoped by label. Reads nothing by itself.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DynamicObject,
    runtime::{
        WatchStreamExt,
        reflector::{Store, store::Writer},
        watcher::{self, watcher},
    },
};
use shopwright_api::{condition, names};

use super::{
    changes::changes,
    hash::{self, fingerprint},
    kinds::Kind,
};

/// Where a controller looks: one namespace, or all of them.
pub type Scope = Option<String>;

/// Seconds after which a watch is renewed: below the idle limits of load balancers.
const WATCH_SECONDS: u32 = 200;

/// The children in scope, by kind.
pub struct Caches(HashMap<Kind, Store<DynamicObject>>);

/// Objects of one kind that are worth a reconcile.
pub type Changes = std::pin::Pin<Box<dyn Stream<Item = Result<DynamicObject, watcher::Error>> + Send>>;

/// Empty caches, and the streams that fill them while they are polled.
pub fn open(client: &Client, scope: &Scope) -> (Caches, Vec<(Kind, Changes)>) {
    let mut stores = HashMap::new();
    let mut streams = Vec::new();
    for kind in Kind::ALL {
        let resource = kind.resource();
        let api: Api<DynamicObject> = match scope {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let writer = Writer::new(resource);
        stores.insert(kind, writer.as_reader());
        let events = watcher(api, watch_config().labels(&names::managed_selector()))
            .default_backoff()
            .modify(move |object| {
                if !kind.keeps_managed_fields() {
                    object.metadata.managed_fields = None;
                }
            })
            .reflect(writer);
        streams.push((kind, changes(events, move |object| relevance(kind, object)).boxed()));
    }
    (Caches(stores), streams)
}

/// How everything here is watched.
pub fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// Of a ConsumerGroup only its spec and conditions matter: its figures move all the time.
fn relevance(kind: Kind, object: &DynamicObject) -> u64 {
    let mut hasher = DefaultHasher::new();
    if kind == Kind::ConsumerGroup {
        fingerprint(object, false).hash(&mut hasher);
        let conditions = object.data.pointer("/status/conditions").cloned().unwrap_or_default();
        let conditions: Vec<Condition> = serde_json::from_value(conditions).unwrap_or_default();
        condition::essence(&conditions).hash(&mut hasher);
    } else {
        object.metadata.resource_version.hash(&mut hasher);
        hash::of(&object.data).hash(&mut hasher);
    }
    hasher.finish()
}

/// The name of the Shop that an object belongs to.
pub fn shop_of(object: &DynamicObject) -> Option<String> {
    let owner = object
        .owner_references()
        .iter()
        .find(|owner| owner.kind == "Shop" && owner.controller == Some(true));
    owner
        .map(|owner| owner.name.clone())
        .or_else(|| object.labels().get(names::LABEL_INSTANCE).cloned())
}

impl Caches {
    /// Everything that carries this shop's name, by kind and name.
    pub fn of_shop(&self, namespace: &str, shop: &str) -> BTreeMap<(Kind, String), Arc<DynamicObject>> {
        let mut found = BTreeMap::new();
        for (kind, store) in &self.0 {
            for object in store.state_filter(|object| object.meta().namespace.as_deref() == Some(namespace)) {
                if shop_of(&object).as_deref() == Some(shop) {
                    found.insert((*kind, object.name_any()), object);
                }
            }
        }
        found
    }

    /// Returns when every kind has been listed once. False when the watches have ended before.
    pub async fn filled(&self) -> bool {
        for store in self.0.values() {
            if store.wait_until_ready().await.is_err() {
                return false;
            }
        }
        true
    }
}

/// The longest that one request to the API server may take; the client's own retries would hold a reconcile for minutes.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
