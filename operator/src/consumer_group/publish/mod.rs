//! Writes status: at once what people wait for, at most every 15 s what merely moves, never more than four times in any
//! minute, and nothing that is there already. One task, apart from the actors, so that a slow API server delays no decision.

mod budget;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use shopwright_api::ConsumerGroupStatus;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::budget::Budget;
use super::{
    assign::Subject,
    cluster::{Cluster, Failure},
    status::{Report, Urgency, render, urgency},
};
use crate::lease::{Leadership, WriteToken};

/// Times of the publisher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Between two writes of figures alone.
    pub(super) figures: Duration,
    /// Between any two writes of one object, and before a failed one is repeated for the first time.
    pub(super) pause: Duration,
    /// In this time an object is written at most [`WRITES`] times.
    pub(super) window: Duration,
}

/// Most writes of one object in a window. The last one is kept for what is urgent.
const WRITES: usize = 4;
/// How many pauses there are before an urgent write, by the number of writes that the window has had: a ramp of replicas
/// must not spend all of them in its first seconds and leave its end unsaid for the rest of the window.
const SPACING: [u32; WRITES + 1] = [1, 1, 5, 20, 20];

impl Default for Settings {
    fn default() -> Self {
        Self {
            figures: Duration::from_secs(15),
            pause: Duration::from_secs(1),
            window: Duration::from_mins(1),
        }
    }
}

impl Settings {
    /// Before a write that was refused so often, from once, is tried again: doubling up to a minute.
    fn after(&self, failures: u32) -> Duration {
        let doubled = self.pause.saturating_mul(1 << failures.saturating_sub(1).min(6));
        doubled.min(Duration::from_mins(1)).max(self.pause)
    }
}

/// A report on its way.
#[derive(Debug)]
struct Handed {
    subject: Subject,
    report: Report,
    /// Which of the group's assignments it speaks of.
    round: u64,
}

/// Where reports are handed in.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    reports: mpsc::UnboundedSender<Handed>,
}

impl Publisher {
    /// Starts the task. `there` gives the status an object has in the cache; `None` when the object is not there.
    pub(super) fn start<C: Cluster>(
        cluster: Arc<C>,
        leadership: Leadership,
        settings: Settings,
        there: impl Fn(&Subject) -> Option<ConsumerGroupStatus> + Send + 'static,
        stop: CancellationToken,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (reports, receiver) = mpsc::unbounded_channel();
        let there = Box::new(there);
        let task = Task {
            cluster,
            leadership,
            settings,
            there,
            term: None,
            swept: Instant::now(),
            objects: HashMap::new(),
            writes: JoinSet::new(),
        };
        (Self { reports }, tokio::spawn(task.run(receiver, stop)))
    }

    /// Hands in the newest report about an object, from whoever has it in this `round`. Never waits. Later rounds win: a
    /// pass that was under way when its group was taken away must not have the last word.
    pub(super) fn report(&self, subject: &Subject, report: Report, round: u64) {
        let handed = Handed {
            subject: subject.clone(),
            report,
            round,
        };
        // The task ends only at shutdown, when nobody may write any more.
        let _ = self.reports.send(handed);
    }
}

struct Object {
    subject: Subject,
    /// As we last wrote it, or found it.
    there: ConsumerGroupStatus,
    wanted: Option<Report>,
    /// The newest round heard of.
    round: u64,
    budget: Budget,
    writing: bool,
    /// When the newest report may be written; `None` while nobody has looked at it.
    next: Option<Instant>,
    /// Refused writes in a row.
    failures: u32,
}

impl Object {
    /// How long until it may be written.
    fn wait(&mut self, urgency: Urgency, settings: &Settings, now: Instant) -> Duration {
        let (pause, limit) = match urgency {
            _ if self.failures > 0 => (settings.after(self.failures), WRITES),
            Urgency::Figures => (settings.figures, WRITES - 1),
            Urgency::Now | Urgency::Nothing => {
                let spent = self.budget.spent(settings.window, now);
                let pauses = SPACING.get(spent).copied().unwrap_or(1);
                (settings.pause.saturating_mul(pauses), WRITES)
            }
        };
        let by_pause = self
            .budget
            .since_last(now)
            .map_or(Duration::ZERO, |since| pause.saturating_sub(since));
        by_pause.max(self.budget.wait(limit, settings.window, now))
    }
}

type StatusThere = dyn Fn(&Subject) -> Option<ConsumerGroupStatus> + Send;

struct Task<C> {
    cluster: Arc<C>,
    leadership: Leadership,
    settings: Settings,
    there: Box<StatusThere>,
    /// The term in which `objects` were learned.
    term: Option<WriteToken>,
    /// When objects that are gone were last forgotten.
    swept: Instant,
    objects: HashMap<String, Object>,
    writes: JoinSet<(String, ConsumerGroupStatus, Result<(), Failure>)>,
}

impl<C: Cluster> Task<C> {
    async fn run(mut self, mut reports: mpsc::UnboundedReceiver<Handed>, stop: CancellationToken) {
        loop {
            let next = self.write_what_is_due();
            tokio::select! {
                () = stop.cancelled() => break,
                report = reports.recv() => {
                    let Some(report) = report else { break };
                    self.take(report);
                    while let Ok(report) = reports.try_recv() {
                        self.take(report);
                    }
                }
                Some(Ok((uid, status, result))) = self.writes.join_next() => self.written(&uid, status, result),
                () = tokio::time::sleep(next) => {}
            }
        }
        // A write under way is let out: its object then says what was done.
        while self.writes.join_next().await.is_some() {}
    }

    /// The right to write in this term. What was written in an earlier one is forgotten with it: the next leader starts
    /// from what is in the cluster, and so do we if it is us again.
    fn token(&mut self) -> Option<WriteToken> {
        if let Some(token) = self.term.as_ref().filter(|token| token.check().is_ok()) {
            return Some(token.clone());
        }
        self.objects.clear();
        self.term = self.leadership.token().ok();
        self.term.clone()
    }

    /// Forgets objects that are gone.
    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept) < self.settings.figures {
            return;
        }
        self.swept = now;
        let there = &self.there;
        self.objects
            .retain(|_, object| object.writing || there(&object.subject).is_some());
    }

    fn take(&mut self, handed: Handed) {
        let Handed { subject, report, round } = handed;
        if self.token().is_none() {
            return;
        }
        let there = &self.there;
        let object = self.objects.entry(subject.uid.clone()).or_insert_with(|| Object {
            there: there(&subject).unwrap_or_default(),
            subject: subject.clone(),
            wanted: None,
            round,
            budget: Budget::default(),
            writing: false,
            next: None,
            failures: 0,
        });
        if round < object.round {
            return;
        }
        object.round = round;
        if object.subject.generation != subject.generation {
            // What was refused may be accepted now.
            object.failures = 0;
            // Whoever changed the spec waits for the answer, however much was said of the old one.
            object.budget = Budget::default();
        }
        object.subject = subject;
        object.wanted = Some(report);
        object.next = None;
    }

    /// Starts every write whose time has come; answers how long until the next one.
    fn write_what_is_due(&mut self) -> Duration {
        let now = Instant::now();
        let mut next = self.settings.figures;
        let Some(token) = self.token() else {
            return next;
        };
        self.sweep(now);
        for (uid, object) in &mut self.objects {
            let (Some(report), false) = (&object.wanted, object.writing) else {
                continue;
            };
            // With hundreds of groups under load, each report is compared once, not each time that any of them moves.
            if let Some(later) = object.next.filter(|later| *later > now) {
                next = next.min(later.duration_since(now));
                continue;
            }
            let wanted = render(&object.there, report, object.subject.generation, Timestamp::now());
            let urgency = urgency(&object.there, &wanted);
            if urgency == Urgency::Nothing {
                object.wanted = None;
                continue;
            }
            let remaining = object.wait(urgency, &self.settings, now);
            if !remaining.is_zero() {
                next = next.min(remaining);
                object.next = Some(now + remaining);
                continue;
            }
            object.budget.spend(now);
            object.next = None;
            object.writing = true;
            let (cluster, token, subject, uid) = (
                Arc::clone(&self.cluster),
                token.clone(),
                object.subject.clone(),
                uid.clone(),
            );
            self.writes.spawn(async move {
                let result = cluster.write_status(&token, &subject, &wanted).await;
                (uid, wanted, result)
            });
        }
        next
    }

    fn written(&mut self, uid: &str, status: ConsumerGroupStatus, result: Result<(), Failure>) {
        let Some(object) = self.objects.get_mut(uid) else {
            return;
        };
        if !std::mem::replace(&mut object.writing, false) {
            // It was let out in an earlier term.
            return;
        }
        match result {
            Ok(()) => {
                object.there = status;
                object.failures = 0;
            }
            // Gone, or replaced by another of the same name.
            Err(Failure::NotFound | Failure::Refused(409)) => {
                self.objects.remove(uid);
            }
            Err(Failure::NotLeader) => {}
            Err(failure) => {
                // Tried again after a pause, because what is there still differs.
                object.failures = object.failures.saturating_add(1);
                if object.failures == 1 {
                    let key = &object.subject.key;
                    warn!(namespace = key.namespace, name = key.name, %failure, "status could not be written");
                }
            }
        }
    }
}
