//! The publisher against a cluster that only records.

use std::sync::{Mutex, PoisonError};

use super::{
    super::{
        cluster::{Notice, Written},
        credentials::SecretData,
        identity::ObjectKey,
        status::{Figures, TargetState, Unknown, Watched, decided_for_tests, watched_for_tests},
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

    async fn secret(&self, _: &ObjectKey) -> Result<SecretData, Unknown> {
        Err(Unknown::SecretNotFound)
    }

    async fn set_deletion_cost(&self, _: &WriteToken, _: &ObjectKey, _: &str, _: i32) -> Result<(), Failure> {
        Ok(())
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
    let watched = watched_for_tests();
    Report::Watched(Box::new(Watched {
        target: TargetState::Found(replicas),
        figures: Figures {
            backlog,
            ..watched.figures
        },
        decision: Some(decided_for_tests(replicas, "AsNeeded")),
        ..watched
    }))
}

fn publisher(writes: &Arc<Writes>, figures: Duration) -> (Publisher, CancellationToken) {
    let stop = CancellationToken::new();
    let settings = Settings {
        figures,
        pause: Duration::from_millis(10),
        window: Duration::from_millis(20),
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
    let period = Duration::from_secs(5);
    let (publisher, stop) = publisher(&writes, period);
    publisher.report(&subject(), report(1, 0), 1);
    writes.number(1).await;
    for backlog in 2..200 {
        publisher.report(&subject(), report(backlog, 0), 1);
        publisher.report(&subject(), report(backlog, 0), 1);
    }
    let seen = writes.number(2).await;
    assert_eq!(seen[1].1.backlog, Some(199), "the newest, not each");
    assert!(
        seen[1].0.duration_since(seen[0].0) >= period / 2,
        "figures alone can wait"
    );
    publisher.report(&subject(), report(250, 3), 1);
    let seen = writes.number(3).await;
    assert!(seen[2].0.duration_since(seen[1].0) < period, "replicas cannot");
    publisher.report(&subject(), report(250, 3), 1);
    tokio::time::sleep(period * 5 / 4).await;
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
    publisher.report(&subject(), report(1, 0), 1);
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
        window: Duration::from_millis(20),
    };
    let (publisher, _) = Publisher::start(Arc::clone(&writes), standby, settings, |_| None, stop.clone());
    publisher.report(&subject(), report(1, 0), 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(writes.all().is_empty());
    stop.cancel();
}

fn handed(report: Report, round: u64) -> Handed {
    Handed {
        subject: subject(),
        report,
        round,
    }
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
        task.take(handed(report(1, 0), 1));
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
    task.take(handed(report(1, 0), 1));
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

#[tokio::test]
async fn a_slow_pass_does_not_overtake_the_word_that_its_group_is_left_alone() {
    let mut task = task(Leadership::always(), |_| Some(ConsumerGroupStatus::default()));
    let ready = async |task: &mut Task<Writes>| {
        task.write_what_is_due();
        while let Some(write) = task.writes.join_next().await {
            let (uid, status, result) = write.expect("no panic");
            task.written(&uid, status, result);
        }
        let ready = task.objects["uid"].there.conditions.first().cloned();
        ready.map(|it| (it.status, it.reason))
    };
    task.settings.pause = Duration::ZERO;
    let idle = || Report::Idle(super::super::assign::Idle::Invalid(vec!["a problem".to_owned()]));
    let invalid = Some(("False".to_owned(), "InvalidSpec".to_owned()));
    task.take(handed(report(1, 0), 1));
    assert_eq!(ready(&mut task).await, Some(("True".to_owned(), "Scaling".to_owned())));
    task.take(handed(idle(), 2));
    task.take(handed(report(2, 0), 1));
    assert_eq!(ready(&mut task).await, invalid);
    task.take(handed(report(3, 0), 1));
    assert_eq!(ready(&mut task).await, invalid, "however late it comes");
    task.take(handed(report(3, 0), 3));
    assert_eq!(ready(&mut task).await, Some(("True".to_owned(), "Scaling".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_at_most_four_writes_in_any_window_and_the_urgent_one_gets_its_slot() {
    let writes = Arc::new(Writes::default());
    let stop = CancellationToken::new();
    let window = Duration::from_secs(2);
    let settings = Settings {
        figures: Duration::from_millis(5),
        pause: Duration::from_millis(1),
        window,
    };
    let (publisher, _) = Publisher::start(
        Arc::clone(&writes),
        Leadership::always(),
        settings,
        |_| Some(ConsumerGroupStatus::default()),
        stop.clone(),
    );
    let started = Instant::now();
    let mut backlog = 0;
    while started.elapsed() < window * 4 {
        backlog += 1;
        // Replicas change now and then, figures all the time.
        publisher.report(&subject(), report(backlog, u32::try_from(backlog / 20).unwrap_or(0)), 1);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let written = writes.all();
    let fits = |five: &[(Instant, ConsumerGroupStatus)]| five[4].0.duration_since(five[0].0) >= window / 4;
    assert!(
        written.windows(5).all(fits),
        "{:?}",
        written.iter().map(|it| it.0 - started).collect::<Vec<_>>()
    );
    assert!(written.len() > 4, "and it goes on: {}", written.len());
    stop.cancel();
}

#[test]
fn a_ramp_leaves_room_for_its_end() {
    let start = Instant::now();
    let settings = Settings::default();
    let mut object = Object {
        subject: subject(),
        there: ConsumerGroupStatus::default(),
        wanted: None,
        round: 1,
        budget: Budget::default(),
        writing: false,
        next: None,
        failures: 0,
    };
    let mut written: Vec<u64> = Vec::new();
    for second in 0..180 {
        let now = start + Duration::from_secs(second);
        if object.wait(Urgency::Now, &settings, now).is_zero() {
            object.budget.spend(now);
            written.push(second);
        }
    }
    assert_eq!(&written[..5], [0, 1, 6, 26, 60]);
    assert!(written.windows(5).all(|five| five[4] - five[0] >= 60), "{written:?}");
    assert!(written.windows(2).all(|two| two[1] - two[0] <= 34), "{written:?}");
}
