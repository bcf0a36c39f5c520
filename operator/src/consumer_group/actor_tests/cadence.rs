//! How often Redis is asked, and how many connections that takes.

use super::*;

fn many(port: u16, count: usize, replicas: u32) -> Vec<Assignment> {
    (0..count)
        .map(|number| assignment(plan(port, &format!("group-{number}"), |_| {}), replicas))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_groups_at_rest_cost_a_handful_of_connections_and_the_last_wakes_like_the_first() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    let recorder = Recorder::default();
    let before = statistic(&mut connection, "total_connections_received").await;
    let _running = start(&recorder, many(redis.port(), 500, 0), anywhere());
    eventually("all ready", || {
        (0..500).all(|number| recorder.is_ready(&format!("group-{number}")))
    })
    .await;
    let mut latencies = Vec::new();
    for number in [499, 250, 0, 77, 301] {
        let sent = Instant::now();
        add(&mut connection, &format!("group-{number}-stream")).await;
        let woken = latencies.len();
        eventually("woken", || recorder.scales().len() > woken).await;
        latencies.push(sent.elapsed());
    }
    let dialled = statistic(&mut connection, "total_connections_received").await - before;
    println!("500 groups at rest: {dialled} connections in all; one message to scale write {latencies:?}");
    assert!(dialled <= 25, "{dialled} connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_with_replicas_and_nothing_to_do_share_their_samples() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    let recorder = Recorder::default();
    let stop = CancellationToken::new();
    let mut with = surroundings(&recorder, anywhere(), Arc::new(|_| false), stop.clone());
    with.settings = Settings::default();
    let groups = many(redis.port(), 50, 1);
    let _running = start_with(with, groups, stop);
    eventually("ready", || recorder.is_ready("group-49")).await;
    // Anything that wrote status is over, and the cadence has slowed down.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let calls = async |connection: &mut redis::aio::MultiplexedConnection| {
        statistic(connection, "cmdstat_evalsha_ro").await + statistic(connection, "cmdstat_eval_ro").await
    };
    let (before, status) = (calls(&mut connection).await, recorder.with(|seen| seen.status_writes));
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let samples = calls(&mut connection).await - before;
    let elapsed = began.elapsed();
    println!("50 idle groups with a replica: {samples} samples in {elapsed:?}");
    // A busy machine may have slept longer than it was asked to.
    assert!(
        samples <= 50 * elapsed.as_secs(),
        "no more than one a second each: {samples} in {elapsed:?}"
    );
    assert!(samples > 0, "and not none");
    let written = recorder.with(|seen| seen.status_writes) - status;
    assert!(written <= 50, "status: {written} writes");
}
