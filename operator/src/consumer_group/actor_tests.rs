//! An actor against a real Redis, with a cluster that only records. Deadlines are generous; nothing is proven by
//! a pause being long enough, except that nothing happened during it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use shopwright_api::{ConsumerGroupStatus, condition};
use shopwright_redis_stack::{Options, RedisStack};
use shopwright_streams::{Secret, connection::Vet};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    actor::{Actor, Settings, Surroundings},
    address,
    assign::{Assignment, Assignments, Subject},
    cluster::{Cluster, Credentials, Failure, Notice, Written},
    gather::SeenTarget,
    identity::{Clock, EndpointKey, ObjectKey},
    publish::{self, Publisher},
    status::Unknown,
    validate::{Plan, tests::spec, validate},
};
use crate::{
    lease::{Leadership, WriteToken},
    metrics::Metrics,
};

#[derive(Default)]
struct Recorded {
    scales: Vec<(String, u32, Instant)>,
    status: BTreeMap<String, ConsumerGroupStatus>,
    status_writes: usize,
    notices: Vec<(String, Notice)>,
    password: Option<String>,
    secret_reads: usize,
    refuse: Option<Failure>,
}

#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Recorded>>);

impl Recorder {
    fn with<Answer>(&self, look: impl FnOnce(&mut Recorded) -> Answer) -> Answer {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn scales(&self) -> Vec<(String, u32)> {
        self.with(|seen| {
            seen.scales
                .iter()
                .map(|(target, replicas, _)| (target.clone(), *replicas))
                .collect()
        })
    }

    fn reasons(&self) -> Vec<&'static str> {
        self.with(|seen| seen.notices.iter().map(|(_, notice)| notice.reason).collect())
    }

    /// (status, reason) of a condition.
    fn condition(&self, name: &str, kind: &str) -> Option<(String, String)> {
        self.with(|seen| {
            let condition = condition::find(&seen.status.get(name)?.conditions, kind)?;
            Some((condition.status.clone(), condition.reason.clone()))
        })
    }

    fn is_ready(&self, name: &str) -> bool {
        self.condition(name, condition::READY)
            .is_some_and(|(status, _)| status == "True")
    }
}

impl Cluster for Recorder {
    async fn scale(&self, token: &WriteToken, target: &ObjectKey, replicas: u32) -> Result<Written, Failure> {
        token.check().map_err(|_| Failure::NotLeader)?;
        self.with(|seen| {
            if let Some(failure) = seen.refuse {
                return Err(failure);
            }
            seen.scales.push((target.name.clone(), replicas, Instant::now()));
            Ok(Written {
                replicas,
                version: Some(1_000),
            })
        })
    }

    async fn write_status(
        &self,
        _: &WriteToken,
        subject: &Subject,
        status: &ConsumerGroupStatus,
    ) -> Result<(), Failure> {
        self.with(|seen| {
            seen.status_writes += 1;
            seen.status.insert(subject.key.name.clone(), status.clone());
        });
        Ok(())
    }

    async fn credentials(&self, _: &ObjectKey) -> Result<Credentials, Unknown> {
        self.with(|seen| {
            seen.secret_reads += 1;
            let password = seen.password.clone().ok_or(Unknown::SecretNotFound)?;
            Ok(Credentials {
                username: None,
                password: Secret::new(password),
            })
        })
    }

    fn tell(&self, subject: &Subject, notice: Notice) {
        self.with(|seen| seen.notices.push((subject.key.name.clone(), notice)));
    }
}

struct Running {
    assignments: watch::Sender<Arc<Assignments>>,
    stop: CancellationToken,
    actor: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.actor.abort();
    }
}

pub(super) fn plan(port: u16, group: &str, change: impl FnOnce(&mut shopwright_api::ConsumerGroupSpec)) -> Plan {
    let mut spec = spec();
    spec.redis.host = "127.0.0.1".to_owned();
    spec.redis.port = port;
    spec.redis.secret_ref = None;
    spec.streams[0].key = format!("{group}-stream");
    spec.group = group.to_owned();
    spec.scale_target_ref.name = format!("{group}-worker");
    change(&mut spec);
    validate("shop", &spec).expect("a valid spec")
}

pub(super) fn assignment(plan: Plan, replicas: u32) -> Assignment {
    let name = plan.group.clone();
    Assignment {
        subject: Subject {
            key: ObjectKey::new("shop", &name),
            uid: format!("uid-{name}"),
            generation: Some(1),
            owner: None,
        },
        plan,
        target: Some(SeenTarget {
            replicas,
            available: replicas,
            version: Some(1),
        }),
        streams_known: std::collections::BTreeSet::new(),
    }
}

fn start(recorder: &Recorder, assignments: impl IntoIterator<Item = Assignment>, vet: Vet) -> Running {
    start_owned(recorder, assignments, vet, Arc::new(|_| false))
}

fn surroundings(
    recorder: &Recorder,
    vet: Vet,
    owner_is_going: Arc<dyn Fn(&Subject) -> bool + Send + Sync>,
    stop: CancellationToken,
) -> Surroundings<Recorder> {
    let quick = publish::Settings {
        figures: Duration::from_millis(100),
        pause: Duration::from_millis(20),
    };
    let cluster = Arc::new(recorder.clone());
    let leadership = Leadership::always();
    let (publisher, _) = Publisher::start(
        Arc::clone(&cluster),
        leadership.clone(),
        quick,
        |_| Some(ConsumerGroupStatus::default()),
        stop,
    );
    Surroundings {
        cluster,
        publisher,
        leadership,
        metrics: Metrics::new(),
        vet,
        clock: Clock::start(),
        settings: Settings {
            active: Duration::from_millis(50),
            retry: Duration::from_millis(100),
            retry_denied: Duration::from_millis(200),
            ..Settings::default()
        },
        owner_is_going,
    }
}

pub(super) fn surroundings_for_tests() -> Surroundings<Recorder> {
    surroundings(
        &Recorder::default(),
        anywhere(),
        Arc::new(|_| false),
        CancellationToken::new(),
    )
}

fn start_owned(
    recorder: &Recorder,
    assignments: impl IntoIterator<Item = Assignment>,
    vet: Vet,
    owner_is_going: Arc<dyn Fn(&Subject) -> bool + Send + Sync>,
) -> Running {
    let assignments: Assignments = assignments
        .into_iter()
        .map(|one| (one.subject.key.clone(), one))
        .collect();
    let endpoint: EndpointKey = assignments.values().next().expect("one at least").plan.endpoint.clone();
    let stop = CancellationToken::new();
    let surroundings = surroundings(recorder, vet, owner_is_going, stop.clone());
    let (sender, receiver) = watch::channel(Arc::new(assignments));
    let actor = tokio::spawn(Actor::new(endpoint, surroundings).run(receiver, stop.clone()));
    Running {
        assignments: sender,
        stop,
        actor,
    }
}

fn anywhere() -> Vet {
    Vet::new(|_| true)
}

async fn redis() -> RedisStack {
    RedisStack::start_async(Options::plain()).await.expect("Redis starts")
}

async fn connect(redis: &RedisStack) -> redis::aio::MultiplexedConnection {
    let client = redis.client().expect("a client");
    client.get_multiplexed_async_connection().await.expect("connects")
}

async fn add(connection: &mut redis::aio::MultiplexedConnection, stream: &str) {
    redis::cmd("XADD")
        .arg(stream)
        .arg("*")
        .arg("n")
        .arg(1)
        .exec_async(connection)
        .await
        .expect("XADD");
}

/// Waits long enough for a machine that is busy with other tests.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_wakes_a_group_at_zero_in_milliseconds_and_quiet_brings_it_back() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    let recorder = Recorder::default();
    let plan = plan(redis.port(), "wake", |spec| spec.scaling.cooldown_seconds = 0);
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
        actions.note.contains("from 0 to 1: Woken; backlog 1"),
        "{}",
        actions.note
    );
}

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
    assert_eq!(recorder.scales(), [("asleep-worker".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_is_read_again_at_once() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    let require = async |password: &str, connection: &mut redis::aio::MultiplexedConnection| {
        redis::cmd("CONFIG")
            .arg(&["SET", "requirepass", password])
            .exec_async(connection)
            .await
            .expect("CONFIG SET");
        redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal"])
            .exec_async(connection)
            .await
            .expect("CLIENT KILL");
    };
    require("first-password", &mut connection).await;
    let recorder = Recorder::default();
    let secret = |spec: &mut shopwright_api::ConsumerGroupSpec| {
        spec.redis.secret_ref = Some(shopwright_api::SecretReference {
            name: "credentials".to_owned(),
        });
    };
    let reason = || {
        recorder
            .condition("rotated", condition::READY)
            .map(|(_, reason)| reason)
    };
    let _running = start(
        &recorder,
        [assignment(plan(redis.port(), "rotated", secret), 1)],
        anywhere(),
    );
    eventually("no secret", || reason().as_deref() == Some("SecretNotFound")).await;
    recorder.with(|seen| seen.password = Some("first-password".to_owned()));
    eventually("ready", || recorder.is_ready("rotated")).await;

    require("second-password", &mut connection).await;
    eventually("refused", || reason().as_deref() == Some("WrongCredentials")).await;
    recorder.with(|seen| seen.password = Some("second-password".to_owned()));
    eventually("ready again", || recorder.is_ready("rotated")).await;
    let everything = recorder.with(|seen| format!("{:?} {:?}", seen.status, seen.notices));
    assert!(!everything.contains("-password"), "{everything}");
    assert_eq!(recorder.scales(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_is_reported_and_disturbs_no_neighbour() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    redis::cmd("SET")
        .arg(&["wrong-stream", "text"])
        .exec_async(&mut connection)
        .await
        .expect("SET");
    let recorder = Recorder::default();
    let wrong = assignment(plan(redis.port(), "wrong", |_| {}), 0);
    let right = assignment(plan(redis.port(), "right", |_| {}), 0);
    let _running = start(&recorder, [wrong, right], anywhere());
    eventually("ready", || recorder.is_ready("right")).await;
    eventually("reported", || {
        recorder
            .condition("wrong", condition::READY)
            .is_some_and(|(_, why)| why == "WrongType")
    })
    .await;
    add(&mut connection, "right-stream").await;
    eventually("woken", || recorder.scales() == [("right-worker".to_owned(), 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_is_never_dialled() {
    let redis = redis().await;
    let recorder = Recorder::default();
    let _running = start(
        &recorder,
        [assignment(plan(redis.port(), "inside", |_| {}), 0)],
        address::vet(Vec::new()),
    );
    eventually("refused", || {
        recorder
            .condition("inside", condition::READY)
            .is_some_and(|(_, why)| why == "ForbiddenAddress")
    })
    .await;
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
async fn at_rest_no_status_is_written() {
    let redis = redis().await;
    let recorder = Recorder::default();
    // A minimum of one keeps it sampled all the time: what is proven is that sampling alone writes nothing.
    let plan = plan(redis.port(), "still", |spec| spec.scaling.min_replicas = 1);
    let _running = start(&recorder, [assignment(plan, 1)], anywhere());
    eventually("ready", || recorder.is_ready("still")).await;
    let before = recorder.with(|seen| seen.status_writes);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(recorder.with(|seen| seen.status_writes), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_owner_is_going_is_left_alone_until_the_owner_stays() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let redis = redis().await;
    add(&mut connect(&redis).await, "leaving-stream").await;
    let recorder = Recorder::default();
    let (going, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (is_going, count) = (Arc::clone(&going), Arc::clone(&asked));
    let _running = start_owned(
        &recorder,
        [assignment(plan(redis.port(), "leaving", |_| {}), 0)],
        anywhere(),
        Arc::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            is_going.load(Ordering::SeqCst)
        }),
    );
    eventually("asked again and again", || asked.load(Ordering::SeqCst) > 5).await;
    assert_eq!(recorder.scales(), [], "there is a backlog, and nobody scales");
    assert_eq!(recorder.reasons(), Vec::<&str>::new());
    assert_eq!(recorder.with(|seen| seen.status_writes), 0);
    going.store(false, Ordering::SeqCst);
    eventually("scaled", || recorder.scales() == [("leaving-worker".to_owned(), 1)]).await;
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
