use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

fn fact(name: &str, target: Option<&str>) -> Fact {
    Fact {
        target: target.map(str::to_owned),
        finished: false,
        pod: SeenPod {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            ready: true,
            terminating: false,
            owned: target.is_some(),
            created: 0,
            deletion_cost: 0,
        },
    }
}

fn all(_: &ObjectKey) -> bool {
    true
}

fn live(pods: &TargetPods) -> Vec<&str> {
    pods.live.iter().map(|pod| pod.name.as_str()).collect()
}

fn gone(pods: &TargetPods) -> Vec<&str> {
    pods.gone.iter().map(|pod| pod.name.as_str()).collect()
}

#[test]
fn a_pod_comes_changes_and_goes() {
    let (pods, now) = (Pods::default(), Instant::now());
    let worker = key("worker");
    assert_eq!(
        pods.apply(&key("a"), fact("a", Some("worker")), now, all),
        Some(worker.clone())
    );
    let first = pods.of(&worker);
    assert_eq!((live(&first), gone(&first)), (vec!["a"], vec![]));
    assert_eq!(pods.apply(&key("a"), fact("a", Some("worker")), now, all), None);
    assert!(Arc::ptr_eq(&first, &pods.of(&worker)), "nothing new, nothing made");
    assert_eq!(pods.delete(&key("a"), now, all), Some(worker.clone()));
    let last = pods.of(&worker);
    assert_eq!((live(&last), gone(&last)), (vec![], vec!["a"]));
    assert!(last.is_news(&first));
    assert_eq!(pods.delete(&key("a"), now, all), None);
}

#[test]
fn pods_without_a_deployment_leave_nothing_behind() {
    let (pods, now) = (Pods::default(), Instant::now());
    assert_eq!(pods.apply(&key("lone"), fact("lone", None), now, all), None);
    assert_eq!(pods.delete(&key("lone"), now, all), None);
    pods.apply(&key("a"), fact("a", Some("no group's target")), now, |_| false);
    pods.delete(&key("a"), now, |_| false);
    let known = pods.lock();
    assert!(known.targets.is_empty() && known.target_of.is_empty());
}

#[test]
fn a_released_pod_lives_on() {
    let (pods, now) = (Pods::default(), Instant::now());
    pods.apply(&key("a"), fact("a", Some("worker")), now, all);
    pods.apply(&key("a"), fact("a", None), now, all);
    let seen = pods.of(&key("worker"));
    assert!(!seen.is_gone("a") && seen.live("a").is_some_and(|pod| !pod.owned));
    let list = [(key("a"), fact("a", None))].into();
    pods.replace("", list, now, all);
    assert!(!pods.of(&key("worker")).is_gone("a"));
    pods.delete(&key("a"), now, all);
    assert!(pods.of(&key("worker")).is_gone("a"));
}

#[test]
fn a_name_that_comes_back_is_alive_whoever_owns_it() {
    for owner in [Some("worker"), None, Some("other")] {
        let (pods, now) = (Pods::default(), Instant::now());
        pods.apply(&key("a"), fact("a", Some("worker")), now, all);
        pods.delete(&key("a"), now, all);
        pods.apply(&key("a"), fact("a", owner), now, all);
        assert!(!pods.of(&key("worker")).is_gone("a"), "{owner:?}");
    }
}

#[test]
fn a_pod_whose_containers_ended_for_good_is_gone_though_its_object_stays() {
    let (pods, now) = (Pods::default(), Instant::now());
    pods.apply(&key("evicted"), fact("evicted", Some("worker")), now, all);
    let ended = Fact {
        finished: true,
        ..fact("evicted", Some("worker"))
    };
    assert!(pods.apply(&key("evicted"), ended.clone(), now, all).is_some());
    let seen = pods.of(&key("worker"));
    assert_eq!((live(&seen), gone(&seen)), (vec![], vec!["evicted"]));
    let later = now + Duration::from_secs(1);
    assert_eq!(pods.apply(&key("evicted"), ended, later, all), None);
    assert_eq!(pods.delete(&key("evicted"), later, all), None);
    assert_eq!(pods.of(&key("worker")).gone, seen.gone, "noticed once");
}

#[test]
fn who_was_asked_to_end_is_told_from_who_failed() {
    let now = Instant::now();
    let asked = |terminating: bool, end: fn(&Pods, Instant)| {
        let pods = Pods::default();
        let mut seen = fact("a", Some("worker"));
        seen.pod.terminating = terminating;
        pods.apply(&key("a"), seen, now, all);
        end(&pods, now);
        pods.of(&key("worker")).gone[0].asked
    };
    let deleted: fn(&Pods, Instant) = |pods, now| {
        pods.delete(&key("a"), now, all);
    };
    let evicted: fn(&Pods, Instant) = |pods, now| {
        let ended = Fact {
            finished: true,
            ..fact("a", Some("worker"))
        };
        pods.apply(&key("a"), ended, now, all);
    };
    let unseen: fn(&Pods, Instant) = |pods, now| {
        pods.replace("", BTreeMap::new(), now, all);
    };
    assert!(asked(true, deleted), "an ordinary end");
    assert!(!asked(false, deleted), "deleted by force");
    assert!(!asked(false, evicted));
    assert!(asked(false, unseen), "nobody can tell");
}

#[test]
fn what_a_new_list_lacks_went_while_nobody_looked() {
    let (pods, now) = (Pods::default(), Instant::now());
    for name in ["a", "b"] {
        pods.apply(&key(name), fact(name, Some("worker")), now, all);
    }
    let elsewhere = ObjectKey::new("elsewhere", "c");
    pods.apply(&elsewhere, fact("c", Some("worker")), now, all);
    let changed = pods.replace("shop", [(key("b"), fact("b", Some("worker")))].into(), now, all);
    assert_eq!(changed, [key("worker")].into());
    let seen = pods.of(&key("worker"));
    assert_eq!((live(&seen), gone(&seen)), (vec!["b"], vec!["a"]));
    assert_eq!(live(&pods.of(&ObjectKey::new("elsewhere", "worker"))), ["c"]);
}

#[test]
fn memory_of_the_gone_is_bounded_by_number_and_age() {
    let (pods, now) = (Pods::default(), Instant::now());
    for number in 0..GONE_KEPT + 10 {
        let name = format!("pod-{number:05}");
        let then = now + Duration::from_millis(u64::try_from(number).expect("small"));
        pods.apply(&key(&name), fact(&name, Some("worker")), then, all);
        pods.delete(&key(&name), then, all);
    }
    let seen = pods.of(&key("worker"));
    assert_eq!(seen.gone.len(), GONE_KEPT);
    assert!(!seen.is_known("pod-00009") && seen.is_gone("pod-00010"));
    let later = now + GONE_FOR + Duration::from_hours(1);
    pods.apply(&key("last"), fact("last", Some("worker")), later, all);
    pods.delete(&key("last"), later, all);
    assert_eq!(gone(&pods.of(&key("worker"))), ["last"]);
    assert_eq!(pods.lock().target_of.len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Apply(usize, Option<usize>, bool),
    Delete(usize),
    Replace(Vec<(usize, Option<usize>)>),
}

fn step() -> impl Strategy<Value = Step> {
    let owner = || prop::option::of(0..2_usize);
    prop_oneof![
        4 => (0..4_usize, owner(), prop::bool::weighted(0.2)).prop_map(|(pod, owner, ended)| Step::Apply(pod, owner, ended)),
        2 => (0..4_usize).prop_map(Step::Delete),
        1 => prop::collection::vec((0..4_usize, owner()), 0..4).prop_map(Step::Replace),
    ]
}

proptest! {
    /// Whatever happens: no name that exists and works is ever called gone, and both lists stay apart and sorted.
    #[test]
    fn nothing_alive_is_ever_called_gone(steps in prop::collection::vec(step(), 1..60)) {
        let (names, owners) = (["a", "b", "c", "d"], ["worker", "other"]);
        let (pods, now) = (Pods::default(), Instant::now());
        let mut alive: BTreeSet<&str> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Apply(pod, owner, finished) => {
                    let name = names[pod];
                    pods.apply(&key(name), Fact { finished, ..fact(name, owner.map(|owner| owners[owner])) }, now, all);
                    if finished { alive.remove(name); } else { alive.insert(name); }
                }
                Step::Delete(pod) => {
                    pods.delete(&key(names[pod]), now, all);
                    alive.remove(names[pod]);
                }
                Step::Replace(list) => {
                    alive = list.iter().map(|(pod, _)| names[*pod]).collect();
                    let list = list.into_iter().map(|(pod, owner)| {
                        (key(names[pod]), fact(names[pod], owner.map(|owner| owners[owner])))
                    });
                    pods.replace("", list.collect(), now, all);
                }
            }
            for owner in owners {
                let seen = pods.of(&key(owner));
                prop_assert!(live(&seen).is_sorted() && gone(&seen).is_sorted());
                for name in gone(&seen) {
                    prop_assert!(!alive.contains(name), "{name} lives");
                    prop_assert!(seen.live(name).is_none());
                }
                for name in live(&seen) {
                    prop_assert!(alive.contains(name), "{name} is dead");
                }
            }
        }
    }
}

#[test]
fn a_pod_costs_little_memory() {
    let name = "demo-inventory-consumer-5d9c8f7b6d-abcde";
    let seen = fact(name, Some("demo-inventory-consumer")).pod;
    let strings = seen.name.len() + 36;
    // Once in the map and once in the snapshot, the map's key, and the way from the pod to its Deployment.
    let each = 2 * (size_of::<SeenPod>() + strings)
        + size_of::<String>()
        + name.len()
        + size_of::<ObjectKey>()
        + "shop".len()
        + name.len()
        + size_of::<String>()
        + "demo-inventory-consumer".len();
    println!("about {each} bytes a pod");
    assert!(each < 700, "{each}");
}
