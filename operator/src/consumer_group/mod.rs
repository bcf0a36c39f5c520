//! The `ConsumerGroup` controller: gather -> validate -> assign -> (sample -> decide -> scale) -> status.
//!
//! This file only wires: watches fill caches, each change of them assigns every group to the actor of its Redis, and
//! actors run while this operator leads. A standby keeps its caches warm and dials no Redis.

mod actor;
#[cfg(test)]
mod actor_tests;
pub(crate) mod address;
mod assign;
mod cluster;
mod credentials;
mod deletion_cost;
mod gather;
mod identity;
mod pods;
mod publish;
mod status;
#[cfg(test)]
mod test_samples;
mod tracked;
mod upkeep;
mod validate;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use kube::{Client, runtime::events::Recorder};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, instrument};

pub use gather::CACHES;

use self::{
    actor::{Actor, Surroundings},
    assign::{Assigned, Assignments, Memory, Subject, assign},
    cluster::{Cluster, Kubernetes},
    gather::Caches,
    identity::{Clock, EndpointKey, ObjectKey},
    publish::Publisher,
    status::Report,
};
use crate::{health::Health, lease::Leadership, metrics::Metrics};

/// Changes that come together are looked at together; a wake from zero does not pass through here.
const TOGETHER: Duration = Duration::from_millis(20);

/// What the controller needs.
#[derive(Clone)]
pub struct Dependencies {
    /// The API server.
    pub client: Client,
    /// Namespaces to look at; all if empty.
    pub namespaces: Vec<String>,
    /// Whether this operator may write.
    pub leadership: Leadership,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Where to say that the caches named in [`CACHES`] are filled.
    pub health: Arc<Health>,
    /// Where Events go.
    pub recorder: Recorder,
    /// Addresses of the API server, which are never dialled as a Redis.
    pub api_server: Vec<IpAddr>,
    /// Answers for (namespace, uid) of a controlling owner whether it is gone or being deleted. It must answer false
    /// while it does not know.
    pub owner_is_going: Arc<OwnerIsGoing>,
}

/// Answers for (namespace, uid) of a controlling owner.
pub type OwnerIsGoing = dyn Fn(&str, &str) -> bool + Send + Sync;

/// Runs the controller until `shutdown`. Returns when its last write has ended.
#[instrument(name = "consumer_groups", skip_all)]
pub async fn run(dependencies: Dependencies, shutdown: CancellationToken) {
    let Dependencies {
        client,
        namespaces,
        leadership,
        metrics,
        health,
        recorder,
        api_server,
        owner_is_going,
    } = dependencies;
    let caches = Caches::new();
    let cluster = Arc::new(Kubernetes {
        client: client.clone(),
        recorder,
        metrics: Arc::clone(&metrics),
    });
    let seen = Arc::clone(&caches);
    let (publisher, publishing) = Publisher::start(
        Arc::clone(&cluster),
        leadership.clone(),
        publish::Settings::default(),
        move |subject: &Subject| {
            let group = seen.group(&subject.key).filter(|group| group.uid == subject.uid)?;
            let status = group.object.ok().and_then(|object| object.status.clone());
            Some(status.unwrap_or_default())
        },
        shutdown.clone(),
    );
    let surroundings = Surroundings {
        cluster,
        publisher,
        leadership: leadership.clone(),
        metrics: Arc::clone(&metrics),
        vet: address::vet(api_server),
        clock: Clock::start(),
        settings: actor::Settings::default(),
        owner_is_going: Arc::new(move |subject: &Subject| {
            subject
                .owner
                .as_ref()
                .is_some_and(|uid| owner_is_going(&subject.key.namespace, uid))
        }),
    };
    let coordinator = Coordinator {
        caches: Arc::clone(&caches),
        surroundings,
        memory: Memory::default(),
        actors: BTreeMap::new(),
        retired: JoinSet::new(),
        leaving: Vec::new(),
    };
    tokio::select! {
        () = gather::follow(&client, &namespaces, &caches, &health, &metrics) => {}
        () = coordinator.run(leadership, shutdown.clone()) => {}
    }
    // The task ends only by a panic before this.
    let _ = publishing.await;
}

struct RunningActor {
    assignments: watch::Sender<Arc<Assignments>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Coordinator<C> {
    caches: Arc<Caches>,
    surroundings: Surroundings<C>,
    memory: Memory,
    actors: BTreeMap<EndpointKey, RunningActor>,
    /// Actors that were told to stop and may still be within a write.
    retired: JoinSet<()>,
    /// What those serve: nobody else takes it up before they have ended.
    leaving: Vec<(AbortHandle, Arc<Assignments>)>,
}

impl<C: Cluster> Coordinator<C> {
    async fn run(mut self, mut leadership: Leadership, shutdown: CancellationToken) {
        let mut news = self.caches.changes();
        loop {
            if leadership.is_leader() && self.caches.is_complete() {
                self.reassign();
            } else {
                self.stop_all().await;
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = leadership.changed() => {}
                // What it served may be taken up now.
                Some(_) = self.retired.join_next() => {}
                changed = news.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    tokio::time::sleep(TOGETHER).await;
                    news.mark_unchanged();
                }
            }
        }
        self.stop_all().await;
    }

    fn reassign(&mut self) {
        let caches = &self.caches;
        let Assigned { actors, idle } = assign(
            &caches.groups(),
            &mut self.memory,
            |key| caches.target(key),
            |key| caches.autoscaler_of(key),
            |key| caches.pods_of(key),
        );
        for (subject, why, round) in idle {
            self.surroundings.publisher.report(&subject, Report::Idle(why), round);
        }
        let unwanted: Vec<EndpointKey> = self
            .actors
            .keys()
            .filter(|key| !actors.contains_key(*key))
            .cloned()
            .collect();
        for key in unwanted {
            self.retire(&key);
        }
        self.actors.retain(|_, actor| !actor.task.is_finished());
        self.leaving.retain(|(task, _)| !task.is_finished());
        for (key, mut assignments) in actors {
            assignments.retain(|group, _| !self.is_leaving(group));
            let assignments = Arc::new(assignments);
            let Some(actor) = self.actors.get(&key) else {
                if assignments.is_empty() {
                    continue;
                }
                let actor = self.start(&key, assignments);
                self.actors.insert(key, actor);
                continue;
            };
            actor.assignments.send_if_modified(|current| {
                let differs = **current != *assignments;
                if differs {
                    *current = assignments;
                }
                differs
            });
        }
    }

    fn retire(&mut self, key: &EndpointKey) {
        let Some(actor) = self.actors.remove(key) else { return };
        actor.stop.cancel();
        let served = Arc::clone(&actor.assignments.borrow());
        let task = self.retired.spawn(async move {
            // Its assignments stay open until it has ended. One that panicked has ended as well.
            let RunningActor { assignments, task, .. } = actor;
            let _ = task.await;
            drop(assignments);
        });
        self.leaving.push((task, served));
    }

    /// Whether an actor that was told to stop may still write for this group.
    fn is_leaving(&self, group: &ObjectKey) -> bool {
        self.leaving.iter().any(|(_, served)| served.contains_key(group))
    }

    fn start(&self, key: &EndpointKey, assignments: Arc<Assignments>) -> RunningActor {
        info!(
            namespace = key.namespace,
            host = key.host,
            port = key.port,
            "serving a Redis"
        );
        let (sender, receiver) = watch::channel(assignments);
        let stop = CancellationToken::new();
        let actor = Actor::new(key.clone(), self.surroundings.clone());
        let task = tokio::spawn(actor.run(receiver, stop.clone()));
        RunningActor {
            assignments: sender,
            stop,
            task,
        }
    }

    async fn stop_all(&mut self) {
        for actor in self.actors.values() {
            actor.stop.cancel();
        }
        for (_, actor) in std::mem::take(&mut self.actors) {
            // An actor that panicked has ended as well.
            let _ = actor.task.await;
        }
        while self.retired.join_next().await.is_some() {}
        self.leaving.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer_group::actor_tests::{assignment, surroundings_for_tests};

    #[tokio::test]
    async fn a_successor_waits_for_the_end_of_whom_it_follows() {
        let mut coordinator = Coordinator {
            caches: Caches::new(),
            surroundings: surroundings_for_tests(),
            memory: Memory::default(),
            actors: BTreeMap::new(),
            retired: JoinSet::new(),
            leaving: Vec::new(),
        };
        let assignment = assignment(actor_tests::plan(1, "moved", |_| {}), 0);
        let key = assignment.plan.endpoint.clone();
        let group = assignment.subject.key.clone();
        let assignments: Arc<Assignments> = Arc::new([(assignment.subject.key.clone(), assignment)].into());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let actor = RunningActor {
            assignments: watch::channel(Arc::clone(&assignments)).0,
            stop: CancellationToken::new(),
            task: tokio::spawn(async move {
                let _ = ended.await;
            }),
        };
        let stopped = actor.stop.clone();
        coordinator.actors.insert(key.clone(), actor);
        coordinator.retire(&key);
        assert!(stopped.is_cancelled());
        assert!(coordinator.is_leaving(&group), "it may still be within a write");
        coordinator.reassign();
        assert!(coordinator.is_leaving(&group));
        assert!(end.send(()).is_ok());
        assert!(coordinator.retired.join_next().await.is_some());
        coordinator.reassign();
        assert!(!coordinator.is_leaving(&group));
        coordinator.stop_all().await;
    }
}
