//! Who scales what: every valid group goes to the actor of its Redis, unless an older one or an autoscaler already has
//! its target or its work. Pure.

mod memory;
#[cfg(test)]
mod tests;
mod trims;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::trims::Declarations;
pub(super) use self::{memory::Memory, trims::Trim};
use super::{
    gather::{SeenGroup, SeenTarget},
    identity::{EndpointKey, ObjectKey},
    pods::TargetPods,
    validate::Plan,
};

/// A group that is to be sampled and scaled.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assignment {
    pub(super) subject: Subject,
    pub(super) plan: Arc<Plan>,
    /// Grows whenever the group changes hands, so that whoever had it before does not have the last word.
    pub(super) round: u64,
    /// The target as last seen; `None` when it does not exist.
    pub(super) target: Option<SeenTarget>,
    /// Streams on which an earlier status says that the group exists.
    pub(super) streams_known: BTreeSet<String>,
    /// The target's pods.
    pub(super) pods: Arc<TargetPods>,
    /// The streams that are trimmed on behalf of this group. Of all groups of a stream one has it.
    pub(super) trims: Vec<Trim>,
}

/// The object that status and Events speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) key: ObjectKey,
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    /// Uid of the controlling owner.
    pub(super) owner: Option<String>,
}

/// Why a group is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// The spec breaks these rules.
    Invalid(Vec<String>),
    /// Something else scales it.
    Conflict(Rival),
}

/// What has a group's target or work already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rival {
    /// An older `ConsumerGroup` with the same target.
    SameTarget(String),
    /// An older `ConsumerGroup` with the same stream and group.
    SameWork(String),
    /// A `HorizontalPodAutoscaler` on the target.
    Autoscaler(String),
}

/// What one actor serves.
pub(super) type Assignments = BTreeMap<ObjectKey, Assignment>;

/// The outcome for all groups.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Assigned {
    pub(super) actors: BTreeMap<EndpointKey, Assignments>,
    /// Those that are left alone, why, and in which round.
    pub(super) idle: Vec<(Subject, Idle, u64)>,
}

/// What already has an actor, by what two groups must not share.
#[derive(Default)]
struct Claims {
    targets: BTreeMap<ObjectKey, String>,
    work: BTreeMap<(EndpointAddress, String, String), String>,
}

/// Two secrets, one Redis: the same place all the same.
type EndpointAddress = (String, String, u16, u16);

fn address(endpoint: &EndpointKey) -> EndpointAddress {
    let EndpointKey {
        namespace,
        host,
        port,
        database,
        ..
    } = endpoint;
    (namespace.clone(), host.clone(), *port, *database)
}

/// Assigns every group. Groups that are going are left out: they end without a word.
pub(super) fn assign(
    groups: &BTreeMap<ObjectKey, SeenGroup>,
    memory: &mut Memory,
    target: impl Fn(&ObjectKey) -> Option<SeenTarget>,
    autoscaler: impl Fn(&ObjectKey) -> Option<String>,
    pods: impl Fn(&ObjectKey) -> Arc<TargetPods>,
) -> Assigned {
    let mut by_age: Vec<(&ObjectKey, &SeenGroup)> = groups.iter().filter(|(_, seen)| !seen.being_deleted).collect();
    by_age.sort_by(|(_, one), (_, other)| (one.created, &one.uid).cmp(&(other.created, &other.uid)));
    {
        let uids: BTreeSet<&str> = by_age.iter().map(|(_, seen)| seen.uid.as_str()).collect();
        memory.keep(|uid| uids.contains(uid));
    }
    let plans: Vec<_> = by_age
        .into_iter()
        .map(|(key, seen)| (key, seen, memory.plan(key, seen)))
        .collect();
    let declared = plans
        .iter()
        .filter_map(|(key, _, plan)| Some((*key, &**plan.as_ref().ok()?)));
    let declarations = Declarations::of(declared);
    let mut assigned = Assigned::default();
    let mut claims = Claims::default();
    let mut trimmed = BTreeSet::new();
    for (key, seen, plan) in plans {
        let subject = Subject {
            key: key.clone(),
            uid: seen.uid.clone(),
            generation: seen.generation,
            owner: seen.owner.clone(),
        };
        match plan.and_then(|plan| claims.take(key, plan, &autoscaler)) {
            Err(idle) => {
                let round = memory.round(&subject.uid, None);
                assigned.idle.push((subject, idle, round));
            }
            Ok(plan) => {
                let target_key = ObjectKey::new(&key.namespace, &plan.target);
                let assignment = Assignment {
                    round: memory.round(&subject.uid, Some(&plan.endpoint)),
                    subject,
                    target: target(&target_key),
                    streams_known: streams_known(seen),
                    pods: pods(&target_key),
                    trims: declarations.trims(&plan, &mut trimmed),
                    plan,
                };
                let actor = assigned.actors.entry(assignment.plan.endpoint.clone()).or_default();
                actor.insert(key.clone(), assignment);
            }
        }
    }
    assigned
}

impl Claims {
    /// The plan may be carried out, unless somebody was first.
    fn take(
        &mut self,
        key: &ObjectKey,
        plan: Arc<Plan>,
        autoscaler: &impl Fn(&ObjectKey) -> Option<String>,
    ) -> Result<Arc<Plan>, Idle> {
        let target = ObjectKey::new(&key.namespace, &plan.target);
        // A paused one only looks: so it can be compared with the autoscaler that it is to replace.
        if !plan.policy.is_paused()
            && let Some(name) = autoscaler(&target)
        {
            return Err(Idle::Conflict(Rival::Autoscaler(name)));
        }
        if let Some(name) = self.targets.get(&target) {
            return Err(Idle::Conflict(Rival::SameTarget(name.clone())));
        }
        let address = address(&plan.endpoint);
        let work = |stream: &String| (address.clone(), stream.clone(), plan.group.clone());
        if let Some(name) = plan.streams.iter().find_map(|stream| self.work.get(&work(stream))) {
            return Err(Idle::Conflict(Rival::SameWork(name.clone())));
        }
        self.work
            .extend(plan.streams.iter().map(|stream| (work(stream), key.name.clone())));
        self.targets.insert(target, key.name.clone());
        Ok(plan)
    }
}

fn streams_known(seen: &SeenGroup) -> BTreeSet<String> {
    let status = seen.object.as_ref().ok().and_then(|object| object.status.as_ref());
    status
        .map(|status| status.streams.iter().map(|stream| stream.key.clone()).collect())
        .unwrap_or_default()
}
