use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    super::{
        super::{
            actor_tests,
            pods::{GonePod, SeenPod, TargetPods},
        },
        facts::Holds,
    },
    *,
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "stranger"];

fn plan(change: impl FnOnce(&mut shopwright_api::ConsumerGroupSpec)) -> Plan {
    actor_tests::plan(6379, "workers", |spec| {
        spec.consumer_names = ConsumerNames::PodName;
        change(spec);
    })
}

fn live(name: &str) -> SeenPod {
    SeenPod {
        name: name.to_owned(),
        uid: name.to_owned(),
        ready: true,
        terminating: false,
        owned: true,
        created: 0,
        deletion_cost: 0,
    }
}

fn pods(alive: &[&str], gone: &[&str], since: Instant) -> TargetPods {
    TargetPods {
        live: alive.iter().map(|name| live(name)).collect(),
        gone: gone
            .iter()
            .map(|name| GonePod {
                name: (*name).to_owned(),
                since,
                asked: true,
            })
            .collect(),
    }
}

fn facts(at: Instant, holders: &[(&str, Option<u64>, u64)]) -> Facts {
    let holders: BTreeMap<String, Holds> = holders
        .iter()
        .map(|(name, unclaimable, poison)| {
            let (unclaimable, poison) = (*unclaimable, *poison);
            ((*name).to_owned(), Holds { unclaimable, poison })
        })
        .collect();
    Facts {
        at,
        at_rest: false,
        streams: vec![Some(StreamFacts {
            length: 10,
            poison: holders.values().map(|holds| holds.poison).sum(),
            holders,
        })],
    }
}

fn view<'a>(plan: &'a Plan, pods: &'a TargetPods, facts: Option<&'a Facts>) -> View<'a> {
    View {
        plan,
        pods,
        trims: &[],
        facts,
    }
}

fn hand_over(consumer: &str) -> Chore {
    Chore::HandOver {
        stream: "workers-stream".to_owned(),
        consumer: consumer.to_owned(),
        asked: true,
    }
}

fn delete(consumer: &str) -> Chore {
    Chore::DeleteConsumer {
        stream: "workers-stream".to_owned(),
        consumer: consumer.to_owned(),
    }
}

const HANDED: Done = Done::HandedOver {
    entries: 1,
    remaining: false,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_gone_pod_is_handed_over_once_and_again_only_if_it_turns_out_to_hold_something() {
    let (plan, start) = (plan(|_| {}), Instant::now());
    let pods = pods(&["b"], &["a"], start);
    let mut memory = Memory::default();
    assert_eq!(memory.plan(view(&plan, &pods, None), start), [hand_over("a")]);
    let more = Done::HandedOver {
        entries: 256,
        remaining: true,
    };
    memory.done(&hand_over("a"), &more, &pods, start);
    assert_eq!(
        memory.plan(view(&plan, &pods, None), start),
        [hand_over("a")],
        "what remains, at once"
    );
    memory.done(&hand_over("a"), &HANDED, &pods, start);
    assert_eq!(memory.plan(view(&plan, &pods, None), start + seconds(100)), []);
    let older = facts(start, &[("a", Some(5), 0)]);
    let later = start + seconds(3);
    assert_eq!(
        memory.plan(view(&plan, &pods, Some(&older)), later),
        [],
        "seen before it was done"
    );
    let claimable = facts(later, &[("a", Some(0), 0)]);
    assert_eq!(
        memory.plan(view(&plan, &pods, Some(&claimable)), later),
        [],
        "all can be claimed"
    );
    let newer = facts(later, &[("a", Some(5), 0)]);
    assert_eq!(memory.plan(view(&plan, &pods, Some(&newer)), later), [hand_over("a")]);
    let unsure = facts(later, &[("a", None, 0)]);
    assert_eq!(memory.plan(view(&plan, &pods, Some(&unsure)), later), []);
    let much_later = start + seconds(31);
    assert_eq!(
        memory.plan(view(&plan, &pods, Some(&unsure)), much_later),
        [hand_over("a")]
    );
}

#[test]
fn a_name_that_went_again_is_handed_over_again() {
    let (plan, start) = (plan(|_| {}), Instant::now());
    let mut memory = Memory::default();
    let first = pods(&[], &["a"], start);
    memory.done(&hand_over("a"), &HANDED, &first, start);
    let back = pods(&["a"], &[], start);
    memory.prune(&back);
    assert_eq!(memory.plan(view(&plan, &back, None), start), []);
    let again = pods(&[], &["a"], start + seconds(9));
    assert_eq!(
        memory.plan(view(&plan, &again, None), start + seconds(9)),
        [hand_over("a")]
    );
}

#[test]
fn a_dead_name_is_deleted_late_only_on_request_and_never_while_it_holds_anything() {
    let start = Instant::now();
    let plan = plan(|spec| spec.pending.delete_consumers_after_seconds = Some(60));
    let pods = pods(&[], &["a"], start);
    let mut memory = Memory::default();
    memory.done(&hand_over("a"), &HANDED, &pods, start);
    let none = facts(start + seconds(1), &[]);
    assert_eq!(memory.plan(view(&plan, &pods, Some(&none)), start + seconds(59)), []);
    let late = start + seconds(61);
    assert_eq!(memory.plan(view(&plan, &pods, Some(&none)), late), [delete("a")]);
    let holding = facts(late, &[("a", Some(0), 0)]);
    assert_eq!(memory.plan(view(&plan, &pods, Some(&holding)), late), []);
    memory.done(&delete("a"), &Done::Kept, &pods, late);
    assert_eq!(memory.plan(view(&plan, &pods, Some(&none)), late + seconds(1)), []);
    assert_eq!(
        memory.plan(view(&plan, &pods, Some(&none)), late + DELETE_AGAIN),
        [delete("a")]
    );
    memory.done(&delete("a"), &Done::Deleted(true), &pods, late);
    assert_eq!(memory.plan(view(&plan, &pods, Some(&none)), late + seconds(9_000)), []);
    let unwanted = self::plan(|_| {});
    assert_eq!(
        Memory::default().plan(view(&unwanted, &pods, Some(&none)), late),
        [hand_over("a")]
    );
}

#[test]
fn poison_is_buried_only_on_request_and_a_strangers_never_where_names_say_who_is_who() {
    let start = Instant::now();
    let pods = pods(&["b"], &["a"], start);
    let bury = |owners: Option<&[&str]>| Chore::Bury {
        stream: "workers-stream".to_owned(),
        owners: owners.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
    };
    let burials = |plan: &Plan, memory: &Memory, facts: &Facts| -> Vec<Chore> {
        let chores = memory.plan(view(plan, &pods, Some(facts)), start);
        chores.into_iter().filter(|chore| chore.kind() == Kind::Bury).collect()
    };
    let wanted = plan(|spec| spec.dead_letters = Some(shopwright_api::DeadLetters {}));
    let held = facts(start, &[("a", Some(0), 1), ("b", Some(0), 1), ("stranger", Some(0), 1)]);
    let mut memory = Memory::default();
    assert_eq!(burials(&wanted, &memory, &held), [bury(Some(&["a", "b"]))]);
    assert_eq!(burials(&plan(|_| {}), &memory, &held), []);
    let strangers = facts(start, &[("stranger", Some(0), 1)]);
    assert_eq!(burials(&wanted, &memory, &strangers), []);
    let any = plan(|spec| {
        spec.dead_letters = Some(shopwright_api::DeadLetters {});
        spec.consumer_names = ConsumerNames::Any;
    });
    assert_eq!(burials(&any, &memory, &strangers), [bury(None)]);
    memory.done(&bury(None), &Done::Buried(0), &pods, start);
    assert_eq!(burials(&any, &memory, &strangers), [], "not again at once");
}

#[test]
fn routine_is_rare_and_rarer_at_rest() {
    let start = Instant::now();
    let plan = plan(|spec| spec.retention = Some(shopwright_api::Retention::default()));
    let trim = Trim {
        stream: "workers-stream".to_owned(),
        declared: BTreeSet::from(["workers".to_owned()]),
        retention: seconds(3_600),
        without_retention: None,
    };
    let pods = TargetPods::default();
    let mut memory = Memory::default();
    let planned = |memory: &Memory, facts: Option<&Facts>, trim: &Trim, after: Duration| {
        let view = View {
            trims: std::slice::from_ref(trim),
            ..view(&plan, &pods, facts)
        };
        memory.plan(view, start + after)
    };
    let busy = facts(start, &[]);
    let resting = Facts {
        at_rest: true,
        ..busy.clone()
    };
    let mut empty = busy.clone();
    empty.streams = vec![Some(StreamFacts::default())];
    let wanted = [Chore::Trim(trim.clone())];
    assert_eq!(planned(&memory, None, &trim, seconds(0)), [], "nothing is known yet");
    assert_eq!(planned(&memory, Some(&empty), &trim, seconds(0)), [], "nothing to trim");
    assert_eq!(planned(&memory, Some(&busy), &trim, seconds(0)), wanted);
    memory.done(&wanted[0], &Done::Trimmed(3), &pods, start);
    assert_eq!(planned(&memory, Some(&busy), &trim, seconds(29)), []);
    assert_eq!(planned(&memory, Some(&busy), &trim, seconds(30)), wanted);
    assert_eq!(planned(&memory, Some(&resting), &trim, seconds(299)), []);
    assert_eq!(planned(&memory, Some(&resting), &trim, seconds(300)), wanted);
    let unwilling = Trim {
        without_retention: Some("other".to_owned()),
        ..trim
    };
    assert_eq!(planned(&memory, Some(&busy), &unwilling, seconds(900)), []);
}

#[test]
fn what_redis_refuses_is_not_asked_for_again_and_again() {
    let (plan, start) = (plan(|_| {}), Instant::now());
    let pods = pods(&[], &["a", "b"], start);
    let mut memory = Memory::default();
    let tries = |memory: &Memory, after: Duration| memory.plan(view(&plan, &pods, None), start + after).len();
    memory.failed(&hand_over("a"), false, start);
    assert_eq!((tries(&memory, Duration::ZERO), tries(&memory, seconds(1))), (0, 2));
    memory.failed(&hand_over("a"), false, start);
    assert_eq!((tries(&memory, seconds(1)), tries(&memory, seconds(2))), (0, 2));
    memory.failed(&hand_over("a"), true, start);
    assert_eq!((tries(&memory, seconds(299)), tries(&memory, seconds(300))), (0, 2));
    memory.done(&hand_over("a"), &HANDED, &pods, start);
    assert_eq!(tries(&memory, Duration::ZERO), 1, "the other one");
}

#[derive(Clone, Debug)]
struct Scene {
    /// Live, gone, or unknown.
    states: Vec<u8>,
    holders: Vec<(usize, Option<u64>, u64)>,
    any: bool,
    paused: bool,
    handed: Vec<usize>,
    after: u64,
    order: u64,
}

fn scene() -> impl Strategy<Value = Scene> {
    let holder = (0..NAMES.len(), prop::option::of(0..3_u64), 0..3_u64);
    (
        prop::collection::vec(0..3_u8, NAMES.len() - 1),
        prop::collection::vec(holder, 0..8),
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::collection::vec(0..NAMES.len() - 1, 0..4),
        0..200_u64,
        any::<u64>(),
    )
        .prop_map(|(states, holders, any, paused, handed, after, order)| Scene {
            states,
            holders,
            any,
            paused,
            handed,
            after,
            order,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is seen: nobody alive, nobody who came back and nobody unknown is ever touched by hand-over or deletion;
    /// only seen names are touched at all where names are pods'; nothing but reading while paused.
    #[test]
    fn only_those_may_be_touched_who_were_seen_and_are_gone(scene in scene()) {
        let before = Instant::now();
        let start = before + seconds(5);
        let now = start + seconds(scene.after);
        let of = |wanted: u8| -> Vec<&str> {
            scene.states.iter().zip(NAMES).filter(|(state, _)| **state == wanted).map(|(_, name)| name).collect()
        };
        let (alive, gone) = (of(0), of(1));
        let everybody_gone = pods(&[], &NAMES[..4], before);
        let pods = pods(&alive, &gone, start);
        let plan = plan(|spec| {
            spec.pending.delete_consumers_after_seconds = (!scene.any).then_some(60);
            spec.dead_letters = Some(shopwright_api::DeadLetters {});
            spec.scaling.paused = scene.paused;
            if scene.any {
                spec.consumer_names = ConsumerNames::Any;
            }
        });
        let holders: Vec<_> = scene.holders.iter().map(|(name, holds, poison)| (NAMES[*name], *holds, *poison)).collect();
        let facts = facts(now, &holders);
        // What was done for all of them in an earlier end must not carry over to those who came back.
        let mut memory = Memory::default();
        for name in &scene.handed {
            memory.done(&hand_over(NAMES[*name]), &HANDED, &everybody_gone, before);
        }
        memory.prune(&pods);
        let chores = memory.plan(view(&plan, &pods, Some(&facts)), now);
        for chore in &chores {
            prop_assert!(!scene.paused || chore.kind() == Kind::CountDeadLetters, "{chore:?}");
            match chore {
                Chore::HandOver { consumer, .. } | Chore::DeleteConsumer { consumer, .. } => {
                    prop_assert!(!scene.any && gone.contains(&consumer.as_str()), "{chore:?}");
                    prop_assert!(!alive.contains(&consumer.as_str()), "{chore:?}");
                }
                Chore::Bury { owners: Some(owners), .. } => {
                    prop_assert!(!owners.is_empty());
                    prop_assert!(owners.iter().all(|name| pods.is_known(name)), "{chore:?}");
                }
                Chore::Bury { owners: None, .. } => prop_assert!(scene.any),
                _ => {}
            }
        }
        if !scene.paused && !scene.any {
            for name in &gone {
                let handed_now = chores.contains(&hand_over(name));
                prop_assert!(handed_now, "{name} went after whatever was done before, so it is handed over now");
            }
        }
        // In whatever order things were done before, the plan is the same.
        let mut other = Memory::default();
        let mut handed = scene.handed.clone();
        handed.sort_by_key(|name| (u64::try_from(*name).unwrap_or(0) ^ scene.order).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        for name in handed {
            other.done(&hand_over(NAMES[name]), &HANDED, &everybody_gone, before);
        }
        other.prune(&pods);
        prop_assert_eq!(other.plan(view(&plan, &pods, Some(&facts)), now), chores);
    }
}
