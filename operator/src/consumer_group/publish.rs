//! Writes status: at once what people wait for, at most every 15 s what merely moves, and nothing that is there
//! already. One task, apart from the actors, so that a slow API server delays no decision.

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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            figures: Duration::from_secs(15),
            pause: Duration::from_secs(1),
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

/// Where reports are handed in.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    reports: mpsc::UnboundedSender<(Subject, Report)>,
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

    /// Hands in the newest report about an object. Never waits.
    pub(super) fn report(&self, subject: &Subject, report: Report) {
        // The task ends only at shutdown, when nobody may write any more.
        let _ = self.reports.send((subject.clone(), report));
    }
}

struct Object {
    subject: Subject,
    /// As we last wrote it, or found it.
    there: ConsumerGroupStatus,
    wanted: Option<Report>,
    last_write: Option<Instant>,
    last_figures: Option<Instant>,
    writing: bool,
    /// Refused writes in a row.
    failures: u32,
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
    async fn run(mut self, mut reports: mpsc::UnboundedReceiver<(Subject, Report)>, stop: CancellationToken) {
        loop {
            let next = self.write_what_is_due();
            tokio::select! {
                () = stop.cancelled() => break,
                report = reports.recv() => {
                    let Some((subject, report)) = report else { break };
                    self.take(subject, report);
                    while let Ok((subject, report)) = reports.try_recv() {
                        self.take(subject, report);
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

    fn take(&mut self, subject: Subject, report: Report) {
        if self.token().is_none() {
            return;
        }
        let there = &self.there;
        let object = self.objects.entry(subject.uid.clone()).or_insert_with(|| Object {
            there: there(&subject).unwrap_or_default(),
            subject: subject.clone(),
            wanted: None,
            last_write: None,
            last_figures: None,
            writing: false,
            failures: 0,
        });
        if object.subject.generation != subject.generation {
            // What was refused may be accepted now.
            object.failures = 0;
        }
        object.subject = subject;
        object.wanted = Some(report);
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
            let wanted = render(&object.there, report, object.subject.generation, Timestamp::now());
            let (since, wait) = match urgency(&object.there, &wanted) {
                Urgency::Nothing => {
                    object.wanted = None;
                    continue;
                }
                _ if object.failures > 0 => (object.last_write, self.settings.after(object.failures)),
                Urgency::Now => (object.last_write, self.settings.pause),
                Urgency::Figures => (object.last_figures, self.settings.figures),
            };
            let remaining = since.map_or(Duration::ZERO, |since| wait.saturating_sub(now.duration_since(since)));
            if !remaining.is_zero() {
                next = next.min(remaining);
                continue;
            }
            object.writing = true;
            object.last_write = Some(now);
            object.last_figures = Some(now);
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::{
        super::{
            cluster::{Credentials, Notice, Written},
            identity::ObjectKey,
            status::{StreamFigures, TargetState, Unknown, Watched},
        },
        *,
    };

    /// Keeps every status that was written, and refuses the first few.
    #[derive(Default)]
    struct Writes {
        written: Mutex<Vec<(Instant, ConsumerGroupStatus)>>,
        refusals: Mutex<u32>,
    }

    impl Writes {
        fn all(&self) -> Vec<(Instant, ConsumerGroupStatus)> {
            self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }

        async fn number(&self, number: usize) -> Vec<(Instant, ConsumerGroupStatus)> {
            let deadline = Instant::now() + Duration::from_mins(1);
            while self.all().len() < number {
                assert!(Instant::now() < deadline, "no write number {number} within a minute");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            self.all()
        }
    }

    impl Cluster for Writes {
        async fn scale(&self, _: &WriteToken, _: &ObjectKey, _: u32) -> Result<Written, Failure> {
            Err(Failure::NotFound)
        }

        async fn write_status(&self, _: &WriteToken, _: &Subject, status: &ConsumerGroupStatus) -> Result<(), Failure> {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if *refusals > 0 {
                *refusals -= 1;
                return Err(Failure::Refused(500));
            }
            let written = (Instant::now(), status.clone());
            self.written
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(written);
            Ok(())
        }

        async fn credentials(&self, _: &ObjectKey) -> Result<Credentials, Unknown> {
            Err(Unknown::SecretNotFound)
        }

        fn tell(&self, _: &Subject, _: Notice) {}
    }

    fn subject() -> Subject {
        Subject {
            key: ObjectKey::new("shop", "one"),
            uid: "uid".to_owned(),
            generation: Some(1),
            owner: None,
        }
    }

    fn report(backlog: u64, replicas: u32) -> Report {
        Report::Watched(Watched {
            target: TargetState::Found(replicas),
            unknown: None,
            streams: vec![StreamFigures {
                key: "orders".to_owned(),
                undelivered: backlog,
                pending: 0,
            }],
            backlog,
            desired: Some(replicas),
            limited: false,
            last_scale: None,
        })
    }

    fn publisher(writes: &Arc<Writes>, figures: Duration) -> (Publisher, CancellationToken) {
        let stop = CancellationToken::new();
        let settings = Settings {
            figures,
            pause: Duration::from_millis(10),
        };
        let (publisher, _) = Publisher::start(
            Arc::clone(writes),
            Leadership::always(),
            settings,
            |_| Some(ConsumerGroupStatus::default()),
            stop.clone(),
        );
        (publisher, stop)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn replicas_at_once_figures_seldom_and_nothing_twice() {
        let writes = Arc::new(Writes::default());
        let period = Duration::from_millis(700);
        let (publisher, stop) = publisher(&writes, period);
        publisher.report(&subject(), report(1, 0));
        writes.number(1).await;
        for backlog in 2..200 {
            publisher.report(&subject(), report(backlog, 0));
            publisher.report(&subject(), report(backlog, 0));
        }
        let seen = writes.number(2).await;
        assert_eq!(seen[1].1.backlog, Some(199), "the newest, not each");
        assert!(
            seen[1].0.duration_since(seen[0].0) >= period.saturating_sub(Duration::from_millis(5)),
            "figures alone can wait"
        );
        publisher.report(&subject(), report(250, 3));
        let seen = writes.number(3).await;
        assert!(seen[2].0.duration_since(seen[1].0) < period, "replicas cannot");
        publisher.report(&subject(), report(250, 3));
        tokio::time::sleep(period * 2).await;
        assert_eq!(writes.all().len(), 3, "what is there is not written again");
        stop.cancel();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_failed_write_is_repeated() {
        let writes = Arc::new(Writes {
            refusals: Mutex::new(3),
            ..Writes::default()
        });
        let (publisher, stop) = publisher(&writes, Duration::from_mins(10));
        publisher.report(&subject(), report(1, 0));
        assert_eq!(writes.number(1).await[0].1.backlog, Some(1));
        stop.cancel();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_operator_that_does_not_lead_writes_nothing() {
        let writes = Arc::new(Writes::default());
        let standby = crate::lease::never_for_tests();
        let stop = CancellationToken::new();
        let settings = Settings {
            figures: Duration::from_millis(20),
            pause: Duration::from_millis(10),
        };
        let (publisher, _) = Publisher::start(Arc::clone(&writes), standby, settings, |_| None, stop.clone());
        publisher.report(&subject(), report(1, 0));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(writes.all().is_empty());
        stop.cancel();
    }

    /// A task that is driven by hand.
    fn task(
        leadership: Leadership,
        there: impl Fn(&Subject) -> Option<ConsumerGroupStatus> + Send + 'static,
    ) -> Task<Writes> {
        Task {
            cluster: Arc::new(Writes::default()),
            leadership,
            settings: Settings::default(),
            there: Box::new(there),
            term: None,
            swept: Instant::now(),
            objects: HashMap::new(),
            writes: JoinSet::new(),
        }
    }

    #[tokio::test]
    async fn what_was_written_in_an_earlier_term_is_compared_again() {
        let (leadership, lead) = crate::lease::switched_for_tests();
        lead(true);
        let mut task = task(leadership, |_| Some(ConsumerGroupStatus::default()));
        let mut written = async || {
            task.take(subject(), report(1, 0));
            task.write_what_is_due();
            let write = task.writes.join_next().await?;
            let (uid, status, result) = write.expect("no panic");
            task.written(&uid, status, result);
            Some(())
        };
        assert_eq!(written().await, Some(()));
        assert_eq!(written().await, None, "it is there");
        lead(false);
        lead(true);
        assert_eq!(written().await, Some(()), "another leader may have written in between");
    }

    #[tokio::test]
    async fn objects_that_are_gone_are_forgotten_and_refusals_make_patient() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let gone = Arc::new(AtomicBool::new(false));
        let is_gone = Arc::clone(&gone);
        let mut task = task(Leadership::always(), move |_| {
            (!is_gone.load(Ordering::SeqCst)).then(ConsumerGroupStatus::default)
        });
        let started = task.swept;
        task.take(subject(), report(1, 0));
        task.write_what_is_due();
        for failures in 1..4 {
            let object = task.objects.get_mut("uid").expect("there");
            object.writing = true;
            task.written("uid", ConsumerGroupStatus::default(), Err(Failure::Refused(422)));
            assert_eq!(task.objects["uid"].failures, failures);
        }
        let pauses: Vec<u64> = [1, 2, 3, 7, u32::MAX]
            .map(|it| task.settings.after(it).as_secs())
            .into();
        assert_eq!(pauses, [1, 2, 4, 60, 60]);
        task.sweep(started + Duration::from_hours(1));
        assert_eq!(task.objects.len(), 1);
        gone.store(true, Ordering::SeqCst);
        task.sweep(started + Duration::from_hours(2));
        assert_eq!(task.objects.len(), 0);
    }
}
