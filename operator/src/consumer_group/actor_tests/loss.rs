//! Silence and lost data: reported, survived, and no reason to take anything away.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_redis_changes_no_replicas_is_reported_and_delays_nobody_else() {
    let (silent, lively) = (redis().await, redis().await);
    let recorder = Recorder::default();
    let _silent = start(
        &recorder,
        [assignment(
            plan(silent.port(), "silent", |spec| spec.scaling.cooldown_seconds = 1),
            3,
        )],
        anywhere(),
    );
    let _lively = start(
        &recorder,
        [assignment(plan(lively.port(), "lively", |_| {}), 0)],
        anywhere(),
    );
    let mut to_silent = connect(&silent).await;
    add(&mut to_silent, "silent-stream").await;
    eventually("both ready", || {
        recorder.is_ready("silent") && recorder.is_ready("lively")
    })
    .await;

    silent.pause().expect("pauses");
    eventually("reported", || {
        recorder.condition("silent", condition::BACKLOG_KNOWN)
            == Some(("False".to_owned(), "RedisUnreachable".to_owned()))
    })
    .await;
    assert!(!recorder.is_ready("silent"), "kubectl wait must tell the truth");
    assert_eq!(
        recorder.with(|seen| seen.status["silent"].backlog),
        None,
        "unknown is not a number"
    );
    add(&mut connect(&lively).await, "lively-stream").await;
    eventually("the other one woken", || {
        recorder.scales() == [("lively-worker".to_owned(), 1)]
    })
    .await;

    silent.resume().expect("resumes");
    eventually("known again", || recorder.is_ready("silent")).await;
    assert_eq!(
        recorder.scales(),
        [("lively-worker".to_owned(), 1)],
        "silence and its end change nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_redis_gets_its_group_back_and_keeps_its_replicas() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    let recorder = Recorder::default();
    let at_zero = assignment(plan(redis.port(), "asleep", |_| {}), 0);
    let running_two = assignment(plan(redis.port(), "awake", |_| {}), 2);
    let _running = start(&recorder, [at_zero, running_two], anywhere());
    eventually("ready", || recorder.is_ready("asleep") && recorder.is_ready("awake")).await;

    redis::cmd("FLUSHALL")
        .exec_async(&mut connection)
        .await
        .expect("FLUSHALL");
    let flushed = Instant::now();
    eventually("told", || recorder.reasons().contains(&"GroupLost")).await;
    println!(
        "group of a running workload back after FLUSHALL: {:?}",
        flushed.elapsed()
    );
    let exists = async |stream: &str| {
        let mut connection = connect(&redis).await;
        redis::cmd("XINFO")
            .arg(&["GROUPS", stream])
            .query_async::<redis::Value>(&mut connection)
            .await
            .is_ok()
    };
    assert!(exists("awake-stream").await);
    // An entry in a stream without its group must wake as well, and must not be skipped by the new group.
    add(&mut connection, "asleep-stream").await;
    eventually("woken", || recorder.scales() == [("asleep-worker".to_owned(), 1)]).await;
    eventually("both told", || {
        recorder
            .reasons()
            .iter()
            .filter(|reason| **reason == "GroupLost")
            .count()
            == 2
    })
    .await;
    eventually("ready", || recorder.is_ready("asleep") && recorder.is_ready("awake")).await;
    for name in ["asleep", "awake"] {
        let lost = Some(("True".to_owned(), "GroupLost".to_owned()));
        eventually(name, || recorder.condition(name, condition::DATA_LOSS) == lost).await;
    }
    assert_eq!(recorder.scales(), [("asleep-worker".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_with_older_data_is_noticed_and_takes_no_replica_with_it() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    let recorder = Recorder::default();
    let plan = plan(redis.port(), "older", |spec| spec.scaling.cooldown_seconds = 2);
    let _running = start(&recorder, [assignment(plan, 3)], anywhere());
    eventually("ready", || recorder.is_ready("older")).await;
    for _ in 0..3 {
        add(&mut connection, "older-stream").await;
    }
    eventually("seen", || recorder.with(|seen| seen.status["older"].backlog) == Some(3)).await;
    // As after a restart from an older file: the stream and its group are there, and have fewer entries behind them.
    let mut rollback = redis::pipe();
    rollback.atomic();
    rollback.cmd("DEL").arg("older-stream").ignore();
    rollback.cmd("XADD").arg(&["older-stream", "*", "n", "1"]).ignore();
    rollback
        .cmd("XGROUP")
        .arg(&["CREATE", "older-stream", "older", "$"])
        .ignore();
    rollback.exec_async(&mut connection).await.expect("rolled back");
    eventually("told", || recorder.reasons().contains(&"DataLossSuspected")).await;
    eventually("shown", || {
        recorder.condition("older", condition::DATA_LOSS) == Some(("True".to_owned(), "DataLossSuspected".to_owned()))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(
        recorder.scales(),
        [],
        "longer than the cool-down, and nothing is taken away"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_at_rest_notice_an_emptied_redis_long_before_their_turn() {
    let redis = redis().await;
    let recorder = Recorder::default();
    let stop = CancellationToken::new();
    let mut with = surroundings(&recorder, anywhere(), Arc::new(|_| false), stop.clone());
    with.settings.cadence.at_rest = Duration::from_hours(1);
    let names = ["one", "two", "three"];
    let groups = names.map(|name| assignment(plan(redis.port(), name, |_| {}), 0));
    let _running = start_with(with, groups, stop);
    eventually("ready", || names.iter().all(|name| recorder.is_ready(name))).await;
    redis::cmd("FLUSHALL")
        .exec_async(&mut connect(&redis).await)
        .await
        .expect("FLUSHALL");
    let flushed = Instant::now();
    eventually("all told", || {
        recorder
            .reasons()
            .iter()
            .filter(|reason| **reason == "GroupLost")
            .count()
            == names.len()
    })
    .await;
    println!("three groups at rest back after FLUSHALL: {:?}", flushed.elapsed());
}
