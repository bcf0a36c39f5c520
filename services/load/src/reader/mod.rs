//! Readers of live streams: each watches one order after another, checks every event, and at the end asks whether the
//! last event was the truth.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::OrderView;
use crate::call::Call;
use crate::client::{Caller, Get, Read, jittered};
use crate::observe::{Expect, Seen, money_fault};
use crate::report::Streams;
use crate::run::{Order, Run};
use crate::violation::ViolationKind;

mod connection;
mod sse;

use connection::{Closed, Connection};
use sse::Event;

/// A page stays open after its order has ended; and so do as many streams as there are readers.
const LINGER: Duration = Duration::from_secs(20);
/// Readers come one after another, not all in one instant.
const BETWEEN_READERS: Duration = Duration::from_millis(2);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A stream that is not found is looked for again, for a single wrong answer proves no loss.
const LOOKS: u32 = 3;

/// Watches orders until `finish`; then compares the last one.
pub(crate) async fn read(run: Arc<Run>, number: usize, finish: CancellationToken) {
    let stagger = BETWEEN_READERS * u32::try_from(number).unwrap_or(u32::MAX);
    tokio::select! {
        () = tokio::time::sleep(stagger) => {}
        () = finish.cancelled() => return,
    }
    while !finish.is_cancelled() {
        let order = tokio::select! {
            order = run.recent(number) => order,
            () = finish.cancelled() => None,
        };
        let Some(order) = order else { return };
        let reader = Reader {
            run: run.clone(),
            order,
            seen: None,
            connection: None,
            wait: Duration::ZERO,
            back_off: FIRST_WAIT,
            missing: 0,
            linger_until: None,
        };
        reader.watch(&finish).await;
    }
}

/// There is nothing to watch: the order is not there.
struct Gone;

struct Reader {
    run: Arc<Run>,
    order: Arc<Order>,
    seen: Option<Seen>,
    connection: Option<Connection>,
    /// Before the next attempt to connect.
    wait: Duration,
    back_off: Duration,
    missing: u32,
    linger_until: Option<Instant>,
}

impl Reader {
    async fn watch(mut self, finish: &CancellationToken) {
        loop {
            let linger_until = self.linger_until;
            let lingered = async {
                match linger_until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = finish.cancelled() => break,
                () = lingered => break,
                step = self.step() => if let Err(Gone) = step { return },
            }
        }
        if self.seen.is_none() {
            return self.count(|streams| streams.unconfirmed += 1);
        }
        let mut told = None;
        match tokio::time::timeout(self.run.settle, self.compare(&mut told)).await {
            Ok(true) => self.count(|streams| streams.confirmed += 1),
            Ok(false) => {}
            Err(_) => self.settled_not(told),
        }
    }

    /// One event, or one attempt to connect.
    async fn step(&mut self) -> Result<(), Gone> {
        let Some(connection) = &mut self.connection else {
            return self.connect().await;
        };
        match connection.next().await {
            Ok(event) => self.take(&event),
            Err(closed) => {
                self.connection = None;
                self.wait_longer(None);
                self.count(|streams| match closed {
                    Closed::Ended => streams.ended += 1,
                    Closed::Silent => streams.silent += 1,
                });
            }
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), Gone> {
        tokio::time::sleep(self.wait).await;
        let path = format!("/orders/{}/events", self.order.id);
        let get = Get {
            call: Call::WatchOrder,
            path: &path,
            caller: Caller::Shopper(&self.order.token),
        };
        let began = Instant::now();
        let last = self.seen.map(|seen| seen.version);
        let opened = self.run.client.open(get, last, &self.run.recorder).await;
        let is_answered = !matches!(opened, Read::Failed(_));
        self.run
            .recorder
            .finished(Call::WatchOrder, began.elapsed(), is_answered);
        match opened {
            Read::Found(response) => {
                self.missing = 0;
                self.connection = Some(Connection::new(response));
                self.count(|streams| streams.opened += 1);
            }
            Read::Missing => {
                self.missing += 1;
                if self.missing == LOOKS {
                    let detail = "accepted, and its stream is not there";
                    self.run.recorder.violation(ViolationKind::Lost, &self.order.id, detail);
                    return Err(Gone);
                }
                self.wait_longer(Some(Duration::from_secs(1)));
            }
            Read::Failed(retry_after) => {
                self.count(|streams| streams.turned_away += 1);
                self.wait_longer(retry_after);
            }
        }
        Ok(())
    }

    fn wait_longer(&mut self, at_least: Option<Duration>) {
        self.wait = jittered(self.back_off).max(at_least.unwrap_or_default());
        self.back_off = (self.back_off * 2).min(LONGEST_WAIT);
    }

    fn take(&mut self, event: &Event) {
        self.count(|streams| streams.events += 1);
        let view = match self.parse(event) {
            Ok(view) => view,
            Err(detail) => return self.violation(ViolationKind::StreamUnsound, detail),
        };
        let next = Seen::from(&view);
        let is_under_way = self
            .connection
            .as_mut()
            .is_some_and(|connection| std::mem::replace(&mut connection.is_under_way, true));
        let expect = if is_under_way { Expect::Newer } else { Expect::NotOlder };
        if let Some(Err((kind, detail))) = self.seen.map(|seen| seen.then(next, expect)) {
            self.violation(kind, &detail);
        } else if let Some(detail) = money_fault(&view) {
            self.violation(ViolationKind::Money, &detail);
        }
        self.seen = Some(next);
        // It is served again: the next break is a new one.
        self.back_off = FIRST_WAIT;
        if view.state.is_terminal() {
            self.linger_until.get_or_insert_with(|| Instant::now() + LINGER);
        }
    }

    fn parse(&self, event: &Event) -> Result<OrderView, &'static str> {
        if event.name != "order" {
            return Err("an event that is not named order");
        }
        let view: OrderView = serde_json::from_str(&event.data).map_err(|_| "an event without an order")?;
        if view.id != self.order.id {
            return Err("another order's event");
        }
        if event.id.as_deref() != Some(&view.version.to_string()) {
            return Err("an event whose id is not the order's version");
        }
        Ok(view)
    }

    /// Whether the last event is what a read says, once the stream had time to tell; false when that is settled as a
    /// violation. `told` holds what the last read said.
    async fn compare(&mut self, told: &mut Option<Seen>) -> bool {
        let (run, order) = (self.run.clone(), self.order.clone());
        let path = format!("/orders/{}", order.id);
        let get = Get {
            call: Call::ReadOrder,
            path: &path,
            caller: Caller::Shopper(&order.token),
        };
        loop {
            let Ok(turn) = run.comparisons.acquire().await else {
                return false;
            };
            let read = run.client.get::<OrderView>(get, Instant::now(), &run.recorder).await;
            drop(turn);
            let Read::Found(view) = read else {
                tokio::time::sleep(FIRST_WAIT).await;
                continue;
            };
            let (read, Some(seen)) = (Seen::from(&view), self.seen) else {
                return false;
            };
            *told = Some(read);
            if let Err((kind, detail)) = seen.then(read, Expect::NotOlder) {
                self.violation(kind, &format!("a read after the stream: {detail}"));
                return false;
            }
            if seen == read {
                return true;
            }
            while self.seen.is_some_and(|seen| seen.version < read.version) {
                if let Err(Gone) = self.step().await {
                    return false;
                }
            }
        }
    }

    /// Time is up. A stream that was open all the while had to tell; without one, or without a read, nothing is known.
    fn settled_not(&self, told: Option<Seen>) {
        let is_open = self
            .connection
            .as_ref()
            .is_some_and(|connection| connection.is_under_way);
        match (self.seen, told) {
            (Some(seen), Some(told)) if is_open && seen.version < told.version => {
                let detail = format!(
                    "the last event was version {} ({}), a read says {} ({})",
                    seen.version,
                    seen.state.as_str(),
                    told.version,
                    told.state.as_str()
                );
                self.violation(ViolationKind::StreamBehind, &detail);
            }
            _ => self.count(|streams| streams.unconfirmed += 1),
        }
    }

    fn violation(&self, kind: ViolationKind, detail: &str) {
        self.run.recorder.violation(kind, &self.order.id, detail);
    }

    fn count(&self, change: impl FnOnce(&mut Streams)) {
        self.run.recorder.count(|counts| change(&mut counts.streams));
    }
}
