//! An actor against a real Redis, with a cluster that only records. Deadlines are generous; nothing is proven by
//! a pause being long enough, except that nothing happened during it.

mod access;
mod cadence;
mod loss;
mod quiet;
mod tls;
mod upkeep;
mod wake;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use shopwright_api::{ConsumerGroupStatus, condition};
use shopwright_redis_stack::{Options, RedisStack};
use shopwright_streams::connection::Vet;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    actor::{Actor, Settings, Surroundings},
    address,
    assign::{Assignment, Assignments, Subject},
    cluster::{Cluster, Failure, Notice, Written},
    credentials::SecretData,
    gather::SeenTarget,
    identity::{Clock, EndpointKey, ObjectKey},
    publish::{self, Publisher},
    status::Unknown,
    tracked::Cadence,
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
    /// Name, key, value.
    secrets: BTreeMap<String, Vec<(String, Vec<u8>)>>,
    secret_reads: usize,
    refuse: Option<Failure>,
    /// What never gets an answer: targets, Secrets and pods by name.
    silent: BTreeSet<String>,
    costs: Vec<(String, i32)>,
}

#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Recorded>>);

impl Recorder {
    fn with<Answer>(&self, look: impl FnOnce(&mut Recorded) -> Answer) -> Answer {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn answer(&self, name: &str) {
        if self.with(|seen| seen.silent.contains(name)) {
            std::future::pending::<()>().await;
        }
    }

    fn scales(&self) -> Vec<(String, u32)> {
        self.with(|seen| {
            seen.scales
                .iter()
                .map(|(target, replicas, _)| (target.clone(), *replicas))
                .collect()
        })
    }

    fn set_secret(&self, name: &str, data: &[(&str, &str)]) {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        self.with(|seen| seen.secrets.insert(name.to_owned(), data));
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
        self.answer(&target.name).await;
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

    async fn secret(&self, secret: &ObjectKey) -> Result<SecretData, Unknown> {
        self.answer(&secret.name).await;
        self.with(|seen| {
            seen.secret_reads += 1;
            let data = seen.secrets.get(&secret.name).ok_or(Unknown::SecretNotFound)?;
            Ok(data.iter().cloned().collect())
        })
    }

    async fn set_deletion_cost(&self, _: &WriteToken, pod: &ObjectKey, _: &str, cost: i32) -> Result<(), Failure> {
        self.answer(&pod.name).await;
        self.with(|seen| seen.costs.push((pod.name.clone(), cost)));
        Ok(())
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

pub(super) fn assignment(plan: impl Into<Arc<Plan>>, replicas: u32) -> Assignment {
    let plan = plan.into();
    let name = plan.group.clone();
    Assignment {
        subject: Subject {
            key: ObjectKey::new("shop", &name),
            uid: format!("uid-{name}"),
            generation: Some(1),
            owner: None,
        },
        plan,
        round: 1,
        target: Some(SeenTarget {
            replicas,
            available: replicas,
            version: Some(1),
        }),
        streams_known: BTreeSet::new(),
        pods: Arc::default(),
        trims: Vec::new(),
    }
}

fn start(recorder: &Recorder, assignments: impl IntoIterator<Item = Assignment>, vet: Vet) -> Running {
    start_owned(recorder, assignments, vet, Arc::new(|_| false))
}

/// Everything a good deal faster than in earnest.
fn quick() -> Settings {
    Settings {
        cadence: Cadence {
            active: Duration::from_millis(50),
            steady: Duration::from_millis(100),
            retry: Duration::from_millis(100),
            patient: Duration::from_millis(200),
            ..Cadence::default()
        },
        ..Settings::default()
    }
}

fn surroundings(
    recorder: &Recorder,
    vet: Vet,
    owner_is_going: Arc<dyn Fn(&Subject) -> bool + Send + Sync>,
    stop: CancellationToken,
) -> Surroundings<Recorder> {
    let publishing = publish::Settings {
        figures: Duration::from_millis(100),
        pause: Duration::from_millis(20),
        window: Duration::from_millis(100),
    };
    let cluster = Arc::new(recorder.clone());
    let leadership = Leadership::always();
    let (publisher, _) = Publisher::start(
        Arc::clone(&cluster),
        leadership.clone(),
        publishing,
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
        settings: quick(),
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
    let stop = CancellationToken::new();
    let surroundings = surroundings(recorder, vet, owner_is_going, stop.clone());
    start_with(surroundings, assignments, stop)
}

fn start_with(
    surroundings: Surroundings<Recorder>,
    assignments: impl IntoIterator<Item = Assignment>,
    stop: CancellationToken,
) -> Running {
    let assignments: Assignments = assignments
        .into_iter()
        .map(|one| (one.subject.key.clone(), one))
        .collect();
    let endpoint: EndpointKey = assignments.values().next().expect("one at least").plan.endpoint.clone();
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

/// How often Redis was asked for something, by the words of INFO.
async fn statistic(connection: &mut redis::aio::MultiplexedConnection, name: &str) -> u64 {
    let info: String = redis::cmd("INFO")
        .arg("all")
        .query_async(connection)
        .await
        .expect("INFO");
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    let value = line.map_or("0", |line| {
        line.split([',', '='])
            .find(|it| it.parse::<u64>().is_ok())
            .unwrap_or("0")
    });
    value.trim().parse().unwrap_or(0)
}

/// Waits long enough for a machine that is busy with other tests.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
