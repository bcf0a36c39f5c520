//! What is left behind is put in order: entries of pods that are gone, poison, names of the dead, old entries. One task
//! beside each actor, on the same connection, so that no sample and no decision ever waits for it. Touches that Redis;
//! every call is small and needs the right to write.

mod carry_out;
mod facts;
mod findings;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use shopwright_streams::{Class, Client, sample::Known};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(super) use self::findings::Findings;
use self::{
    carry_out::carry_out,
    facts::{Facts, StreamFacts},
    findings::{Found, News},
    plan::{Chore, Memory, View},
};
use super::{
    actor::{Surroundings, tell},
    assign::{Assignment, Assignments},
    cluster::Cluster,
    identity::ObjectKey,
};

/// How often the clock is looked at. Costs nothing at Redis.
const TICK: Duration = Duration::from_secs(1);
/// Chores between two looks at what is urgent.
const BATCH: usize = 32;

/// What the actor and the task tell each other.
#[derive(Default)]
struct Shared {
    client: Option<Client>,
    facts: BTreeMap<ObjectKey, Facts>,
    /// Groups with new facts.
    dirty: BTreeSet<ObjectKey>,
    found: BTreeMap<ObjectKey, Found>,
}

#[derive(Default)]
struct Exchange {
    shared: Mutex<Shared>,
    news: Notify,
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The actor's side. When it is dropped the task ends after the call that it is in.
pub(super) struct Upkeep {
    exchange: Arc<Exchange>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Upkeep {
    /// Starts the task for what is assigned to the actor.
    pub(super) fn start<C: Cluster>(with: &Surroundings<C>, assignments: watch::Receiver<Arc<Assignments>>) -> Self {
        let exchange = Arc::new(Exchange::default());
        let stop = CancellationToken::new();
        let keeper = Keeper {
            with: with.clone(),
            exchange: Arc::clone(&exchange),
            groups: BTreeMap::new(),
        };
        let task = tokio::spawn(keeper.run(assignments, stop.clone()));
        Self {
            exchange,
            stop,
            task: Some(task),
        }
    }

    /// There is a connection, or none any more.
    pub(super) fn connected(&self, client: Option<&Client>) {
        self.exchange.lock().client = client.cloned();
        self.exchange.news.notify_one();
    }

    /// What the newest samples of a group say, in the order of its streams; `None` for a stream of which nothing is known.
    pub(super) fn sampled(&self, assignment: &Assignment, at_rest: bool, samples: &[Option<&Known>]) {
        let names = assignment.plan.consumer_names;
        let of = |known: &Known| StreamFacts::of(known, &assignment.pods, names);
        let facts = Facts {
            at: Instant::now(),
            at_rest,
            streams: samples.iter().map(|known| known.map(of)).collect(),
        };
        let key = &assignment.subject.key;
        let mut shared = self.exchange.lock();
        shared.facts.insert(key.clone(), facts);
        shared.dirty.insert(key.clone());
        self.exchange.news.notify_one();
    }

    /// What upkeep found out about a group.
    pub(super) fn findings(&self, key: &ObjectKey) -> Findings {
        let shared = self.exchange.lock();
        let found = shared.found.get(key);
        found.map(Found::findings).unwrap_or_default()
    }

    /// Ends the task. Returns when its last call has ended.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // One that panicked has ended as well.
            let _ = task.await;
        }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A group and what was done for it.
struct Kept {
    assignment: Assignment,
    memory: Memory,
}

struct Keeper<C> {
    with: Surroundings<C>,
    exchange: Arc<Exchange>,
    groups: BTreeMap<ObjectKey, Kept>,
}

impl<C: Cluster> Keeper<C> {
    async fn run(mut self, mut assignments: watch::Receiver<Arc<Assignments>>, stop: CancellationToken) {
        let first = Arc::clone(&assignments.borrow_and_update());
        let mut look_at = self.adopt(&first);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Whatever is left for later comes with a tick: a group may just have been paused, or be somebody else's.
            let outdated = || stop.is_cancelled() || assignments.has_changed().unwrap_or(true);
            self.tidy(std::mem::take(&mut look_at), outdated).await;
            tokio::select! {
                () = stop.cancelled() => return,
                changed = assignments.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let newest = Arc::clone(&assignments.borrow_and_update());
                    look_at = self.adopt(&newest);
                }
                () = self.exchange.news.notified() => look_at = std::mem::take(&mut self.exchange.lock().dirty),
                _ = tick.tick() => look_at = self.groups.keys().cloned().collect(),
            }
        }
    }

    /// Takes over what is assigned. Answers the groups for which something changed.
    fn adopt(&mut self, assignments: &Assignments) -> BTreeSet<ObjectKey> {
        self.groups.retain(|key, _| assignments.contains_key(key));
        {
            let mut shared = self.exchange.lock();
            shared.facts.retain(|key, _| assignments.contains_key(key));
            shared.found.retain(|key, _| assignments.contains_key(key));
        }
        let mut changed = BTreeSet::new();
        for (key, assignment) in assignments {
            let known = self.groups.get_mut(key);
            if known.as_ref().is_some_and(|kept| kept.assignment == *assignment) {
                continue;
            }
            changed.insert(key.clone());
            if let Some(kept) = known.filter(|kept| is_same_work(&kept.assignment, assignment)) {
                kept.memory.prune(&assignment.pods);
                kept.assignment = assignment.clone();
                continue;
            }
            let kept = Kept {
                assignment: assignment.clone(),
                memory: Memory::default(),
            };
            self.groups.insert(key.clone(), kept);
            let mut shared = self.exchange.lock();
            // What was seen of another group of this name, on other streams perhaps.
            shared.found.remove(key);
            shared.facts.remove(key);
        }
        changed
    }

    /// Does what is to be done for these groups, until there is no more, Redis stops answering, or it is outdated.
    async fn tidy(&mut self, asked: BTreeSet<ObjectKey>, outdated: impl Fn() -> bool) {
        let mut look_at = asked.clone();
        let mut done = true;
        let mut news: BTreeMap<ObjectKey, News> = BTreeMap::new();
        while !look_at.is_empty() && !outdated() {
            let Some(client) = self.exchange.lock().client.clone() else {
                done = false;
                break;
            };
            let mut chores = self.plan(&look_at);
            let all = chores.len() <= BATCH;
            chores.truncate(BATCH);
            // A name whose hand-over was not finished is to be gone on with at once.
            look_at = if all {
                chores.iter().map(|(key, _)| key.clone()).collect()
            } else {
                look_at
            };
            for (key, chore) in chores {
                done = !outdated() && self.one(&client, &key, &chore, &mut news).await == Some(true);
                if !done {
                    break;
                }
            }
            if !done {
                break;
            }
        }
        if done {
            self.looked_at(&asked);
        }
        for (key, news) in news {
            let Some(kept) = self.groups.get(&key) else { continue };
            for (kind, count) in news.counts().into_iter().filter(|(_, count)| *count > 0) {
                self.with.metrics.upkeep(kind, count);
            }
            for notice in news.notices(&kept.assignment.plan) {
                tell(&self.with, &kept.assignment.subject, notice);
            }
        }
    }

    /// Nothing is left to do for these groups now. Those of which nothing is known have not been looked at.
    fn looked_at(&self, groups: &BTreeSet<ObjectKey>) {
        let mut shared = self.exchange.lock();
        let Shared { facts, found, .. } = &mut *shared;
        let known = found.iter_mut().filter(|(key, _)| groups.contains(*key));
        for (_, found) in known.filter(|(key, _)| facts.contains_key(*key)) {
            found.looked = true;
        }
    }

    fn plan(&self, look_at: &BTreeSet<ObjectKey>) -> Vec<(ObjectKey, Chore)> {
        let now = Instant::now();
        let mut shared = self.exchange.lock();
        let mut chores: Vec<(ObjectKey, Chore)> = Vec::new();
        for key in look_at {
            let Some(Kept { assignment, memory }) = self.groups.get(key) else {
                continue;
            };
            // Its Redis goes with its owner.
            if (self.with.owner_is_going)(&assignment.subject) {
                continue;
            }
            let view = View {
                plan: &assignment.plan,
                pods: &assignment.pods,
                trims: &assignment.trims,
                facts: shared.facts.get(key),
            };
            chores.extend(memory.plan(view, now).into_iter().map(|chore| (key.clone(), chore)));
            shared
                .found
                .entry(key.clone())
                .or_default()
                .declared(&assignment.plan, &assignment.trims);
        }
        drop(shared);
        chores.sort_by_key(|(_, chore)| chore.kind());
        chores
    }

    /// Does one chore. Answers whether Redis could be reached; `None` without the right to write.
    async fn one(
        &mut self,
        client: &Client,
        key: &ObjectKey,
        chore: &Chore,
        news: &mut BTreeMap<ObjectKey, News>,
    ) -> Option<bool> {
        let kept = self.groups.get_mut(key)?;
        self.with.leadership.token().ok()?;
        let result = carry_out(&client.shared(), &kept.assignment.plan, chore).await;
        let now = Instant::now();
        let mut shared = self.exchange.lock();
        let found = shared.found.entry(key.clone()).or_default();
        let news = news.entry(key.clone()).or_default();
        match result {
            Ok(done) => {
                kept.memory.done(chore, &done, &kept.assignment.pods, now);
                found.done(chore, &done, news);
                Some(true)
            }
            Err(error) => {
                debug!(kind = ?chore.kind(), %error, "upkeep failed");
                let refused = matches!(error.class(), Class::Denied | Class::WrongType);
                kept.memory.failed(chore, refused, now);
                if refused {
                    found.refused(chore.kind(), error, news);
                }
                Some(error.class() != Class::Unreachable)
            }
        }
    }
}

fn is_same_work(before: &Assignment, after: &Assignment) -> bool {
    before.subject.uid == after.subject.uid
        && before.plan.endpoint == after.plan.endpoint
        && before.plan.streams == after.plan.streams
        && before.plan.group == after.plan.group
        && before.plan.target == after.plan.target
}
