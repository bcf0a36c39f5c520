//! Turns watch events into the objects that are worth a reconcile. Pure but for the stream it sits on.
//!
//! Two things go wrong without it: a predicate on content hides deletions, because a deleted object looks like its last
//! version; and an object deleted while the watch was down is never mentioned again.

use std::collections::{HashMap, hash_map::Entry};

use futures::{Stream, StreamExt, stream};
use kube::{
    ResourceExt,
    core::DynamicObject,
    runtime::watcher::{self, Event},
};

/// What is remembered of an object that was seen.
struct Seen {
    relevance: u64,
    /// Listed since the last `Init`.
    listed: bool,
    /// Enough of it to find its owner when it has gone unseen.
    remains: DynamicObject,
}

/// Which objects were seen, and in which state.
pub struct Changes<F> {
    relevance: F,
    seen: HashMap<(Option<String>, String), Seen>,
}

impl<F: Fn(&DynamicObject) -> u64> Changes<F> {
    /// Two versions of an object that have the same `relevance` count as one.
    pub fn new(relevance: F) -> Self {
        Self {
            relevance,
            seen: HashMap::new(),
        }
    }

    /// The objects that this event makes worth a reconcile.
    pub fn take(&mut self, event: Event<DynamicObject>) -> Vec<DynamicObject> {
        match event {
            Event::Init => {
                self.seen.values_mut().for_each(|seen| seen.listed = false);
                Vec::new()
            }
            Event::Apply(object) | Event::InitApply(object) => self.applied(object).into_iter().collect(),
            Event::Delete(object) => {
                self.seen.remove(&key(&object));
                vec![object]
            }
            Event::InitDone => {
                let gone: Vec<_> = self
                    .seen
                    .iter()
                    .filter(|(_, seen)| !seen.listed)
                    .map(|(key, _)| key.clone())
                    .collect();
                gone.iter()
                    .filter_map(|key| self.seen.remove(key))
                    .map(|seen| seen.remains)
                    .collect()
            }
        }
    }

    fn applied(&mut self, object: DynamicObject) -> Option<DynamicObject> {
        let relevance = (self.relevance)(&object);
        match self.seen.entry(key(&object)) {
            Entry::Occupied(mut entry) => {
                let seen = entry.get_mut();
                seen.listed = true;
                let changed = seen.relevance != relevance;
                seen.relevance = relevance;
                changed.then_some(object)
            }
            Entry::Vacant(entry) => {
                entry.insert(Seen {
                    relevance,
                    listed: true,
                    remains: remains(&object),
                });
                Some(object)
            }
        }
    }
}

fn key(object: &DynamicObject) -> (Option<String>, String) {
    (object.namespace(), object.name_any())
}

fn remains(object: &DynamicObject) -> DynamicObject {
    let mut remains = DynamicObject {
        types: object.types.clone(),
        metadata: kube::core::ObjectMeta::default(),
        data: serde_json::Value::Null,
    };
    remains.metadata.name.clone_from(&object.metadata.name);
    remains.metadata.namespace.clone_from(&object.metadata.namespace);
    remains
        .metadata
        .owner_references
        .clone_from(&object.metadata.owner_references);
    remains
}

/// The objects worth a reconcile, as a stream.
pub fn changes(
    events: impl Stream<Item = Result<Event<DynamicObject>, watcher::Error>> + Send + 'static,
    relevance: impl Fn(&DynamicObject) -> u64 + Send + 'static,
) -> impl Stream<Item = Result<DynamicObject, watcher::Error>> + Send + 'static {
    let mut changes = Changes::new(relevance);
    events.flat_map(move |event| {
        stream::iter(match event {
            Ok(event) => changes.take(event).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::kinds::Kind;

    fn object(name: &str, version: &str) -> DynamicObject {
        let mut object = DynamicObject::new(name, &Kind::Service.resource()).within("shops");
        object.metadata.resource_version = Some(version.into());
        object.metadata.owner_references = Some(vec![k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
            name: "demo".into(),
            ..Default::default()
        }]);
        object
    }

    fn changes() -> Changes<impl Fn(&DynamicObject) -> u64> {
        Changes::new(|object: &DynamicObject| object.resource_version().and_then(|it| it.parse().ok()).unwrap_or(0))
    }

    #[test]
    fn the_same_version_twice_is_one_change() {
        let mut changes = changes();
        assert_eq!(changes.take(Event::Apply(object("a", "1"))).len(), 1);
        assert_eq!(changes.take(Event::Apply(object("a", "1"))).len(), 0);
        assert_eq!(changes.take(Event::Apply(object("a", "2"))).len(), 1);
    }

    #[test]
    fn a_deletion_always_passes() {
        let mut changes = changes();
        changes.take(Event::Apply(object("a", "1")));
        assert_eq!(changes.take(Event::Delete(object("a", "1"))).len(), 1);
        assert_eq!(changes.take(Event::Apply(object("a", "1"))).len(), 1, "made again");
    }

    #[test]
    fn what_vanished_while_the_watch_was_down_is_told() {
        let mut changes = changes();
        changes.take(Event::Init);
        changes.take(Event::InitApply(object("a", "1")));
        changes.take(Event::InitApply(object("b", "1")));
        assert!(changes.take(Event::InitDone).is_empty());
        changes.take(Event::Init);
        assert!(changes.take(Event::InitApply(object("a", "1"))).is_empty());
        let gone = changes.take(Event::InitDone);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].name_any(), "b");
        assert_eq!(gone[0].owner_references()[0].name, "demo", "its owner can be found");
    }
}
