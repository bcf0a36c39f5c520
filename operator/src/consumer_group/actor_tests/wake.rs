//! From an entry to the write, and what becomes of a write that is refused.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_wakes_a_group_at_zero_in_milliseconds_and_quiet_brings_it_back() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    let recorder = Recorder::default();
    let plan = plan(redis.port(), "wake", |spec| {
        spec.scaling.cooldown_seconds = 0;
        spec.scaling.behavior.scale_down.period_seconds = 0;
    });
    let _running = start(&recorder, [assignment(plan, 0)], anywhere());
    eventually("ready", || recorder.is_ready("wake")).await;
    assert_eq!(recorder.reasons(), ["GroupCreated"]);
    assert_eq!(recorder.scales(), [], "nothing to do, nothing done");

    let mut latencies = Vec::new();
    for trial in 0..20_usize {
        let sent = Instant::now();
        add(&mut connection, "wake-stream").await;
        eventually("woken", || recorder.scales().len() > 2 * trial).await;
        let (_, replicas, written) = recorder.with(|seen| seen.scales[2 * trial].clone());
        assert_eq!(replicas, 1);
        latencies.push(written.duration_since(sent));
        let read = redis::cmd("XREADGROUP")
            .arg(&[
                "GROUP",
                "wake",
                "worker-1",
                "COUNT",
                "10",
                "STREAMS",
                "wake-stream",
                ">",
            ])
            .query_async::<redis::streams::StreamReadReply>(&mut connection)
            .await
            .expect("XREADGROUP");
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert_eq!(
            recorder.scales().len(),
            2 * trial + 1,
            "pending is work: nobody scales down"
        );
        for entry in &read.keys[0].ids {
            redis::cmd("XACK")
                .arg(&["wake-stream", "wake", &entry.id])
                .exec_async(&mut connection)
                .await
                .expect("XACK");
        }
        eventually("back at zero", || recorder.scales().len() == 2 * trial + 2).await;
        assert_eq!(recorder.with(|seen| seen.scales[2 * trial + 1].1), 0);
        // The status of rest is written in the same round that puts the group back under watch.
        eventually("status", || {
            recorder.with(|seen| seen.status["wake"].replicas == Some(0))
        })
        .await;
    }
    latencies.sort();
    println!(
        "one message to scale write, {} trials: median {:?}, worst {:?}",
        latencies.len(),
        latencies[10],
        latencies[19]
    );
    assert!(
        latencies[10] < Duration::from_millis(500),
        "a polling period would show: {latencies:?}"
    );
    let actions = recorder.with(|seen| seen.notices[1].1.clone());
    assert_eq!(actions.action, "ScaleFrom0To1");
    assert!(
        actions.note.contains("from 0 to 1: there is work; backlog 1"),
        "{}",
        actions.note
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_target_the_backlog_is_still_shown_and_its_arrival_is_acted_on() {
    let redis = redis().await;
    add(&mut connect(&redis).await, "early-stream").await;
    let recorder = Recorder::default();
    let there = assignment(plan(redis.port(), "early", |_| {}), 0);
    let missing = Assignment {
        target: None,
        ..there.clone()
    };
    let running = start(&recorder, [missing], anywhere());
    eventually("reported", || {
        recorder.condition("early", condition::ABLE_TO_SCALE) == Some(("False".to_owned(), "TargetNotFound".to_owned()))
    })
    .await;
    assert_eq!(recorder.with(|seen| seen.status["early"].backlog), Some(1));
    running
        .assignments
        .send_replace(Arc::new([(there.subject.key.clone(), there)].into()));
    eventually("scaled", || recorder.scales() == [("early-worker".to_owned(), 1)]).await;
    eventually("ready", || recorder.is_ready("early")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_write_is_told_once_and_tried_again() {
    let redis = redis().await;
    add(&mut connect(&redis).await, "refused-stream").await;
    let recorder = Recorder::default();
    recorder.with(|seen| seen.refuse = Some(Failure::Refused(403)));
    let _running = start(
        &recorder,
        [assignment(plan(redis.port(), "refused", |_| {}), 0)],
        anywhere(),
    );
    eventually("reported", || {
        recorder.condition("refused", condition::ABLE_TO_SCALE)
            == Some(("False".to_owned(), "FailedRescale".to_owned()))
    })
    .await;
    recorder.with(|seen| seen.refuse = None);
    eventually("scaled", || recorder.scales() == [("refused-worker".to_owned(), 1)]).await;
    eventually("ready", || recorder.is_ready("refused")).await;
    assert_eq!(
        recorder
            .reasons()
            .iter()
            .filter(|reason| **reason == "FailedRescale")
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_over_when_nothing_is_left_to_write() {
    let redis = redis().await;
    add(&mut connect(&redis).await, "settled-stream").await;
    let recorder = Recorder::default();
    recorder.with(|seen| seen.refuse = Some(Failure::Refused(403)));
    let asleep = assignment(plan(redis.port(), "settled", |_| {}), 0);
    let running = start(&recorder, [asleep.clone()], anywhere());
    let able = || recorder.condition("settled", condition::ABLE_TO_SCALE);
    eventually("refused", || {
        able() == Some(("False".to_owned(), "FailedRescale".to_owned()))
    })
    .await;
    // Somebody else gave it the replica that it needs.
    let awake = assignment(asleep.plan, 1);
    running
        .assignments
        .send_replace(Arc::new([(awake.subject.key.clone(), awake)].into()));
    eventually("able again", || able().is_some_and(|(status, _)| status == "True")).await;
    assert_eq!(recorder.scales(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_hangs_holds_back_nobody_else_and_is_not_repeated() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    let recorder = Recorder::default();
    recorder.with(|seen| seen.silent.insert("hanging-worker".to_owned()));
    let groups = ["hanging", "lively"].map(|name| assignment(plan(redis.port(), name, |_| {}), 0));
    let _running = start(&recorder, groups, anywhere());
    eventually("ready", || recorder.is_ready("hanging") && recorder.is_ready("lively")).await;
    let samples = async || statistic(&mut connect(&redis).await, "cmdstat_evalsha_ro").await;
    add(&mut connection, "hanging-stream").await;
    let before = samples().await;
    // It is sampled and decided on while its write hangs.
    let deadline = Instant::now() + Duration::from_mins(1);
    while samples().await < before + 5 {
        assert!(Instant::now() < deadline, "no samples beside a write that hangs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    add(&mut connection, "lively-stream").await;
    eventually("the other one woken", || {
        recorder.scales() == [("lively-worker".to_owned(), 1)]
    })
    .await;
}
