//! One run: arrivals at their times, whatever the shop does; then following what was accepted; then the report.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::ShopUrl;
use crate::admin_key::AdminKey;
use crate::client::Client;
use crate::journal::{Journal, JournalError};
use crate::machine::Machine;
use crate::mix::{Mix, Part};
use crate::plan::{Arrivals, Plan, PlanSettings};
use crate::products::Products;
use crate::reader;
use crate::report::{Report, Starts};
use crate::run::Run;
use crate::shopper;

/// Arrivals that found no room are started until this long after the last intended start, then never.
const OVERTIME: Duration = Duration::from_secs(30);

/// A load on a shop. [`Load::new`] sets everything; change what should differ.
#[derive(Debug, Clone)]
pub struct Load {
    /// The storefront. Requests go nowhere else.
    pub url: ShopUrl,
    /// For refunds.
    pub admin_key: Option<AdminKey>,
    /// What is ordered.
    pub products: Products,
    /// What shoppers come for.
    pub mix: Mix,
    /// Arrivals a second.
    pub rate: f64,
    /// How arrivals lie in time.
    pub arrivals: Arrivals,
    /// How long arrivals go on.
    pub duration: Duration,
    /// The most arrivals.
    pub count: u64,
    /// The same seed, with the same settings, makes the same arrivals.
    pub seed: u64,
    /// Where accepted orders are written down, appended to what is there.
    pub journal: Option<PathBuf>,
    /// The most arrivals under way at once.
    pub in_flight: usize,
    /// The most orders followed at once.
    pub followers: usize,
    /// How long after the last arrival orders are still followed.
    pub follow: Duration,
    /// How many live streams of orders are read.
    pub readers: usize,
    /// How long a live stream has for telling what a read already tells.
    pub settle: Duration,
    /// For one reply.
    pub timeout: Duration,
    /// The most attempts of one POST.
    pub attempts: u32,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The client cannot be made.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The journal. Once it cannot be written the run ends.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Refunds are the staff's.
    #[error("the mix has refunds, which need the shop's admin key")]
    NoAdminKey,
    /// A rate that is none.
    #[error("a rate is above 0 and at most 100,000 a second")]
    Rate,
}

impl Load {
    /// 10 arrivals a second of the default mix for a minute, seed 1, followed for another minute.
    pub fn new(url: ShopUrl, products: Products) -> Self {
        Self {
            url,
            admin_key: None,
            products,
            mix: Mix::default(),
            rate: 10.0,
            arrivals: Arrivals::Poisson,
            duration: Duration::from_secs(60),
            count: u64::MAX,
            seed: 1,
            journal: None,
            in_flight: 256,
            followers: 256,
            follow: Duration::from_secs(60),
            readers: 0,
            settle: Duration::from_secs(20),
            timeout: Duration::from_secs(15),
            attempts: 8,
        }
    }

    /// Runs to the end, or until `cancel`: then what is in flight is recorded as unknown, and the report tells of the rest.
    pub async fn run(self, cancel: CancellationToken) -> Result<Report, LoadError> {
        if !(self.rate > 0.0 && self.rate <= 100_000.0) {
            return Err(LoadError::Rate);
        }
        if self.mix.contains(Part::Refunds) && self.admin_key.is_none() {
            return Err(LoadError::NoAdminKey);
        }
        let client = Client::new(
            self.url.clone(),
            self.admin_key.clone(),
            self.timeout,
            self.attempts.max(1),
        )?;
        let journal = self.journal.as_deref().map(Journal::open).transpose()?;
        let bounds = (self.in_flight.max(1), self.followers.max(1));
        let over = cancel.child_token();
        // However this future ends, nothing of it goes on.
        let _end = over.clone().drop_guard();
        let run = Arc::new(Run::new(
            client,
            self.products.clone(),
            bounds,
            self.settle,
            journal,
            over,
        ));

        let (readers, finish) = (TaskTracker::new(), run.over.child_token());
        for number in 0..self.readers {
            readers.spawn(reader::read(run.clone(), number, finish.clone()));
        }
        readers.close();

        let began = Instant::now();
        self.arrive(&run, began).await;
        let loaded = began.elapsed();
        run.tasks.close();
        tokio::select! {
            () = run.tasks.wait() => {}
            () = tokio::time::sleep(self.follow) => {}
            () = run.over.cancelled() => {}
        }
        let followed = began.elapsed().saturating_sub(loaded);
        finish.cancel();
        readers.wait().await;
        run.over.cancel();
        run.tasks.wait().await;
        match run.journal_failure() {
            Some(error) => Err(error.into()),
            None => Ok(self.report(&run, loaded, followed)),
        }
    }

    async fn arrive(&self, run: &Arc<Run>, began: Instant) {
        let mut plan = Plan::new(PlanSettings {
            seed: self.seed,
            rate: self.rate,
            arrivals: self.arrivals,
            duration: self.duration,
            count: self.count,
            mix: self.mix.clone(),
            products: self.products.as_slice().len(),
            has_staff: self.admin_key.is_some(),
        });
        let overtime = tokio::time::sleep_until(began + self.duration + OVERTIME);
        tokio::pin!(overtime);
        let mut waited_until = began;
        while let Some(planned) = plan.next() {
            let intended = began + planned.at;
            let room = async {
                tokio::time::sleep_until(intended).await;
                if let Some(room) = run.try_room() {
                    return Some(room);
                }
                let room = run.room().await;
                waited_until = Instant::now();
                room
            };
            let room = tokio::select! {
                biased;
                () = run.over.cancelled() => None,
                () = &mut overtime => None,
                room = room => room,
            };
            let Some(room) = room else {
                let never = 1 + plan.count() as u64;
                run.recorder.count(|counts| counts.never_started += never);
                return;
            };
            run.recorder.count(|counts| {
                counts.started += 1;
                // Those that were due while an earlier one waited had to wait too.
                counts.late += u64::from(intended < waited_until);
                counts.start_delay.record(intended.elapsed());
            });
            let shared = run.clone();
            run.tasks.spawn(async move {
                shopper::act(&shared, planned.action, intended).await;
                drop(room);
            });
        }
    }

    fn report(&self, run: &Run, loaded: Duration, followed: Duration) -> Report {
        let counts = run.recorder.snapshot();
        Report {
            url: self.url.to_string(),
            rate: self.rate,
            mix: self.mix.clone(),
            seed: self.seed,
            machine: Machine::here(),
            loaded,
            followed,
            starts: Starts {
                started: counts.started,
                late: counts.late,
                never: counts.never_started,
                delay: counts.start_delay,
            },
            orders: counts.placed,
            cancels: counts.cancels,
            refunds: counts.refunds,
            refunds_unsettled: counts.refunds_unsettled,
            ended: counts.ended,
            unfinished: counts.unfinished,
            placed_to_terminal: counts.placed_to_terminal,
            calls: counts.calls,
            failures: counts.failures,
            readers: self.readers,
            streams: counts.streams,
            violations: counts.violations,
            details: counts.details,
        }
    }
}
