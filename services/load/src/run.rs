//! What everything in one run shares.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shopwright_domain::ids::OrderId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::Client;
use crate::journal::{Fact, Journal, JournalError, Record, When};
use crate::products::Products;
use crate::recorder::Recorder;

/// How many of the newest orders are offered to the readers of streams.
const RECENT: usize = 64;
const COMPARISONS: usize = 32;

/// An order that the shop took.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) token: String,
    pub(crate) accepted_at: Instant,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) client: Client,
    pub(crate) products: Products,
    pub(crate) recorder: Recorder,
    /// Bounds the calls that shoppers and staff have in flight.
    in_flight: Arc<Semaphore>,
    /// Bounds the orders that are followed at once; the others wait their turn.
    pub(crate) followers: Semaphore,
    /// Bounds the reads with which readers of streams compare at once: at the end all of them do.
    pub(crate) comparisons: Semaphore,
    pub(crate) tasks: TaskTracker,
    /// Ends everything: what is in flight is recorded as unknown.
    pub(crate) over: CancellationToken,
    /// How long a stream has for telling what a read already tells.
    pub(crate) settle: Duration,
    journal: Option<Journal>,
    journal_failure: Mutex<Option<JournalError>>,
    recent: watch::Sender<VecDeque<Arc<Order>>>,
}

impl Run {
    pub(crate) fn new(
        client: Client,
        products: Products,
        bounds: (usize, usize),
        settle: Duration,
        journal: Option<Journal>,
        over: CancellationToken,
    ) -> Self {
        Self {
            client,
            products,
            recorder: Recorder::default(),
            in_flight: Arc::new(Semaphore::new(bounds.0)),
            followers: Semaphore::new(bounds.1),
            comparisons: Semaphore::new(COMPARISONS),
            tasks: TaskTracker::new(),
            over,
            settle,
            journal,
            journal_failure: Mutex::new(None),
            recent: watch::Sender::new(VecDeque::new()),
        }
    }

    /// Writes a fact down. A journal that cannot be written ends the run: what it would find could not be checked.
    pub(crate) fn write(&self, when: When, fact: Fact) {
        let record = Record { when, fact };
        if let Some(Err(error)) = self.journal.as_ref().map(|journal| journal.write(&record)) {
            let mut failure = self.journal_failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(error);
            self.over.cancel();
        }
    }

    pub(crate) fn journal_failure(&self) -> Option<JournalError> {
        self.journal_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Room for one more call, if there is some at once.
    pub(crate) fn try_room(&self) -> Option<OwnedSemaphorePermit> {
        self.in_flight.clone().try_acquire_owned().ok()
    }

    /// Room for one more call. None when the run is over first.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = self.in_flight.clone().acquire_owned() => permit.ok(),
            () = self.over.cancelled() => None,
        }
    }

    /// Offers an order to the readers of streams.
    pub(crate) fn offer(&self, order: Arc<Order>) {
        self.recent.send_modify(|orders| {
            orders.push_front(order);
            orders.truncate(RECENT);
        });
    }

    /// One of the newest orders, another one for each number; waits for the first.
    pub(crate) async fn recent(&self, number: usize) -> Option<Arc<Order>> {
        let mut orders = self.recent.subscribe();
        let orders = orders.wait_for(|orders| !orders.is_empty()).await.ok()?;
        orders.get(number % orders.len()).cloned()
    }
}
