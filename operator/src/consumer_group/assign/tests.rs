//! Who gets what, who is told what, and how soon.

use std::time::Duration;

use shopwright_api::{ConsumerGroup, ConsumerGroupSpec, Retention};

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
    assign(
        &groups.into_iter().collect(),
        &mut Memory::default(),
        |_| None,
        |_| None,
        |_| Arc::default(),
    )
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
        .map(|(subject, idle, _)| (subject.key.name.as_str(), idle))
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
        &mut Memory::default(),
        |_| None,
        |target| (target.name == "worker").then(|| "hpa".to_owned()),
        |_| Arc::default(),
    );
    assert_eq!(acting(&assigned), Vec::<&str>::new());
    assert_eq!(
        rivals(&assigned),
        [("mine", &Idle::Conflict(Rival::Autoscaler("hpa".to_owned())))]
    );
}

#[test]
fn a_paused_group_looks_on_beside_the_autoscaler_that_it_is_to_replace() {
    let groups = [group("mine", 10, |spec| spec.scaling.paused = true)];
    let assigned = assign(
        &groups.into_iter().collect(),
        &mut Memory::default(),
        |_| None,
        |_| Some("keda-hpa-mine".to_owned()),
        |_| Arc::default(),
    );
    assert_eq!(acting(&assigned), ["mine"]);
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

#[test]
fn a_group_that_changes_hands_starts_a_new_round_and_an_unchanged_spec_is_not_looked_at_again() {
    let mut memory = Memory::default();
    let mut round = |change: fn(&mut ConsumerGroupSpec), generation: i64| {
        let (key, mut seen) = group("one", 1, change);
        seen.generation = Some(generation);
        let groups = [(key, seen)].into_iter().collect();
        let assigned = assign(&groups, &mut memory, |_| None, |_| None, |_| Arc::default());
        let acting = assigned.actors.values().flat_map(BTreeMap::values).map(|one| one.round);
        let idle = assigned.idle.iter().map(|(_, _, round)| *round);
        acting.chain(idle).next().expect("one group")
    };
    let nothing = |_: &mut ConsumerGroupSpec| {};
    let invalid = |spec: &mut ConsumerGroupSpec| spec.scaling.max_replicas = 0;
    assert_eq!([round(nothing, 1), round(nothing, 2)], [1, 1]);
    assert_eq!(round(invalid, 2), 1, "of generation 2 it is known that it is valid");
    assert_eq!([round(invalid, 3), round(invalid, 4), round(nothing, 5)], [2, 2, 3]);
    assert_eq!(round(|spec| spec.redis.host = "elsewhere".to_owned(), 6), 4);
}

#[test]
fn a_thousand_groups_are_assigned_again_in_milliseconds() {
    let groups: BTreeMap<_, _> = (0..1_000)
        .map(|number| {
            let name = format!("group-{number}");
            group(&name.clone(), number, |spec| {
                spec.group.clone_from(&name);
                spec.scale_target_ref.name.clone_from(&name);
                spec.streams[0].key.clone_from(&name);
            })
        })
        .collect();
    let mut memory = Memory::default();
    let mut once = || {
        let began = std::time::Instant::now();
        let assigned = assign(&groups, &mut memory, |_| None, |_| None, |_| Arc::default());
        assert_eq!(acting(&assigned).len(), 1_000);
        began.elapsed()
    };
    let first = once();
    let again = (0..5).map(|_| once()).min().unwrap_or_default();
    println!("1,000 groups assigned in {first:?}, again in {again:?}");
    assert!(again < Duration::from_millis(500), "{again:?}");
}

fn with_retention(seconds: Option<u32>) -> impl FnOnce(&mut ConsumerGroupSpec) {
    move |spec| spec.retention = seconds.map(|seconds| Retention { seconds })
}

fn named(name: &'static str, created: i64, seconds: Option<u32>) -> (ObjectKey, SeenGroup) {
    group(name, created, |spec| {
        name.clone_into(&mut spec.group);
        name.clone_into(&mut spec.scale_target_ref.name);
        with_retention(seconds)(spec);
    })
}

fn trims(assigned: &Assigned) -> Vec<(&str, &Trim)> {
    let assignments = assigned.actors.values().flat_map(BTreeMap::values);
    assignments
        .flat_map(|one| one.trims.iter().map(|trim| (one.subject.key.name.as_str(), trim)))
        .collect()
}

#[test]
fn one_group_of_a_stream_trims_it_for_all_with_the_longest_retention() {
    let assigned = outcome([
        named("older", 1, Some(60)),
        named("younger", 2, Some(7_200)),
        group("rival", 3, |spec| {
            "older".clone_into(&mut spec.group);
            with_retention(Some(9_000))(spec);
        }),
    ]);
    let trim = Trim {
        stream: "orders".to_owned(),
        declared: ["older".to_owned(), "younger".to_owned()].into(),
        retention: Duration::from_secs(9_000),
        without_retention: None,
    };
    assert_eq!(trims(&assigned), [("older", &trim)]);
}

#[test]
fn a_stream_is_trimmed_only_if_all_its_groups_want_it() {
    let assigned = outcome([named("keeps-all", 1, None), named("wants", 2, Some(60))]);
    let [("wants", trim)] = trims(&assigned)[..] else {
        panic!("{:?}", trims(&assigned));
    };
    assert_eq!(trim.without_retention.as_deref(), Some("keeps-all"));
    assert_eq!(trims(&outcome([named("keeps-all", 1, None)])), []);
}

#[test]
fn a_paused_group_declares_and_does_not_trim() {
    let (key, seen) = group("paused", 1, |spec| {
        spec.scaling.paused = true;
        "paused".clone_into(&mut spec.group);
        "paused".clone_into(&mut spec.scale_target_ref.name);
        with_retention(Some(9_000))(spec);
    });
    let assigned = outcome([(key, seen), named("acts", 2, Some(60))]);
    let [("acts", trim)] = trims(&assigned)[..] else {
        panic!("{:?}", trims(&assigned));
    };
    assert_eq!(trim.declared.len(), 2);
    assert_eq!(trim.retention, Duration::from_secs(9_000));
}
