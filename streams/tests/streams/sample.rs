//! Samples of states that were hard once, each against what is true by construction.

use crate::support::{as_user, command, execute, redis, redis_with_users};
use shopwright_streams::sample::{Known, Sample, Source, Target, sample, sample_all};
use shopwright_streams::{Class, Shared};

async fn known(shared: &Shared, cap: u32) -> Known {
    match sample(
        shared,
        Target {
            key: "s",
            group: "g",
            cap,
        },
    )
    .await
    .unwrap()
    {
        Sample::Known(known) => known,
        other => panic!("{other:?}"),
    }
}

async fn add(shared: &Shared, ids: std::ops::RangeInclusive<u32>) {
    for id in ids {
        execute(shared, &format!("XADD s {id}-0 a 1")).await;
    }
}

async fn read(shared: &Shared, count: u32) {
    execute(shared, &format!("XREADGROUP GROUP g c COUNT {count} STREAMS s >")).await;
}

#[tokio::test]
async fn what_is_not_there_is_a_state_and_not_a_number() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    let target = Target {
        key: "s",
        group: "g",
        cap: 10,
    };
    assert_eq!(sample(&shared, target).await.unwrap(), Sample::NoStream);
    execute(&shared, "SET s text").await;
    assert_eq!(sample(&shared, target).await.unwrap(), Sample::WrongType);
    execute(&shared, "DEL s").await;
    add(&shared, 1..=3).await;
    let expected = Sample::NoGroup {
        length: 3,
        last_generated: "3-0".parse().unwrap(),
        entries_added: 3,
    };
    assert_eq!(sample(&shared, target).await.unwrap(), expected);
}

#[tokio::test]
async fn an_unreachable_redis_is_an_error() {
    let (mut stack, client) = redis().await;
    stack.kill().unwrap();
    let target = Target {
        key: "s",
        group: "g",
        cap: 10,
    };
    assert_eq!(
        sample(&client.shared(), target).await.unwrap_err().class(),
        Class::Unreachable
    );
    assert_eq!(
        sample_all(&client.shared(), &[target]).await.unwrap_err().class(),
        Class::Unreachable
    );
}

#[tokio::test]
async fn one_failing_sample_leaves_the_others_whole() {
    let (stack, client) = redis_with_users(&[("operator", crate::group::OPERATOR)]).await;
    execute(&client.shared(), "XGROUP CREATE s1 g 0 MKSTREAM").await;
    execute(&client.shared(), "XADD s1 * a 1").await;
    let operator = as_user(&stack, "operator").shared();
    let target = |key| Target {
        key,
        group: "g",
        cap: 10,
    };
    let samples = sample_all(&operator, &[target("s1"), target("forbidden"), target("s2")])
        .await
        .unwrap();
    assert!(matches!(samples[0], Ok(Sample::Known(known)) if known.backlog() == 1));
    assert_eq!(samples[1].unwrap_err().code(), Some("NOPERM"));
    assert_eq!(samples[2], Ok(Sample::NoStream));
}

#[tokio::test]
async fn each_source_is_used_where_it_is_cheap() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    assert_eq!(known(&shared, 2).await.undelivered.source, Source::Tail);
    add(&shared, 1..=20).await;
    let at = async |cap| {
        let undelivered = known(&shared, cap).await.undelivered;
        (undelivered.count, undelivered.source)
    };
    assert_eq!(at(2).await, (20, Source::Head));
    read(&shared, 2).await;
    assert_eq!(at(2).await, (18, Source::CountedLeft));
    assert_eq!(at(18).await, (18, Source::CountedRight));
    read(&shared, 8).await;
    let (estimate, source) = at(2).await;
    assert_eq!(source, Source::Estimated);
    assert!((3..=17).contains(&estimate), "{estimate}");
    read(&shared, 9).await;
    assert_eq!(at(2).await, (1, Source::CountedRight));
    read(&shared, 9).await;
    assert_eq!(at(2).await, (0, Source::Tail));
    assert_eq!(known(&shared, 2).await.backlog(), 20);
}

#[tokio::test]
async fn a_capped_stream_comes_back_to_nothing_where_reported_lag_does_not() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, 1..=5).await;
    read(&shared, 1).await;
    execute(&shared, "XACK s g 1-0").await;
    execute(&shared, "XTRIM s MAXLEN = 1").await;
    assert_eq!(known(&shared, 10).await.undelivered.count, 1);
    read(&shared, 9).await;
    execute(&shared, "XACK s g 5-0").await;
    let known = known(&shared, 10).await;
    assert_eq!((known.backlog(), known.is_exact()), (0, true));
    assert_ne!(
        known.reported_lag,
        Some(0),
        "this Redis reports better than the one the rule was made for"
    );
}

#[tokio::test]
async fn ghosts_are_no_work_and_overlap_is_counted_once() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, 1..=6).await;
    read(&shared, 4).await;
    execute(&shared, "XDEL s 2-0").await;
    let sampled = known(&shared, 10).await;
    assert_eq!(
        (sampled.pending, sampled.ghosts, sampled.overlap, sampled.backlog()),
        (4, 1, 0, 5)
    );
    execute(&shared, "XGROUP SETID s g 1-0").await;
    let sampled = known(&shared, 10).await;
    assert_eq!((sampled.undelivered.count, sampled.ghosts, sampled.overlap), (4, 1, 2));
    assert_eq!(sampled.backlog(), 5);
    execute(&shared, "XTRIM s MAXLEN = 0").await;
    let sampled = known(&shared, 10).await;
    assert_eq!((sampled.pending, sampled.ghosts, sampled.backlog()), (4, 4, 0));
    assert!(sampled.is_exact());
}

#[tokio::test]
async fn sampling_writes_nothing() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, 1..=6).await;
    read(&shared, 4).await;
    let changes = async || -> u64 {
        let info: String = command(&shared, "INFO persistence").await.unwrap();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"))
            .unwrap();
        line.trim().parse().unwrap()
    };
    let before = changes().await;
    known(&shared, 1).await;
    known(&shared, 100).await;
    assert_eq!(changes().await, before);
}
