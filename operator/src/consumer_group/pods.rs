//! The pods of each Deployment as small facts: who is there, and whose name was seen and is gone. Fed by the watch; no I/O.
//!
//! Whose entries may be touched hangs on this: a name counts as dead only if this process saw it as a pod of the target
//! and saw it end. Names that went while nobody watched are not known and stay untouched.

mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub(super) use self::wire::{DELETION_COST, WirePod};
use super::identity::ObjectKey;

/// Most names of gone pods remembered for one Deployment; the oldest make room.
const GONE_KEPT: usize = 1_000;

/// How long such a name is remembered.
const GONE_FOR: Duration = Duration::from_hours(48);

/// A pod that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenPod {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) ready: bool,
    /// It was asked to end.
    pub(super) terminating: bool,
    /// It still belongs to the Deployment. People release pods to look into them: such a pod lives and works on.
    pub(super) owned: bool,
    /// Seconds since the epoch.
    pub(super) created: i64,
    /// What its annotation says; 0 without one.
    pub(super) deletion_cost: i32,
}

/// A pod that was seen and has ended: its object was deleted, or its containers ended for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GonePod {
    pub(super) name: String,
    /// When that was noticed.
    pub(super) since: Instant,
    /// It had been asked to end, as far as is known. One that was not may have failed by what it had in hand.
    pub(super) asked: bool,
}

/// Everything known of one Deployment's pods. Both lists are sorted by name and have no name in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TargetPods {
    pub(super) live: Vec<SeenPod>,
    pub(super) gone: Vec<GonePod>,
}

impl TargetPods {
    /// The pod of this name, if it exists.
    pub(super) fn live(&self, name: &str) -> Option<&SeenPod> {
        let found = self.live.binary_search_by(|pod| pod.name.as_str().cmp(name));
        found.ok().and_then(|index| self.live.get(index))
    }

    /// Whether a pod of this name was seen and has ended.
    pub(super) fn is_gone(&self, name: &str) -> bool {
        self.gone.binary_search_by(|pod| pod.name.as_str().cmp(name)).is_ok()
    }

    /// Whether a pod of this name was ever seen.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.is_gone(name) || self.live(name).is_some()
    }

    /// Whether more or other pods are ready, or more have gone, than in `before`: worth a sample at once.
    pub(super) fn is_news(&self, before: &Self) -> bool {
        fn ready(pods: &TargetPods) -> impl Iterator<Item = &str> {
            pods.live.iter().filter(|pod| pod.ready).map(|pod| pod.name.as_str())
        }
        self.gone != before.gone || !ready(self).eq(ready(before))
    }
}

/// What one object of the watch says.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    /// The Deployment it belongs to.
    pub(super) target: Option<String>,
    pub(super) pod: SeenPod,
    /// Its containers have ended for good.
    pub(super) finished: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    since: Instant,
    asked: bool,
}

#[derive(Debug, Default)]
struct Target {
    live: BTreeMap<String, SeenPod>,
    gone: BTreeMap<String, Ended>,
    /// Made when asked for, dropped on change.
    snapshot: Option<Arc<TargetPods>>,
}

#[derive(Debug, Default)]
struct Known {
    targets: BTreeMap<ObjectKey, Target>,
    /// Name of the Deployment of each pod that is remembered, gone ones included.
    target_of: BTreeMap<ObjectKey, String>,
}

/// The pods of every Deployment.
#[derive(Debug, Default)]
pub(super) struct Pods {
    known: Mutex<Known>,
}

impl Pods {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the pods of this Deployment.
    pub(super) fn of(&self, target: &ObjectKey) -> Arc<TargetPods> {
        self.lock()
            .targets
            .get_mut(target)
            .map(Target::snapshot)
            .unwrap_or_default()
    }

    /// Takes in one object. Answers the Deployment, if anything changed for it. `remember` says whether the names of its
    /// pods are worth remembering once they are gone.
    pub(super) fn apply(
        &self,
        key: &ObjectKey,
        fact: Fact,
        now: Instant,
        remember: impl Fn(&ObjectKey) -> bool,
    ) -> Option<ObjectKey> {
        self.lock().apply(key, fact, now, &remember)
    }

    /// The object is gone. Answers the Deployment, if anything changed for it.
    pub(super) fn delete(
        &self,
        key: &ObjectKey,
        now: Instant,
        remember: impl Fn(&ObjectKey) -> bool,
    ) -> Option<ObjectKey> {
        self.lock().delete(key, now, false, &remember)
    }

    /// These are all the pods of the namespace, or of all with an empty one: those missing went while nobody looked.
    pub(super) fn replace(
        &self,
        namespace: &str,
        list: BTreeMap<ObjectKey, Fact>,
        now: Instant,
        remember: impl Fn(&ObjectKey) -> bool,
    ) -> BTreeSet<ObjectKey> {
        let mut known = self.lock();
        let within = |key: &ObjectKey| namespace.is_empty() || key.namespace == namespace;
        let missing: Vec<ObjectKey> = known
            .target_of
            .keys()
            .filter(|key| within(key) && !list.contains_key(*key))
            .cloned()
            .collect();
        let mut changed: BTreeSet<ObjectKey> = missing
            .iter()
            .filter_map(|key| known.delete(key, now, true, &remember))
            .collect();
        changed.extend(
            list.into_iter()
                .filter_map(|(key, fact)| known.apply(&key, fact, now, &remember)),
        );
        changed
    }
}

impl Known {
    fn apply(
        &mut self,
        key: &ObjectKey,
        fact: Fact,
        now: Instant,
        remember: &impl Fn(&ObjectKey) -> bool,
    ) -> Option<ObjectKey> {
        let before = self.target_of.get(key);
        // A pod that nobody owns any more, or that has a gone one's name, lives: its name must not pass for dead.
        let name = fact.target.as_ref().or(before)?.clone();
        if before.is_some_and(|before| *before != name) {
            self.forget(key);
        }
        let target = ObjectKey::new(&key.namespace, &name);
        if fact.finished {
            // Its object may come back into view any number of times.
            self.target_of.entry(key.clone()).or_insert(name);
            self.targets
                .entry(target)
                .or_default()
                .live
                .insert(key.name.clone(), fact.pod);
            return self.delete(key, now, false, remember);
        }
        self.target_of.insert(key.clone(), name);
        let pods = self.targets.entry(target.clone()).or_default();
        let returned = pods.gone.remove(&key.name).is_some();
        let differs = returned || pods.live.get(&key.name) != Some(&fact.pod);
        if differs {
            pods.live.insert(key.name.clone(), fact.pod);
            pods.snapshot = None;
        }
        differs.then_some(target)
    }

    /// The pod has ended. `unseen`: while nobody looked, so that nobody can tell how; it is not held against its entries.
    fn delete(
        &mut self,
        key: &ObjectKey,
        now: Instant,
        unseen: bool,
        remember: &impl Fn(&ObjectKey) -> bool,
    ) -> Option<ObjectKey> {
        let target = ObjectKey::new(&key.namespace, self.target_of.get(key)?);
        let pods = self.targets.get_mut(&target)?;
        let last = pods.live.remove(&key.name)?;
        pods.snapshot = None;
        if pods.gone.contains_key(&key.name) {
            return None;
        }
        if remember(&target) {
            let ended = Ended {
                since: now,
                asked: last.terminating || unseen,
            };
            pods.gone.insert(key.name.clone(), ended);
            for name in pods.outdated(now) {
                pods.gone.remove(&name);
                self.target_of.remove(&ObjectKey::new(&key.namespace, name));
            }
        } else {
            self.target_of.remove(key);
            if pods.live.is_empty() && pods.gone.is_empty() {
                self.targets.remove(&target);
            }
        }
        Some(target)
    }

    /// Drops a name without calling it gone.
    fn forget(&mut self, key: &ObjectKey) {
        let Some(name) = self.target_of.remove(key) else { return };
        let target = ObjectKey::new(&key.namespace, name);
        if let Some(pods) = self.targets.get_mut(&target) {
            pods.live.remove(&key.name);
            pods.gone.remove(&key.name);
            pods.snapshot = None;
        }
    }
}

impl Target {
    fn snapshot(&mut self) -> Arc<TargetPods> {
        let Self { live, gone, snapshot } = self;
        let made = snapshot.get_or_insert_with(|| {
            let gone = gone.iter().map(|(name, ended)| GonePod {
                name: name.clone(),
                since: ended.since,
                asked: ended.asked,
            });
            Arc::new(TargetPods {
                live: live.values().cloned().collect(),
                gone: gone.collect(),
            })
        });
        Arc::clone(made)
    }

    /// Names of gone pods that need not be remembered any longer.
    fn outdated(&self, now: Instant) -> Vec<String> {
        let is_old = |ended: &Ended| now.saturating_duration_since(ended.since) > GONE_FOR;
        let (old, young): (Vec<_>, Vec<_>) = self.gone.iter().partition(|(_, ended)| is_old(ended));
        let mut names: Vec<String> = old.into_iter().map(|(name, _)| name.clone()).collect();
        if young.len() > GONE_KEPT
            && let Some((oldest, _)) = young.iter().min_by_key(|(_, ended)| ended.since)
        {
            names.push((*oldest).clone());
        }
        names
    }
}

#[cfg(test)]
mod tests;
