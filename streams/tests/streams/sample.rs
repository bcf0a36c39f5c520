//! Samples of states that were hard once, each against what is true by construction.

use crate::support::{as_user, command, execute, redis, redis_with_users};
use shopwright_streams::sample::{Known, Sample, Sampler, Source, Target, sample};
use shopwright_streams::{Class, Shared};

async fn known(shared: &Shared, cap: u32) -> Known {
    let target = Target {
        cap,
        ..Target::new("s", "g")
    };
    match sample(shared, target).await.unwrap() {
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
    let target = Target::new("s", "g");
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
    let target = Target::new("s", "g");
    assert_eq!(
        sample(&client.shared(), target).await.unwrap_err().class(),
        Class::Unreachable
    );
    assert_eq!(
        Sampler::new(client.shared())
            .sample_all(&[target])
            .await
            .unwrap_err()
            .class(),
        Class::Unreachable
    );
}

#[tokio::test]
async fn one_failing_sample_leaves_the_others_whole() {
    let (stack, client) = redis_with_users(&[("operator", crate::group::OPERATOR)]).await;
    execute(&client.shared(), "XGROUP CREATE s1 g 0 MKSTREAM").await;
    execute(&client.shared(), "XADD s1 * a 1").await;
    let operator = as_user(&stack, "operator").shared();
    let targets = ["s1", "forbidden", "s2"].map(|key| Target::new(key, "g"));
    let samples = Sampler::new(operator).sample_all(&targets).await.unwrap();
    assert!(matches!(&samples[0], Ok(Sample::Known(known)) if known.backlog() == 1));
    assert_eq!(samples[1].as_ref().unwrap_err().code(), Some("NOPERM"));
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
    println!("reported lag: {:?}", known.reported_lag);
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
        (
            sampled.pending.total,
            sampled.pending.ghosts,
            sampled.pending.overlap,
            sampled.backlog()
        ),
        (4, 1, 0, 5)
    );
    execute(&shared, "XGROUP SETID s g 1-0").await;
    let sampled = known(&shared, 10).await;
    assert_eq!(
        (
            sampled.undelivered.count,
            sampled.pending.ghosts,
            sampled.pending.overlap
        ),
        (4, 1, 2)
    );
    assert_eq!(sampled.backlog(), 5);
    execute(&shared, "XTRIM s MAXLEN = 0").await;
    let sampled = known(&shared, 10).await;
    assert_eq!(
        (sampled.pending.total, sampled.pending.ghosts, sampled.backlog()),
        (4, 4, 0)
    );
    assert!(sampled.is_exact());
}

/// A sampler with its memory, for the group `g` of the stream `s`.
struct Remembering(Sampler, u32);

impl Remembering {
    async fn undelivered(&mut self) -> (u64, Source) {
        let target = Target {
            cap: self.1,
            ..Target::new("s", "g")
        };
        match self.0.sample_all(&[target]).await.unwrap().pop().unwrap().unwrap() {
            Sample::Known(known) => (known.undelivered.count, known.undelivered.source),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_anchor_follows_the_group_and_the_stream() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, 1..=50).await;
    let mut sampler = Remembering(Sampler::new(shared.clone()), 4);
    read(&shared, 4).await;
    assert_eq!(sampler.undelivered().await, (46, Source::CountedLeft));
    for read_so_far in [8, 12, 16] {
        read(&shared, 4).await;
        assert_eq!(sampler.undelivered().await, (50 - read_so_far, Source::Anchor));
    }
    add(&shared, 51..=90).await;
    execute(&shared, "XTRIM s MAXLEN = 80").await;
    assert_eq!(sampler.undelivered().await, (74, Source::Anchor));
    // Set back, with a count that is a lie.
    execute(&shared, "XGROUP SETID s g 13-0 ENTRIESREAD 60").await;
    assert_eq!(sampler.undelivered().await, (77, Source::Anchor));
    // Further than may be counted at once: the anchor gets there in steps.
    read(&shared, 20).await;
    assert_eq!(sampler.undelivered().await.1, Source::Estimated);
    assert_eq!(sampler.undelivered().await, (57, Source::Anchor));
    // Something undelivered is deleted: nothing remembered holds.
    execute(&shared, "XDEL s 60-0").await;
    assert_eq!(sampler.undelivered().await.1, Source::Estimated);
    sampler.1 = 56;
    assert_eq!(sampler.undelivered().await, (56, Source::CountedRight));
    sampler.1 = 4;
    assert_eq!(sampler.undelivered().await, (56, Source::Anchor));
    sampler.0.forget("s", "g");
    assert_eq!(sampler.undelivered().await.1, Source::Estimated);
}

#[tokio::test]
async fn nothing_is_built_on_what_was_before_a_restart() {
    let (mut stack, client) = redis().await;
    let shared = client.shared().repeating();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, 1..=30).await;
    read(&shared, 10).await;
    execute(&shared, "SAVE").await;
    execute(&shared, "XDEL s 3-0").await;
    add(&shared, 31..=34).await;
    let mut sampler = Remembering(Sampler::new(shared.clone()), 9);
    assert_eq!(sampler.undelivered().await, (24, Source::CountedLeft));
    assert_eq!(sampler.undelivered().await, (24, Source::Anchor));
    stack.restart().unwrap();
    // Now all counters and the entries around the anchor are what they were, and yet one entry behind it is missing.
    execute(&shared, "XDEL s 20-0").await;
    add(&shared, 31..=34).await;
    assert_eq!(sampler.undelivered().await.1, Source::Estimated);
}

#[tokio::test]
async fn another_stream_under_the_same_name_is_noticed() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, 1..=30).await;
    read(&shared, 10).await;
    let mut sampler = Remembering(Sampler::new(shared.clone()), 10);
    assert_eq!(sampler.undelivered().await, (20, Source::CountedLeft));
    execute(&shared, "DEL s").await;
    add(&shared, 2..=10).await;
    add(&shared, 12..=33).await;
    execute(&shared, "XGROUP CREATE s g 10").await;
    assert_eq!(sampler.undelivered().await, (22, Source::CountedLeft));
}

#[tokio::test]
async fn pending_entries_are_told_apart() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, 1..=9).await;
    read(&shared, 8).await;
    for words in [
        // Left alone for two minutes; delivered too often; exactly often enough, in work and left alone.
        "XCLAIM s g c 0 1-0 IDLE 120000",
        "XCLAIM s g d 0 2-0 RETRYCOUNT 6",
        "XCLAIM s g d 0 3-0 RETRYCOUNT 5",
        "XCLAIM s g d 0 4-0 RETRYCOUNT 5 IDLE 120000",
        // A ghost and two that will come once more, all of them spent.
        "XCLAIM s g d 0 5-0 7-0 8-0 RETRYCOUNT 9",
        "XDEL s 5-0",
        "XGROUP SETID s g 6-0",
    ] {
        execute(&shared, words).await;
    }
    let target = Target {
        max_deliveries: 5,
        ..Target::new("s", "g")
    };
    let Sample::Known(known) = sample(&shared, target).await.unwrap() else {
        panic!("no figures")
    };
    let pending = known.pending;
    assert_eq!((pending.total, pending.ghosts, pending.overlap), (8, 1, 2));
    let detail = pending.detail.unwrap();
    assert_eq!((detail.poison, detail.stalled, detail.exact), (2, 1, true));
    assert!(detail.oldest_idle >= target.claim_min_idle * 2);
    // 1, 3, 6, 7, 8 and 9.
    assert_eq!((known.backlog(), known.is_exact()), (6, true));
    let held = known.consumers.iter().map(|share| {
        let detail = share.detail.unwrap();
        (share.name.as_str(), share.pending, detail.poison, detail.stalled)
    });
    assert_eq!(held.collect::<Vec<_>>(), [("c", 2, 0, 1), ("d", 6, 2, 0)]);
}

#[tokio::test]
async fn many_pending_entries_are_looked_at_when_asked() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, 1..=300).await;
    read(&shared, 300).await;
    execute(&shared, "XCLAIM s g c 0 200-0 IDLE 120000").await;
    let look = async |cap, detail| {
        let target = Target {
            cap,
            detail,
            ..Target::new("s", "g")
        };
        match sample(&shared, target).await.unwrap() {
            Sample::Known(known) => known.pending.detail.map(|detail| (detail.stalled, detail.exact)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(look(1000, false).await, None);
    assert_eq!(look(10, true).await, Some((0, false)));
    assert_eq!(look(1000, true).await, Some((1, true)));
}

#[tokio::test]
async fn the_documented_rights_are_enough_and_a_forgotten_script_is_sent_again() {
    let rights = "~s resetchannels +ping +eval_ro +evalsha_ro +xinfo|stream +xinfo|groups +xrange +xrevrange +xpending";
    let (stack, client) = redis_with_users(&[("sampler", rights)]).await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, 1..=9).await;
    read(&shared, 3).await;
    execute(&shared, "XDEL s 2-0").await;
    let mut sampler = Remembering(Sampler::new(as_user(&stack, "sampler").shared()), 2);
    assert_eq!(sampler.undelivered().await, (6, Source::CountedLeft));
    execute(&shared, "SCRIPT FLUSH").await;
    assert_eq!(sampler.undelivered().await, (6, Source::Anchor));
    let log: Vec<redis::Value> = command(&shared, "ACL LOG").await.unwrap();
    assert!(log.is_empty(), "{log:?}");
}

#[tokio::test]
async fn numbers_too_large_for_lua_are_counted_afresh() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, 1..=9).await;
    read(&shared, 3).await;
    let mut sampler = Remembering(Sampler::new(shared.clone()), 3);
    assert_eq!(sampler.undelivered().await, (6, Source::CountedLeft));
    execute(&shared, "XSETID s 9-0 ENTRIESADDED 9007199254740993").await;
    for _ in 0..2 {
        assert_eq!(sampler.undelivered().await, (6, Source::CountedLeft));
    }
    execute(&shared, "XADD s 18446744073709551615-18446744073709551614 a 1").await;
    assert_eq!(sampler.undelivered().await, (7, Source::CountedLeft));
    execute(&shared, "XADD s 18446744073709551615-18446744073709551615 a 1").await;
    assert_eq!(sampler.undelivered().await, (8, Source::CountedLeft));
    read(&shared, 100).await;
    assert_eq!(sampler.undelivered().await, (0, Source::Tail));
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
