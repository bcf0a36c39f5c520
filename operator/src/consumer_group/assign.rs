//! Who scales what: every valid group goes to the actor of its Redis, unless an older one or an autoscaler already has
//! its target or its work. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    gather::{SeenGroup, SeenTarget},
    identity::{EndpointKey, ObjectKey},
    validate::{Plan, validate},
};

/// A group that is to be sampled and scaled.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assignment {
    pub(super) subject: Subject,
    pub(super) plan: Plan,
    /// The target as last seen; `None` when it does not exist.
    pub(super) target: Option<SeenTarget>,
    /// Streams on which an earlier status says that the group exists.
    pub(super) streams_known: BTreeSet<String>,
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
    pub(super) idle: Vec<(Subject, Idle)>,
}

/// What already has an actor, by what two groups must not share.
#[derive(Default)]
struct Claims {
    targets: BTreeMap<ObjectKey, String>,
    work: BTreeMap<(EndpointAddress, String, String), String>,
}

/// Two secrets, one Redis: the same place all the same.
type EndpointAddress = (String, String, u16, u16);

/// Assigns every group. Groups that are going are left out: they end without a word.
pub(super) fn assign(
    groups: &BTreeMap<ObjectKey, SeenGroup>,
    target: impl Fn(&ObjectKey) -> Option<SeenTarget>,
    autoscaler: impl Fn(&ObjectKey) -> Option<String>,
) -> Assigned {
    let mut by_age: Vec<(&ObjectKey, &SeenGroup)> = groups.iter().filter(|(_, seen)| !seen.being_deleted).collect();
    by_age.sort_by_key(|(_, seen)| (seen.created, seen.uid.clone()));
    let mut assigned = Assigned::default();
    let mut claims = Claims::default();
    for (key, seen) in by_age {
        let subject = Subject {
            key: key.clone(),
            uid: seen.uid.clone(),
            generation: seen.generation,
            owner: seen.owner.clone(),
        };
        match plan(key, seen, &mut claims, &autoscaler) {
            Err(idle) => assigned.idle.push((subject, idle)),
            Ok(plan) => {
                let target = target(&ObjectKey::new(&key.namespace, &plan.target));
                let assignment = Assignment {
                    subject,
                    target,
                    streams_known: streams_known(seen),
                    plan,
                };
                let actor = assigned.actors.entry(assignment.plan.endpoint.clone()).or_default();
                actor.insert(key.clone(), assignment);
            }
        }
    }
    assigned
}

fn plan(
    key: &ObjectKey,
    seen: &SeenGroup,
    claims: &mut Claims,
    autoscaler: &impl Fn(&ObjectKey) -> Option<String>,
) -> Result<Plan, Idle> {
    let object = seen
        .object
        .as_ref()
        .map_err(|problem| Idle::Invalid(vec![problem.clone()]))?;
    let plan = validate(&key.namespace, &object.spec).map_err(Idle::Invalid)?;
    let target = ObjectKey::new(&key.namespace, &plan.target);
    if let Some(name) = autoscaler(&target) {
        return Err(Idle::Conflict(Rival::Autoscaler(name)));
    }
    if let Some(name) = claims.targets.get(&target) {
        return Err(Idle::Conflict(Rival::SameTarget(name.clone())));
    }
    let endpoint = &plan.endpoint;
    let address = (
        endpoint.namespace.clone(),
        endpoint.host.clone(),
        endpoint.port,
        endpoint.database,
    );
    let work = |stream: &String| (address.clone(), stream.clone(), plan.group.clone());
    if let Some(name) = plan.streams.iter().find_map(|stream| claims.work.get(&work(stream))) {
        return Err(Idle::Conflict(Rival::SameWork(name.clone())));
    }
    claims
        .work
        .extend(plan.streams.iter().map(|stream| (work(stream), key.name.clone())));
    claims.targets.insert(target, key.name.clone());
    Ok(plan)
}

fn streams_known(seen: &SeenGroup) -> BTreeSet<String> {
    let status = seen.object.as_ref().ok().and_then(|object| object.status.as_ref());
    status
        .map(|status| status.streams.iter().map(|stream| stream.key.clone()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shopwright_api::{ConsumerGroup, ConsumerGroupSpec};

    use super::{super::validate::tests::spec, *};

    fn group(name: &str, created: i64, change: impl FnOnce(&mut ConsumerGroupSpec)) -> (ObjectKey, SeenGroup) {
        let mut spec = spec();
        change(&mut spec);
        let seen = SeenGroup {
            uid: name.to_owned(),
            generation: Some(1),
            created,
            being_deleted: false,
            owner: None,
            object: Ok(Arc::new(ConsumerGroup::new(name, spec))),
        };
        (ObjectKey::new("shop", name), seen)
    }

    fn outcome(groups: impl IntoIterator<Item = (ObjectKey, SeenGroup)>) -> Assigned {
        assign(&groups.into_iter().collect(), |_| None, |_| None)
    }

    fn acting(assigned: &Assigned) -> Vec<&str> {
        assigned
            .actors
            .values()
            .flat_map(BTreeMap::keys)
            .map(|key| key.name.as_str())
            .collect()
    }

    fn rivals(assigned: &Assigned) -> Vec<(&str, &Idle)> {
        assigned
            .idle
            .iter()
            .map(|(subject, idle)| (subject.key.name.as_str(), idle))
            .collect()
    }

    #[test]
    fn of_two_with_one_target_the_oldest_acts() {
        let other_work = |spec: &mut ConsumerGroupSpec| spec.group = "others".to_owned();
        let assigned = outcome([group("a-younger", 20, |_| {}), group("older", 10, other_work)]);
        assert_eq!(acting(&assigned), ["older"]);
        let expected = Idle::Conflict(Rival::SameTarget("older".to_owned()));
        assert_eq!(rivals(&assigned), [("a-younger", &expected)]);
    }

    #[test]
    fn of_two_with_one_stream_and_group_the_oldest_acts_whatever_its_secret() {
        let other_target = |spec: &mut ConsumerGroupSpec| {
            spec.scale_target_ref.name = "other".to_owned();
            spec.redis.secret_ref = None;
        };
        let assigned = outcome([group("older", 10, |_| {}), group("younger", 20, other_target)]);
        assert_eq!(acting(&assigned), ["older"]);
        assert_eq!(
            rivals(&assigned),
            [("younger", &Idle::Conflict(Rival::SameWork("older".to_owned())))]
        );
    }

    #[test]
    fn the_loser_of_a_conflict_claims_nothing() {
        // The second loses to the first by its target; the third shares work with the second only, so it acts.
        let assigned = outcome([
            group("first", 10, |spec| spec.group = "one".to_owned()),
            group("second", 20, |spec| spec.group = "two".to_owned()),
            group("third", 30, |spec| {
                spec.group = "two".to_owned();
                spec.scale_target_ref.name = "other".to_owned();
            }),
        ]);
        assert_eq!(acting(&assigned), ["first", "third"]);
    }

    #[test]
    fn one_that_is_going_makes_room_and_says_nothing() {
        let (key, seen) = group("older", 10, |_| {});
        let going = SeenGroup {
            being_deleted: true,
            ..seen
        };
        let assigned = outcome([(key, going), group("younger", 20, |_| {})]);
        assert_eq!(acting(&assigned), ["younger"]);
        assert!(assigned.idle.is_empty());
    }

    #[test]
    fn an_autoscaler_on_the_target_wins_over_any_group() {
        let groups = [group("mine", 10, |_| {})].into_iter().collect();
        let assigned = assign(
            &groups,
            |_| None,
            |target| (target.name == "worker").then(|| "hpa".to_owned()),
        );
        assert_eq!(acting(&assigned), Vec::<&str>::new());
        assert_eq!(
            rivals(&assigned),
            [("mine", &Idle::Conflict(Rival::Autoscaler("hpa".to_owned())))]
        );
    }

    #[test]
    fn an_unreadable_or_invalid_object_is_the_users_to_fix_and_stops_nobody() {
        let (key, seen) = group("unreadable", 1, |_| {});
        let unreadable = SeenGroup {
            object: Err("missing field `group`".to_owned()),
            ..seen
        };
        let assigned = outcome([
            (key, unreadable),
            group("invalid", 2, |spec| spec.scaling.max_replicas = 0),
            group("valid", 3, |_| {}),
        ]);
        assert_eq!(acting(&assigned), ["valid"]);
        assert_eq!(assigned.idle.len(), 2);
    }

    #[test]
    fn each_redis_user_and_namespace_has_an_actor_of_its_own() {
        let other_target =
            |name: &'static str| move |spec: &mut ConsumerGroupSpec| spec.scale_target_ref.name = name.to_owned();
        let (mut elsewhere, seen) = group("elsewhere", 3, |_| {});
        elsewhere.namespace = "other".to_owned();
        let assigned = outcome([
            group("one", 1, |_| {}),
            group("two", 2, |spec| {
                other_target("b")(spec);
                spec.group = "two".to_owned();
            }),
            (elsewhere, seen),
            group("three", 4, |spec| {
                other_target("c")(spec);
                spec.redis.host = "another".to_owned();
            }),
        ]);
        assert_eq!(
            assigned
                .actors
                .values()
                .map(BTreeMap::len)
                .collect::<Vec<_>>()
                .iter()
                .sum::<usize>(),
            4
        );
        assert_eq!(assigned.actors.len(), 3);
    }
}
