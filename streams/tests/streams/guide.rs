//! What `docs/consumer-groups.md` tells people to paste is what the code needs: neither less nor more.

use crate::support::{add, command, endpoint, execute, pending, redis, within};
use shopwright_redis_stack::{Options, RedisStack};
use shopwright_streams::connection::Mode;
use shopwright_streams::sample::{self, Sample, Sampler, Source, Target};
use shopwright_streams::watch::{Event, Settings, Watch, Watcher};
use shopwright_streams::{
    Class, Client, EntryId, Error, Secret, Shared, consumer, dead_letter, group, hand_over, trim,
};
use std::time::Duration;

const KEY: &str = "letters";
const GROUP: &str = "readers";

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The line of the guide that makes `user`.
fn line(user: &str) -> String {
    let guide = file("docs/consumer-groups.md");
    let start = format!("user {user} ");
    let mut lines = guide.lines().filter(|line| line.starts_with(&start));
    let line = lines.next().unwrap().to_owned();
    assert_eq!(lines.next(), None, "one line for {user}");
    line
}

async fn redis_of_the_guide() -> (RedisStack, Shared, Client) {
    let line = line("operator");
    let password = line.split(' ').find_map(|word| word.strip_prefix('>')).unwrap();
    let options = Options {
        acl: vec!["user default off".into(), line.clone()],
        ..Options::plain()
    };
    let stack = RedisStack::start_async(options).await.unwrap();
    let operator = Client::new(endpoint(&stack).with_user("operator", Secret::new(password)));
    let (user, password) = stack.harness().unwrap();
    let all = Client::new(endpoint(&stack).with_user(user, Secret::new(password)));
    (stack, all.shared(), operator)
}

/// The life of a group as the operator leads it, from a key that is not there to a trimmed stream.
async fn life_of_a_group(all: &Shared, client: &Client) -> Result<(), Error> {
    let shared = client.shared();
    let (seconds, other) = (Duration::from_secs(60), "probe");
    execute(all, "FLUSHALL").await;
    // As on the first day: otherwise the right to send the sample's script whole would not be needed.
    execute(all, "SCRIPT FLUSH").await;
    client.ping().await?;
    assert_eq!(client.mode().await?, Mode::Standalone);
    let mut sampler = Sampler::new(shared.clone());
    let target = Target {
        max_deliveries: 5,
        ..Target::new(KEY, GROUP)
    };
    assert_eq!(sampler.sample_all(&[target]).await?.remove(0)?, Sample::NoStream);
    assert!(
        group::ensure(&shared, KEY, GROUP, group::StartFrom::Beginning)
            .await?
            .created
    );
    assert!(group::ensure(&shared, KEY, other, group::StartFrom::End).await?.created);

    let (watcher, mut events) = Watcher::start(client.clone(), Settings::default());
    watcher.watch(
        (),
        Watch {
            key: KEY.to_owned(),
            after: EntryId::ZERO,
        },
    );
    for number in 0..8 {
        add(all, KEY, number).await;
    }
    match within("a wake", events.recv()).await.unwrap() {
        Event::Woken(()) => {}
        Event::Refused((), error) | Event::Lost(error) => return Err(error),
        Event::Restored => unreachable!("it was never lost"),
    }
    execute(all, &format!("XREADGROUP GROUP {GROUP} pod-a COUNT 2 STREAMS {KEY} >")).await;
    execute(all, &format!("XREADGROUP GROUP {GROUP} pod-b COUNT 1 STREAMS {KEY} >")).await;
    let Sample::Known(known) = sampler.sample_all(&[target]).await?.remove(0)? else {
        unreachable!("the group is there")
    };
    assert_eq!(
        (known.undelivered.count, known.pending.total, known.backlog()),
        (5, 3, 8)
    );
    // Beyond the cap on both sides, where all of the script is used.
    let capped = Target { cap: 1, ..target };
    let Sample::Known(known) = sample::sample(&shared, capped).await? else {
        unreachable!("the group is there")
    };
    assert_eq!(known.undelivered.source, Source::Estimated);

    let unknown_lag = format!("XGROUP SETID {KEY} {other} {}", known.last_delivered);
    execute(all, &unknown_lag).await;
    assert!(group::repair(&shared, KEY, other).await?);

    assert_eq!(
        hand_over::of(&shared, KEY, GROUP, "pod-a", seconds, 100).await?.entries,
        2
    );
    let poison: (usize, String, String, redis::Value) = command(all, &format!("XPENDING {KEY} {GROUP}")).await.unwrap();
    execute(
        all,
        &format!(
            "XCLAIM {KEY} {GROUP} pod-b 0 {} RETRYCOUNT 9 IDLE 90000 JUSTID",
            poison.2
        ),
    )
    .await;
    let any = dead_letter::Owners::Any;
    assert_eq!(
        dead_letter::bury_left(&shared, KEY, GROUP, any, seconds, 5, 100).await?,
        1
    );
    let dead = dead_letter::key(KEY, GROUP);
    assert_eq!(dead_letter::count(&shared, &dead).await?, 1);
    let deleted = consumer::delete_if_idle(&shared, KEY, GROUP, "pod-b").await?;
    assert_eq!(deleted, consumer::Deleted::Yes);

    let trimmed = trim::behind(&shared, KEY, &[GROUP], Duration::ZERO).await?;
    assert_eq!(
        trimmed,
        trim::Trimmed::Blocked {
            group: other.to_owned(),
            others: 0
        }
    );
    trim::behind(&shared, KEY, &[GROUP, other], Duration::ZERO).await?;
    Ok(())
}

#[tokio::test]
async fn the_guides_line_is_enough_and_each_right_in_it_is_needed() {
    let (_stack, all, operator) = redis_of_the_guide().await;
    life_of_a_group(&all, &operator).await.unwrap();
    let line = line("operator");
    let (rights, _selector) = line.split_once('(').unwrap();
    for right in rights.split_whitespace().filter_map(|word| word.strip_prefix('+')) {
        execute(&all, &format!("ACL SETUSER operator -{right}")).await;
        let refused = life_of_a_group(&all, &operator).await.expect_err(right);
        assert_eq!(refused.class(), Class::Denied, "{right}: {refused}");
        execute(&all, &format!("ACL SETUSER operator +{right}")).await;
    }
    execute(&all, "ACL SETUSER operator clearselectors").await;
    life_of_a_group(&all, &operator).await.unwrap_err();
}

#[tokio::test]
async fn the_guides_line_lets_nobody_forge_read_through_the_group_or_leave_the_stream() {
    let (_stack, all, operator) = redis_of_the_guide().await;
    let shared = operator.shared();
    for refused in [
        "XADD letters * text forged",
        "EVAL return(redis.call('XADD',KEYS[1],'*','a','b')) 1 letters",
        "XREADGROUP GROUP readers operator STREAMS letters >",
        "XDEL letters 1-1",
        "XGROUP DESTROY letters readers",
        "DEL letters",
        "GET others",
        "XADD others * a b",
        "XINFO STREAM others",
        "INFO",
        "KEYS *",
        "FLUSHALL",
        "CONFIG GET dir",
    ] {
        let error = command::<redis::Value>(&shared, refused).await.expect_err(refused);
        assert_eq!(Error::from(error).class(), Class::Denied, "{refused}");
    }
    drop(all);
}

#[test]
fn the_example_has_the_guides_users() {
    let example = file("examples/consumer-group/redis.yaml");
    for user in ["operator", "worker"] {
        assert!(example.lines().any(|other| other.trim() == line(user)), "{user}");
    }
}

#[tokio::test]
async fn the_guides_replay_puts_a_dead_letter_back_as_it_was() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE letters readers 0 MKSTREAM").await;
    execute(&shared, "XADD letters * text hello text again").await;
    execute(&shared, "XREADGROUP GROUP readers pod-a STREAMS letters >").await;
    let (_, first, ..): (usize, String, redis::Value, redis::Value) =
        command(&shared, "XPENDING letters readers").await.unwrap();
    let id: EntryId = first.parse().unwrap();
    dead_letter::bury(&shared, KEY, GROUP, "pod-a", id, "malformed")
        .await
        .unwrap();
    assert_eq!(pending(&shared, KEY, GROUP).await, 0);
    let dead = dead_letter::key(KEY, GROUP);
    let letter = dead_letter::list(&shared, &dead, EntryId::ZERO, 10)
        .await
        .unwrap()
        .remove(0);
    let script = file("examples/consumer-group/replay.lua");
    for expected in [1, 0] {
        let answer: u32 = redis::cmd("EVAL")
            .arg(&script)
            .arg(&["2", KEY, &dead, &letter.id.to_string()])
            .query_async(&mut shared.clone())
            .await
            .unwrap();
        assert_eq!(answer, expected);
    }
    assert_eq!(dead_letter::count(&shared, &dead).await.unwrap(), 0);
    let entries: Vec<(String, Vec<String>)> = command(&shared, "XRANGE letters - +").await.unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1].1, ["text", "hello", "text", "again"]);
}
