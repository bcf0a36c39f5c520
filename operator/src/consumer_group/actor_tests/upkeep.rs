//! Pods that are gone, poison, names of the dead and old entries, through an actor on a real Redis.

use std::collections::BTreeMap;

use shopwright_api::{ConsumerGroupSpec, ConsumerNames, DeadLetters, Retention};

use super::{
    super::{
        assign::Trim,
        pods::{GonePod, SeenPod, TargetPods},
    },
    *,
};

type Connection = redis::aio::MultiplexedConnection;

fn by_pod(change: impl FnOnce(&mut ConsumerGroupSpec)) -> impl FnOnce(&mut ConsumerGroupSpec) {
    |spec| {
        spec.consumer_names = ConsumerNames::PodName;
        change(spec);
    }
}

fn pods(live: &[&str], gone: &[&str]) -> Arc<TargetPods> {
    let seen = |name: &&str| SeenPod {
        name: (*name).to_owned(),
        uid: format!("uid-{name}"),
        ready: true,
        terminating: false,
        owned: true,
        created: 0,
        deletion_cost: 0,
    };
    let ended = |name: &&str| GonePod {
        name: (*name).to_owned(),
        since: Instant::now(),
        asked: true,
    };
    Arc::new(TargetPods {
        live: live.iter().map(seen).collect(),
        gone: gone.iter().map(ended).collect(),
    })
}

/// The same assignment with other pods and replicas, as after a watch event.
fn hand_in(running: &Running, assignment: &Assignment) {
    let key = assignment.subject.key.clone();
    running
        .assignments
        .send_replace(Arc::new([(key, assignment.clone())].into()));
}

async fn ask<Answer: redis::FromRedisValue>(connection: &mut Connection, command: &str) -> Answer {
    let mut words = command.split(' ');
    let mut asked = redis::cmd(words.next().expect("a command"));
    asked.arg(words.collect::<Vec<_>>());
    asked.query_async(connection).await.expect(command)
}

/// Makes the group `name` on `name-stream` and lets each consumer read one entry of its own.
async fn pending(connection: &mut Connection, name: &str, consumers: &[&str]) {
    let _: redis::Value = ask(connection, &format!("XGROUP CREATE {name}-stream {name} 0 MKSTREAM")).await;
    for consumer in consumers {
        add(connection, &format!("{name}-stream")).await;
        let read = format!("XREADGROUP GROUP {name} {consumer} COUNT 1 STREAMS {name}-stream >");
        let _: redis::Value = ask(connection, &read).await;
    }
}

/// How long, in milliseconds, what each consumer holds has been idle, and how often it was delivered.
async fn holders(connection: &mut Connection, name: &str) -> BTreeMap<String, (u64, u64)> {
    let pending: Vec<(String, String, u64, u64)> =
        ask(connection, &format!("XPENDING {name}-stream {name} - + 100")).await;
    pending
        .into_iter()
        .map(|(_, consumer, idle, count)| (consumer, (idle, count)))
        .collect()
}

async fn consumers(connection: &mut Connection, name: &str) -> Vec<String> {
    let found: redis::streams::StreamInfoConsumersReply =
        ask(connection, &format!("XINFO CONSUMERS {name}-stream {name}")).await;
    let mut names: Vec<String> = found.consumers.into_iter().map(|consumer| consumer.name).collect();
    names.sort();
    names
}

/// What `peer` gets at once of what has been idle for a minute.
async fn claim(connection: &mut Connection, name: &str, peer: &str) -> usize {
    let claimed: (String, Vec<redis::Value>, Vec<String>) =
        ask(connection, &format!("XAUTOCLAIM {name}-stream {name} {peer} 60000 0")).await;
    claimed.1.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pod_that_is_gone_holds_is_a_peers_at_once_and_nobody_elses_is_touched() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    pending(&mut connection, "gone", &["dead", "alive", "stranger"]).await;
    let recorder = Recorder::default();
    let mut assignment = assignment(plan(redis.port(), "gone", by_pod(|_| {})), 1);
    assignment.pods = pods(&["alive", "dead"], &[]);
    let running = start(&recorder, [assignment.clone()], anywhere());
    eventually("ready", || recorder.is_ready("gone")).await;
    assert_eq!(claim(&mut connection, "gone", "alive").await, 0, "all are alive");
    let died = Instant::now();
    assignment.pods = pods(&["alive"], &["dead"]);
    hand_in(&running, &assignment);
    while claim(&mut connection, "gone", "alive").await == 0 {
        assert!(died.elapsed() < Duration::from_mins(1), "nobody got it");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!(
        "a peer has the entry {:?} after its pod was seen to be gone",
        died.elapsed()
    );
    eventually("told", || recorder.reasons().contains(&"HandedOver")).await;
    let held = holders(&mut connection, "gone").await;
    assert_eq!(held.keys().collect::<Vec<_>>(), ["alive", "stranger"]);
    assert!(held["stranger"].0 < 60_000, "{held:?}");
    eventually("the stranger is shown", || {
        recorder
            .condition("gone", condition::UNKNOWN_CONSUMERS)
            .is_some_and(|(status, _)| status == "True")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_pods_entries_raise_a_replica_though_no_message_comes() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    pending(&mut connection, "orphan", &["dead"]).await;
    let recorder = Recorder::default();
    // Whatever the threshold of activation: these entries were accepted once.
    let plan = plan(
        redis.port(),
        "orphan",
        by_pod(|spec| {
            spec.scaling.activation_backlog = 50;
            spec.scaling.cooldown_seconds = 0;
        }),
    );
    let mut assignment = assignment(plan, 0);
    assignment.pods = pods(&[], &["dead"]);
    let _running = start(&recorder, [assignment.clone()], anywhere());
    eventually("raised", || recorder.scales() == [("orphan-worker".to_owned(), 1)]).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while claim(&mut connection, "orphan", "successor").await == 0 {
        assert!(Instant::now() < deadline, "the successor gets it at once");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let id: Vec<(String, String, u64, u64)> = ask(&mut connection, "XPENDING orphan-stream orphan - + 1").await;
    let _: u64 = ask(&mut connection, &format!("XACK orphan-stream orphan {}", id[0].0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_the_dead_are_deleted_and_no_others() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    pending(&mut connection, "reap", &["holding"]).await;
    for name in ["dead", "alive", "stranger"] {
        let _: u64 = ask(
            &mut connection,
            &format!("XGROUP CREATECONSUMER reap-stream reap {name}"),
        )
        .await;
    }
    let recorder = Recorder::default();
    let plan = plan(
        redis.port(),
        "reap",
        by_pod(|spec| spec.pending.delete_consumers_after_seconds = Some(1)),
    );
    let mut assignment = assignment(plan, 1);
    assignment.pods = pods(&["alive"], &["dead", "holding"]);
    let _running = start(&recorder, [assignment], anywhere());
    eventually("told", || recorder.reasons().contains(&"ConsumersDeleted")).await;
    assert_eq!(
        consumers(&mut connection, "reap").await,
        ["alive", "holding", "stranger"]
    );
    assert_eq!(holders(&mut connection, "reap").await.len(), 1, "what is held stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_that_nobody_handles_is_put_aside_and_shown() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    pending(&mut connection, "poison", &["dead", "stranger"]).await;
    let recorder = Recorder::default();
    let plan = plan(
        redis.port(),
        "poison",
        by_pod(|spec| {
            spec.dead_letters = Some(DeadLetters {});
            spec.pending.max_deliveries = 1;
            spec.pending.claim_min_idle_seconds = 1;
        }),
    );
    let mut assignment = assignment(plan, 1);
    assignment.pods = pods(&[], &[]);
    let running = start(&recorder, [assignment.clone()], anywhere());
    eventually("ready", || recorder.is_ready("poison")).await;
    assert_eq!(holders(&mut connection, "poison").await.len(), 2);
    // Seen as a live pod, so its poison may be put aside; it is not handed over, which would change the count.
    assignment.pods = pods(&["dead"], &[]);
    hand_in(&running, &assignment);
    eventually("told", || recorder.reasons().contains(&"DeadLettered")).await;
    let held = holders(&mut connection, "poison").await;
    assert_eq!(held.keys().collect::<Vec<_>>(), ["stranger"]);
    assert_eq!(ask::<u64>(&mut connection, "XLEN poison-stream:dead:poison").await, 1);
    eventually("shown", || {
        recorder.with(|seen| seen.status.get("poison").and_then(|status| status.dead_letters)) == Some(1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_entries_go_unless_somebody_nobody_declared_may_need_them() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    for (name, other) in [("trims", None), ("blocked", Some("unheard-of"))] {
        let _: redis::Value = ask(
            &mut connection,
            &format!("XGROUP CREATE {name}-stream {name} 0 MKSTREAM"),
        )
        .await;
        for id in 1..=300 {
            let _: String = ask(&mut connection, &format!("XADD {name}-stream {id}-0 n 1")).await;
        }
        let _: String = ask(&mut connection, &format!("XGROUP SETID {name}-stream {name} $")).await;
        if let Some(other) = other {
            let _: String = ask(&mut connection, &format!("XGROUP CREATE {name}-stream {other} 0")).await;
        }
    }
    let recorder = Recorder::default();
    let assignments = ["trims", "blocked"].map(|name| {
        let plan = plan(redis.port(), name, |spec| {
            spec.retention = Some(Retention { seconds: 60 });
        });
        let mut assignment = assignment(plan, 1);
        assignment.trims = vec![Trim {
            stream: format!("{name}-stream"),
            declared: [name.to_owned()].into(),
            retention: Duration::from_secs(60),
            without_retention: None,
        }];
        assignment
    });
    let _running = start(&recorder, assignments, anywhere());
    let deadline = Instant::now() + Duration::from_mins(1);
    while ask::<u64>(&mut connection, "XLEN trims-stream").await > 100 {
        assert!(Instant::now() < deadline, "it is trimmed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eventually("blocked", || {
        recorder
            .condition("blocked", condition::TRIM_BLOCKED)
            .is_some_and(|(status, _)| status == "True")
    })
    .await;
    assert_eq!(ask::<u64>(&mut connection, "XLEN blocked-stream").await, 300);
    let told = recorder.with(|seen| {
        let notices = seen.notices.iter().filter(|(_, notice)| notice.reason == "TrimBlocked");
        notices
            .map(|(name, notice)| (name.clone(), notice.note.clone()))
            .collect::<Vec<_>>()
    });
    assert!(
        told.iter()
            .all(|(name, note)| name == "blocked" && note.contains("unheard-of")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_replicas_go_each_pod_is_given_its_cost() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    pending(&mut connection, "cost", &["busy"]).await;
    let recorder = Recorder::default();
    let plan = plan(
        redis.port(),
        "cost",
        by_pod(|spec| {
            spec.scaling.behavior.scale_down.stabilization_window_seconds = 0;
            spec.scaling.behavior.scale_down.period_seconds = 1;
        }),
    );
    let mut assignment = assignment(plan, 3);
    assignment.pods = pods(&["busy", "idle"], &[]);
    let _running = start(&recorder, [assignment], anywhere());
    eventually("lowered", || {
        recorder.scales().iter().any(|(_, replicas)| *replicas < 3)
    })
    .await;
    let costs = recorder.with(|seen| seen.costs.clone());
    let [(name, cost)] = &costs[..] else {
        panic!("only what differs is written: {costs:?}");
    };
    assert!(name == "busy" && *cost >= 10, "{costs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_group_touches_nothing() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    pending(&mut connection, "paused", &["dead"]).await;
    let recorder = Recorder::default();
    let plan = plan(redis.port(), "paused", by_pod(|spec| spec.scaling.paused = true));
    let mut assignment = assignment(plan, 1);
    assignment.pods = pods(&[], &["dead"]);
    let _running = start(&recorder, [assignment], anywhere());
    eventually("status", || recorder.with(|seen| seen.status.contains_key("paused"))).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(holders(&mut connection, "paused").await["dead"].0 < 60_000);
    assert!(!recorder.reasons().contains(&"HandedOver"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_count_of_deliveries_stays_for_a_pod_that_failed_and_not_for_one_that_was_asked_to_end() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    pending(&mut connection, "count", &["asked", "failed"]).await;
    let recorder = Recorder::default();
    let mut assignment = assignment(plan(redis.port(), "count", by_pod(|_| {})), 1);
    let mut gone = (*pods(&[], &["asked", "failed"])).clone();
    gone.gone[1].asked = false;
    assignment.pods = Arc::new(gone);
    let _running = start(&recorder, [assignment], anywhere());
    eventually("told", || recorder.reasons().contains(&"HandedOver")).await;
    let held = holders(&mut connection, "count").await;
    assert!(held.values().all(|(idle, _)| *idle >= 60_000), "{held:?}");
    assert_eq!((held["asked"].1, held["failed"].1), (0, 1));
}
