//! The worker of `examples/consumer-group` as a process against a real Redis, under the access rules that the guide gives it.

#![expect(clippy::unwrap_used, reason = "a step that fails is the test that fails")]

use redis::{Commands as _, Connection};
use rustix::process::{Pid, Signal, kill_process};
use shopwright_cluster::{images, workspace_dir};
use shopwright_redis_stack::{Options, RedisStack};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

const STREAM: &str = "letters";
const GROUP: &str = "readers";
const EFFECTS: &str = "letters:effects";
const PATIENCE: Duration = Duration::from_secs(120);

/// A Redis whose only user beside the test's own is the guide's `worker`.
struct Ground {
    binary: PathBuf,
    password: String,
    stack: RedisStack,
    redis: Connection,
}

impl Ground {
    /// `None`, with the reason said, where no Go is.
    fn new() -> Option<Self> {
        if Command::new("go").arg("version").output().is_err() {
            println!("left out: the example's worker is written in Go, and there is no go here");
            return None;
        }
        let guide = fs::read_to_string(workspace_dir().join("docs/consumer-groups.md")).unwrap();
        let acl = guide.lines().find(|line| line.starts_with("user worker ")).unwrap();
        let password = acl.split(' ').find_map(|word| word.strip_prefix('>')).unwrap();
        let stack = RedisStack::start(Options {
            acl: vec!["user default off".into(), acl.to_owned()],
            ..Options::plain()
        })
        .unwrap();
        Some(Self {
            binary: images::example_worker_binary().unwrap(),
            password: password.to_owned(),
            redis: stack.client().unwrap().get_connection().unwrap(),
            stack,
        })
    }

    fn with_group() -> Option<Self> {
        let mut ground = Self::new()?;
        ground.create_group();
        Some(ground)
    }

    fn create_group(&mut self) {
        let () = self.redis.xgroup_create_mkstream(STREAM, GROUP, "0").unwrap();
    }

    fn add(&mut self, count: usize) -> Vec<String> {
        (0..count)
            .map(|number| self.redis.xadd(STREAM, "*", &[("text", number)]).unwrap())
            .collect()
    }

    fn worker(&self, name: &str, environment: &[(&str, &str)]) -> Worker {
        let child = Command::new(&self.binary)
            .env_clear()
            .env("REDIS_HOST", self.stack.host())
            .env("REDIS_PORT", self.stack.port().to_string())
            .env("REDIS_USERNAME", "worker")
            .env("REDIS_PASSWORD", &self.password)
            .envs([("STREAM", STREAM), ("GROUP", GROUP), ("EFFECTS_KEY", EFFECTS)])
            .env("POD_NAME", name)
            .envs(environment.iter().copied())
            .spawn()
            .unwrap();
        Worker(child)
    }

    /// Entry -> how often it was handled.
    fn effects(&mut self) -> BTreeMap<String, u32> {
        self.redis.hgetall(EFFECTS).unwrap()
    }

    /// Id, owner, idle milliseconds and deliveries of each pending entry.
    fn pending(&mut self) -> Vec<(String, String, u64, u64)> {
        self.redis.xpending_count(STREAM, GROUP, "-", "+", 1000).unwrap()
    }

    fn consumers(&mut self) -> Vec<String> {
        let consumers: Vec<BTreeMap<String, redis::Value>> = redis::cmd("XINFO")
            .arg("CONSUMERS")
            .arg(STREAM)
            .arg(GROUP)
            .query(&mut self.redis)
            .unwrap();
        consumers
            .into_iter()
            .map(|mut consumer| redis::from_redis_value(consumer.remove("name").unwrap()).unwrap())
            .collect()
    }

    /// Waits until `condition` holds.
    fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn until_handled(&mut self, entries: &[String]) {
        let expected: BTreeMap<String, u32> = entries.iter().map(|id| (id.clone(), 1)).collect();
        self.until("each handled, nothing pending", |ground| {
            ground.effects().len() == expected.len() && ground.pending().is_empty()
        });
        assert_eq!(self.effects(), expected);
    }
}

/// A running worker, killed when dropped.
struct Worker(Child);

impl Worker {
    fn terminate(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end after SIGTERM");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that has ended already is as dead as asked for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_takes_up_what_its_name_left_and_acknowledges_deleted_entries() {
    let Some(mut ground) = Ground::with_group() else { return };
    let mut entries = ground.add(20);
    // An earlier process of this name took three and died; one of them has been deleted since.
    let _: redis::Value = redis::cmd("XREADGROUP")
        .arg(&["GROUP", GROUP, "pod-a", "COUNT", "3", "STREAMS", STREAM, ">"])
        .query(&mut ground.redis)
        .unwrap();
    let () = ground.redis.xdel(STREAM, &[entries.remove(1)]).unwrap();
    let worker = ground.worker("pod-a", &[("CONCURRENCY", "4"), ("WORK_MILLISECONDS", "1")]);
    ground.until_handled(&entries);
    assert!(worker.terminate().success());
    assert_eq!(
        ground.consumers(),
        Vec::<String>::new(),
        "it held nothing, so its name goes with it"
    );
}

#[test]
fn a_peer_handles_what_a_killed_worker_held() {
    let Some(mut ground) = Ground::with_group() else { return };
    let entries = ground.add(5);
    let killed = ground.worker("pod-a", &[("CONCURRENCY", "3"), ("WORK_MILLISECONDS", "600000")]);
    ground.until("three in hand", |ground| ground.pending().len() == 3);
    drop(killed);
    let _peer = ground.worker("pod-b", &[("CLAIM_MIN_IDLE_SECONDS", "1"), ("WORK_MILLISECONDS", "1")]);
    ground.until_handled(&entries);
    assert!(
        ground.consumers().contains(&"pod-a".to_owned()),
        "a name is not another worker's to delete"
    );
}

#[test]
fn long_work_is_renewed_and_handed_on_at_the_end_of_the_drain_time() {
    let Some(mut ground) = Ground::with_group() else { return };
    let entries = ground.add(1);
    let slow = [
        ("CLAIM_MIN_IDLE_SECONDS", "3"),
        ("WORK_MILLISECONDS", "600000"),
        ("DRAIN_SECONDS", "1"),
    ];
    let worker = ground.worker("pod-a", &slow);
    ground.until("in hand", |ground| ground.pending().len() == 1);
    let mut longest = 0;
    ground.until("renewed", |ground| {
        let (_, _, idle, deliveries) = ground.pending().remove(0);
        assert_eq!(deliveries, 1, "a renewal is no delivery");
        longest = longest.max(idle);
        idle < longest
    });
    assert!(worker.terminate().success());
    let (id, owner, idle, deliveries) = ground.pending().remove(0);
    assert_eq!((&id, owner.as_str(), deliveries), (&entries[0], "pod-a", 0));
    assert!(idle >= 3_600_000, "{idle}");
    // Claimable at once, so the peer's own long claim time does not matter.
    let _peer = ground.worker(
        "pod-b",
        &[("CLAIM_MIN_IDLE_SECONDS", "3000"), ("WORK_MILLISECONDS", "1")],
    );
    ground.until_handled(&entries);
}

#[test]
fn asked_to_stop_it_finishes_what_it_holds_and_takes_no_more() {
    let Some(mut ground) = Ground::with_group() else { return };
    let entries = ground.add(200);
    let worker = ground.worker("pod-a", &[("CONCURRENCY", "2"), ("WORK_MILLISECONDS", "500")]);
    ground.until("two in hand", |ground| ground.pending().len() == 2);
    assert!(worker.terminate().success());
    assert!(ground.pending().is_empty(), "nothing is left in nobody's hands");
    let handled = ground.effects();
    assert!(handled.len() >= 2 && handled.len() < entries.len(), "{}", handled.len());
    let _peer = ground.worker("pod-b", &[("CONCURRENCY", "8"), ("WORK_MILLISECONDS", "1")]);
    ground.until_handled(&entries);
}

#[test]
fn it_outlives_a_missing_and_a_lost_group() {
    let Some(mut ground) = Ground::new() else { return };
    let mut worker = ground.worker("pod-a", &[("WORK_MILLISECONDS", "1")]);
    thread::sleep(Duration::from_millis(500));
    ground.create_group();
    let entries = ground.add(3);
    ground.until_handled(&entries);
    let () = redis::cmd("FLUSHALL").query(&mut ground.redis).unwrap();
    ground.create_group();
    let entries = ground.add(3);
    ground.until_handled(&entries);
    assert!(worker.is_running());
}

#[test]
fn an_entry_delivered_too_often_is_passed_over() {
    let Some(mut ground) = Ground::with_group() else { return };
    let mut entries = ground.add(2);
    // The first was delivered five times to a worker that died of it each time.
    let _: redis::Value = redis::cmd("XREADGROUP")
        .arg(&["GROUP", GROUP, "pod-dead", "COUNT", "1", "STREAMS", STREAM, ">"])
        .query(&mut ground.redis)
        .unwrap();
    let poison = entries.remove(0);
    let _: redis::Value = redis::cmd("XCLAIM")
        .arg(&[STREAM, GROUP, "pod-dead", "0", &poison])
        .arg(&["IDLE", "3600000", "RETRYCOUNT", "5", "JUSTID"])
        .query(&mut ground.redis)
        .unwrap();
    let _worker = ground.worker("pod-a", &[("WORK_MILLISECONDS", "1")]);
    ground.until("claimed and counted", |ground| {
        ground
            .pending()
            .first()
            .is_some_and(|(_, owner, _, count)| owner == "pod-a" && *count == 6)
    });
    ground.until("the other is handled", |ground| ground.effects().len() == 1);
    ground.until("only the poison is pending", |ground| ground.pending().len() == 1);
    assert_eq!(ground.effects().into_keys().collect::<Vec<_>>(), entries);
}
