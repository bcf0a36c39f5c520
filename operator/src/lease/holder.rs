//! The election: one task that takes, renews and releases a Lease. Writes only that Lease.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use rand::RngExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, info_span, warn};

use super::{
    evaluate::{Record, Step, evaluate},
    store::{LeaseStore, StoreError, new_lease, release, renew, take},
    token::{Leadership, Writer},
};
use crate::metrics::Metrics;

/// Who takes part in the election, and its times.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This candidate's name; must differ between processes.
    pub identity: String,
    /// How long others wait after the last renewal; whole seconds.
    pub ttl: Duration,
    /// Time between two attempts to take or renew, jittered by a fifth.
    pub period: Duration,
}

impl Settings {
    /// The defaults: 15 s, renewed every 2 s, so that a leader may write until 10 s after its last renewal.
    ///
    /// The process's own suffix keeps a restarted container from taking its predecessor's lease for its own.
    pub fn new(pod_name: &str) -> Self {
        let suffix = uuid::Uuid::new_v4().simple().to_string();
        Self {
            identity: format!("{pod_name}_{}", suffix.get(..8).unwrap_or(&suffix)),
            ttl: Duration::from_secs(15),
            period: Duration::from_secs(2),
        }
    }

    /// How long after a renewal this process may write. The rest of the lease is the margin for a write under way.
    fn write_window(&self) -> Duration {
        self.ttl * 2 / 3
    }

    fn pause(&self) -> Duration {
        let fifth = u64::try_from((self.period / 5).as_millis()).unwrap_or(u64::MAX);
        self.period.saturating_sub(self.period / 10) + Duration::from_millis(rand::rng().random_range(0..=fifth))
    }
}

/// Takes part in the election until `shutdown`, then gives the lease back. Await the handle last, after all writers
/// have ended.
pub fn hold<S: LeaseStore>(
    store: S,
    settings: Settings,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> (Leadership, JoinHandle<()>) {
    let (writer, leadership) = Writer::new();
    let span = info_span!("lease", identity = settings.identity);
    let candidate = Candidate {
        store,
        settings,
        metrics,
        writer,
        seen: None,
        held: None,
    };
    (leadership, tokio::spawn(candidate.run(shutdown).instrument(span)))
}

struct Candidate<S> {
    store: S,
    settings: Settings,
    metrics: Arc<Metrics>,
    writer: Writer,
    /// The last version seen, and since when.
    seen: Option<(String, Instant)>,
    /// The Lease as we last wrote it: a renewal then needs one request, guarded by this version.
    held: Option<Lease>,
}

impl<S: LeaseStore> Candidate<S> {
    async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let attempt_limit = if self.writer.leads() {
                self.writer.remaining()
            } else {
                self.settings.write_window()
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                result = tokio::time::timeout(attempt_limit, self.attempt()) => match result {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        self.held = None;
                        warn!(%error, "the lease could not be taken or renewed");
                    }
                    Err(_) => {
                        self.held = None;
                        warn!("the API server did not answer in time");
                    }
                }
            }
            if self.writer.leads() && self.writer.remaining().is_zero() {
                self.step_down("it was not renewed in time");
            }
            let pause = self.settings.pause();
            // A leader that cannot renew must say so at its deadline, not a period later.
            let pause = if self.writer.leads() {
                pause.min(self.writer.remaining())
            } else {
                pause
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.give_back().await;
    }

    async fn attempt(&mut self) -> Result<(), StoreError> {
        let asked = Instant::now();
        if self.writer.leads()
            && let Some(mut lease) = self.held.clone()
        {
            renew(&mut lease, self.settings.ttl, Timestamp::now());
            match self.store.replace(&lease).await {
                Ok(stored) => {
                    self.keep(stored, asked);
                    return Ok(());
                }
                Err(StoreError::Conflict) => self.held = None,
                Err(other) => return Err(other),
            }
        }
        let found = self.store.get().await?;
        let step = evaluate(
            found.as_ref().map(record).as_ref(),
            self.unchanged_for(found.as_ref()),
            &self.settings.identity,
        );
        let now = Timestamp::now();
        let written = match (step, found) {
            (Step::Create, _) | (_, None) => {
                self.store
                    .create(&new_lease(&self.settings.identity, self.settings.ttl, now))
                    .await
            }
            (Step::Take { transitions }, Some(mut lease)) => {
                take(&mut lease, &self.settings.identity, self.settings.ttl, transitions, now);
                self.store.replace(&lease).await
            }
            (Step::Renew, Some(mut lease)) => {
                renew(&mut lease, self.settings.ttl, now);
                self.store.replace(&lease).await
            }
            (Step::Wait, Some(_)) => {
                if self.writer.leads() {
                    self.step_down("someone else holds it");
                }
                return Ok(());
            }
        };
        match written {
            Ok(stored) => self.keep(stored, asked),
            // Another candidate was quicker; the next attempt reads what it wrote.
            Err(StoreError::Conflict) => {}
            Err(other) => return Err(other),
        }
        Ok(())
    }

    fn keep(&mut self, lease: Lease, asked: Instant) {
        self.held = Some(lease);
        if self.writer.won(asked, self.settings.write_window()) {
            self.metrics.leader(true);
            info!("this operator leads");
        }
    }

    fn step_down(&mut self, why: &'static str) {
        self.held = None;
        if self.writer.lost() {
            self.metrics.leader(false);
            warn!(why, "this operator no longer leads");
        }
    }

    /// How long the record has been as it is, by our own clock.
    fn unchanged_for(&mut self, lease: Option<&Lease>) -> Duration {
        let version = lease
            .and_then(|lease| lease.metadata.resource_version.clone())
            .unwrap_or_default();
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed(),
            _ => {
                self.seen = Some((version, Instant::now()));
                Duration::ZERO
            }
        }
    }

    async fn give_back(mut self) {
        let held = self.held.take();
        if !self.writer.lost() {
            return;
        }
        self.metrics.leader(false);
        let Some(mut lease) = held else { return };
        release(&mut lease, Timestamp::now());
        match tokio::time::timeout(
            self.settings.period.max(Duration::from_secs(1)),
            self.store.replace(&lease),
        )
        .await
        {
            Ok(Ok(_)) => info!("lease released"),
            Ok(Err(error)) => warn!(%error, "the lease could not be released; it will expire"),
            Err(_) => warn!("the API server did not answer; the lease will expire"),
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .unwrap_or(0);
    Record {
        holder: spec.holder_identity,
        ttl: Duration::from_secs(seconds),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// A Lease behind an API server that can be cut off; writes are refused unless they name the stored version.
    #[derive(Clone, Default)]
    struct Memory {
        lease: Arc<Mutex<Option<Lease>>>,
        cut_off: Arc<AtomicBool>,
    }

    impl Memory {
        /// A handle that can be cut off by itself.
        fn another_way(&self) -> Self {
            Self {
                lease: Arc::clone(&self.lease),
                cut_off: Arc::default(),
            }
        }

        async fn reach(&self) {
            if self.cut_off.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
        }

        fn write(&self, lease: &Lease, expected: Option<&str>) -> Result<Lease, StoreError> {
            let mut stored = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
            let version = stored
                .as_ref()
                .and_then(|lease| lease.metadata.resource_version.clone());
            if version.as_deref() != expected {
                return Err(StoreError::Conflict);
            }
            let next = version.and_then(|version| version.parse::<u64>().ok()).unwrap_or(0) + 1;
            let mut lease = lease.clone();
            lease.metadata.resource_version = Some(next.to_string());
            *stored = Some(lease.clone());
            Ok(lease)
        }

        fn spec(&self) -> k8s_openapi::api::coordination::v1::LeaseSpec {
            let stored = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
            stored.clone().and_then(|lease| lease.spec).unwrap_or_default()
        }
    }

    impl LeaseStore for Memory {
        async fn get(&self) -> Result<Option<Lease>, StoreError> {
            self.reach().await;
            Ok(self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone())
        }

        async fn create(&self, lease: &Lease) -> Result<Lease, StoreError> {
            self.reach().await;
            self.write(lease, None)
        }

        async fn replace(&self, lease: &Lease) -> Result<Lease, StoreError> {
            self.reach().await;
            self.write(lease, lease.metadata.resource_version.as_deref())
        }
    }

    struct Contender {
        store: Memory,
        leadership: Leadership,
        shutdown: CancellationToken,
        task: JoinHandle<()>,
    }

    /// A lease of one second, the shortest the API can say.
    fn contend(store: &Memory, identity: &str) -> Contender {
        let settings = Settings {
            identity: identity.to_owned(),
            ttl: Duration::from_secs(1),
            period: Duration::from_millis(50),
        };
        let (store, shutdown) = (store.another_way(), CancellationToken::new());
        let (leadership, task) = hold(store.clone(), settings, Metrics::new(), shutdown.clone());
        Contender {
            store,
            leadership,
            shutdown,
            task,
        }
    }

    async fn eventually(what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}: not within a minute");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_exactly_one_leads_at_any_time_and_a_released_lease_passes_on() {
        let store = Memory::default();
        let contenders: Vec<Contender> = (0..5)
            .map(|number| contend(&store, &format!("candidate-{number}")))
            .collect();
        let leaders = || contenders.iter().filter(|one| one.leadership.is_leader()).count();
        let mut served = std::collections::BTreeSet::new();
        while served.len() < contenders.len() {
            eventually("a leader", || leaders() == 1).await;
            let leader = contenders.iter().position(|one| one.leadership.is_leader());
            let Some(number) = leader else { continue };
            for _ in 0..50 {
                assert!(leaders() <= 1, "two leaders at one time");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            served.insert(number);
            contenders[number].shutdown.cancel();
            eventually("released", || contenders[number].task.is_finished()).await;
            assert!(!contenders[number].leadership.is_leader());
        }
        assert_eq!(store.spec().holder_identity, None, "the last one gave it back");
        assert_eq!(
            store.spec().lease_transitions,
            Some(4),
            "created once, handed on four times"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_leader_that_is_cut_off_stops_before_another_starts_and_comes_back_as_a_standby() {
        let store = Memory::default();
        let first = contend(&store, "first");
        eventually("the first leads", || first.leadership.is_leader()).await;
        let second = contend(&store, "second");
        let token = first.leadership.token().expect("leads");

        first.store.cut_off.store(true, Ordering::SeqCst);
        eventually("the second leads", || {
            let second_leads = second.leadership.is_leader();
            assert!(!(second_leads && token.check().is_ok()), "two may write");
            second_leads
        })
        .await;
        assert_eq!(store.spec().lease_transitions, Some(1));
        first.store.cut_off.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(
            !first.leadership.is_leader() && second.leadership.is_leader(),
            "it does not take it back"
        );
        assert!(token.check().is_err());
        for contender in [first, second] {
            contender.shutdown.cancel();
            contender.task.await.expect("ends");
        }
    }

    #[test]
    fn times_of_a_default_election() {
        let settings = Settings::new("operator-0");
        assert!(settings.identity.starts_with("operator-0_"));
        assert_ne!(
            settings.identity,
            Settings::new("operator-0").identity,
            "a restarted container is another process"
        );
        assert_eq!(settings.write_window(), Duration::from_secs(10));
        for _ in 0..1_000 {
            let pause = settings.pause().as_millis();
            assert!((1_800..=2_200).contains(&pause), "{pause}");
        }
    }
}
