//! The loop itself: recover, claim, read, hand out. Owns the private connection.
//!
//! One task claims and reads in turn, so that both see the same number of free slots and nothing is taken that cannot
//! be handled at once.

use super::batch::Batch;
use super::claim::{self, pairs};
use super::contact::Contact;
use super::entry::Entry;
use super::handling::Handling;
use super::hold::Holding;
use super::recover::Recovery;
use super::work::Bench;
use super::{ALONE_FROM, Counters, Drained, LARGEST_BATCH, Settings};
use crate::back_off::BackOff;
use crate::connection::Client;
use crate::entry_id::EntryId;
use crate::error::{Class, Error};
use crate::group;
use redis::Value;
use redis::aio::MultiplexedConnection;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

pub(super) struct Reader<H> {
    pub(super) client: Client,
    stream: Arc<str>,
    pub(super) bench: Arc<Bench<H>>,
    pub(super) holding: Holding,
    slots: Arc<Semaphore>,
    pub(super) tasks: JoinSet<()>,
    connection: Option<MultiplexedConnection>,
    pub(super) recovery: Recovery,
    contact: Contact,
    claim_cursor: EntryId,
    next_claim: Instant,
    back_off: BackOff,
}

impl<H: Handling> Reader<H> {
    pub(super) fn new(
        client: Client,
        settings: Settings,
        handling: H,
        counters: Arc<Counters>,
        shutdown: CancellationToken,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(settings.concurrency.max(1)));
        let stream = Arc::from(settings.key.as_str());
        let holding = Holding::new(Arc::clone(&counters));
        let contact = Contact::new(settings.claim_min_idle);
        let settings = Arc::new(settings);
        let bench = Bench {
            shared: client.shared(),
            settings,
            handling,
            counters,
            shutdown,
        };
        Self {
            client,
            stream,
            bench: Arc::new(bench),
            holding,
            slots,
            tasks: JoinSet::new(),
            connection: None,
            recovery: Recovery::new(),
            contact,
            claim_cursor: EntryId::ZERO,
            next_claim: Instant::now(),
            back_off: BackOff::new(FIRST_WAIT, LONGEST_WAIT),
        }
    }

    pub(super) async fn run(mut self) -> Drained {
        let shutdown = self.bench.shutdown.clone();
        // In a set of its own, so that it ends with this future even when that is dropped.
        let mut renewal = JoinSet::new();
        renewal.spawn(self.holding.clone().renew(
            self.client.shared(),
            Arc::clone(&self.bench.settings),
            self.contact.clone(),
        ));
        while !shutdown.is_cancelled() {
            self.reap_finished();
            // Nothing is taken from Redis before there is a slot for it.
            let free = Arc::clone(&self.slots).acquire_owned();
            if shutdown.run_until_cancelled(free).await.is_none() {
                break;
            }
            // Not cut short by shutdown: what Redis has handed out by then would wait for a claim. It ends by itself,
            // after the block.
            if let Err(error) = self.turn().await {
                self.failed(error).await;
            }
        }
        // Nothing is read any more.
        self.connection = None;
        self.drain(renewal).await
    }

    /// Takes as many entries as there are free slots, from the first source that has some.
    async fn turn(&mut self) -> Result<(), Error> {
        if !self.recovery.is_over() {
            return self.recover().await;
        }
        if Instant::now() >= self.next_claim {
            if self.contact.may_claim() {
                self.claim().await?;
            }
            self.next_claim = Instant::now() + self.bench.settings.claim_interval;
            if self.free() == 0 {
                return Ok(());
            }
        }
        self.read().await
    }

    fn free(&self) -> usize {
        self.slots.available_permits().min(LARGEST_BATCH)
    }

    async fn recover(&mut self) -> Result<(), Error> {
        let shared = self.client.shared();
        let settings = Arc::clone(&self.bench.settings);
        if self.recovery.is_incomplete() {
            let pending = claim::list_own(&shared, &settings).await?;
            self.contact.answered();
            // What was left so long ago may have been claimed since, with a reply that was lost.
            self.holding.forget_left(settings.claim_min_idle);
            self.recovery.listed(pending, &self.holding.known());
        }
        let batch = self.recovery.next(self.free());
        if batch.is_empty() {
            return Ok(());
        }
        let page = claim::take_own(&shared, &settings, &self.stream, &batch).await?;
        self.contact.answered();
        self.recovery.taken(&batch);
        Counters::add(&self.bench.counters.claimed, page.entries.len());
        Counters::add(&self.bench.counters.deleted, page.deleted);
        self.hand_out(page.entries);
        Ok(())
    }

    async fn claim(&mut self) -> Result<(), Error> {
        let (shared, settings) = (self.client.shared(), Arc::clone(&self.bench.settings));
        let (free, in_hand) = (self.free(), self.holding.in_hand());
        let found = claim::look(&shared, &settings, self.claim_cursor, free, &in_hand).await?;
        self.contact.answered();
        self.claim_cursor = found.next.unwrap_or(EntryId::ZERO);
        // The look itself may have waited for the end of an outage.
        if found.ids.is_empty() || !self.contact.may_claim() {
            return Ok(());
        }
        let page = claim::claim(&shared, &settings, &self.stream, &found.ids, free).await?;
        self.contact.answered();
        if let Some(last) = page.entries.last().filter(|_| page.entries.len() == free) {
            // There may be more behind it.
            self.claim_cursor = last.id;
        }
        Counters::add(&self.bench.counters.claimed, page.entries.len());
        Counters::add(&self.bench.counters.deleted, page.deleted);
        self.hand_out(page.entries);
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Error> {
        let settings = Arc::clone(&self.bench.settings);
        let until_claim = self.next_claim.saturating_duration_since(Instant::now());
        // To wait for entries must not look like an outage. BLOCK 0 would wait for ever.
        let block = settings.block.min(until_claim).min(settings.claim_min_idle / 4);
        let block = block.max(Duration::from_millis(1));
        let mut command = redis::cmd("XREADGROUP");
        command
            .arg("GROUP")
            .arg(&settings.group)
            .arg(&settings.consumer)
            .arg("COUNT")
            .arg(self.free());
        command
            .arg("BLOCK")
            .arg(u64::try_from(block.as_millis()).unwrap_or(u64::MAX));
        command.arg("STREAMS").arg(&settings.key).arg(">");
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.client.private(settings.block).await?),
        };
        let reply: Value = command.query_async(connection).await?;
        self.contact.answered();
        // Only here: recovery and claim may go well again and again while reading does not.
        self.back_off.reset();
        let entries = new_entries(reply, &self.stream)?;
        Counters::add(&self.bench.counters.delivered, entries.len());
        self.hand_out(entries);
        Ok(())
    }

    fn hand_out(&mut self, entries: Vec<Entry>) {
        let mut together = Batch::default();
        for entry in entries {
            // Never more are asked for than there are slots, and only this task takes slots.
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
                tracing::error!(stream = self.bench.settings.key, entry = %entry.id, "no slot is free; left pending");
                continue;
            };
            let Some(held) = self.holding.take(entry.id, slot) else {
                continue;
            };
            let bench = Arc::clone(&self.bench);
            if bench.is_poison(&entry) {
                self.tasks.spawn(bench.put_aside(held));
            } else if H::TOGETHER && entry.delivery_count < ALONE_FROM {
                together.push(entry, held);
            } else {
                self.tasks.spawn(bench.work(Batch::of(entry, held)));
            }
        }
        if !together.is_empty() {
            self.tasks.spawn(Arc::clone(&self.bench).work(together));
        }
    }

    async fn failed(&mut self, error: Error) {
        self.bench.counters.failures.fetch_add(1, Ordering::Relaxed);
        let settings = &self.bench.settings;
        tracing::warn!(stream = settings.key, group = settings.group, %error, "reading failed; trying again");
        self.connection = None;
        // What was handed out with a lost reply is pending under this consumer's name: found by looking once more.
        self.recovery.call_failed();
        if error.class() == Class::NoGroup
            && let Some(start) = settings.ensure
            && group::ensure(&self.client.shared(), &settings.key, &settings.group, start)
                .await
                .is_ok()
        {
            return;
        }
        let wait = self.back_off.wait();
        self.bench.shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
    }

    fn reap_finished(&mut self) {
        while let Some(finished) = self.tasks.try_join_next() {
            log_panic(&self.bench.settings, finished);
        }
    }
}

pub(super) fn log_panic(settings: &Settings, finished: Result<(), tokio::task::JoinError>) {
    if finished.is_err_and(|error| error.is_panic()) {
        tracing::error!(
            stream = settings.key,
            group = settings.group,
            "a handler panicked; what it had stays pending"
        );
    }
}

/// The entries of an XREADGROUP reply for one stream; nil when none came in time.
fn new_entries(reply: Value, stream: &Arc<str>) -> Result<Vec<Entry>, Error> {
    type Stream = (Vec<u8>, Vec<(String, Vec<Vec<u8>>)>);
    let streams: Option<Vec<Stream>> = redis::from_redis_value(reply)?;
    let items = streams.into_iter().flatten().flat_map(|(_, items)| items);
    items
        .map(|(id, fields)| {
            Ok(Entry {
                stream: Arc::clone(stream),
                id: id.parse().map_err(|_| Error::unexpected_reply())?,
                delivery_count: 1,
                fields: pairs(fields),
            })
        })
        .collect()
}
