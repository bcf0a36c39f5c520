//! What inventory does when payments tells something: one event, one script; what came together is stored together. Any
//! order, any number of times.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use shopwright_domain::{
    events::{self as domain, Content, OrderEvent, Received},
    reservation::Answer,
};
use shopwright_kit::is_passing;
use shopwright_streams::consume::{BatchHandler, Entry, Outcome as Delivery};

use crate::{
    events,
    reservations::{Ask, Outcome, Request, ReservationError, Reservations},
};

/// How long entries are kept in hand before they are tried again while Redis refuses them.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnsweredLabels {
    event: &'static str,
    answer: &'static str,
    repeated: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IgnoredLabels {
    reason: &'static str,
}

/// Counts of events by what became of them.
#[derive(Debug, Clone, Default)]
pub struct ReactionMetrics {
    answered: Family<AnsweredLabels, Counter<u64, AtomicU64>>,
    ignored: Family<IgnoredLabels, Counter<u64, AtomicU64>>,
    alarms: Counter<u64, AtomicU64>,
}

impl ReactionMetrics {
    /// Registers `reservations_answered_total`, `events_ignored_total` and `reservation_alarms_total`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "reservations_answered",
            "Events answered, by answer",
            metrics.answered.clone(),
        );
        registry.register(
            "events_ignored",
            "Entries without effect: not understood, none needed, or lost by Redis after they were read",
            metrics.ignored.clone(),
        );
        registry.register(
            "reservation_alarms",
            "Requests to release what is sold",
            metrics.alarms.clone(),
        );
        metrics
    }

    fn ignore(&self, reason: &'static str) {
        self.ignored.get_or_create(&IgnoredLabels { reason }).inc();
    }
}

/// The handler of `{NAME-payments}:events`.
#[derive(Debug)]
pub struct Reactions {
    reservations: Reservations,
    metrics: ReactionMetrics,
}

impl Reactions {
    /// Over the service's own connection.
    pub fn new(reservations: Reservations, metrics: ReactionMetrics) -> Self {
        Self { reservations, metrics }
    }

    fn count(&self, event: &'static str, outcome: Outcome) {
        let answer = word(outcome.answer);
        let repeated = if outcome.changed { "false" } else { "true" };
        self.metrics
            .answered
            .get_or_create(&AnsweredLabels {
                event,
                answer,
                repeated,
            })
            .inc();
        if outcome.alarm {
            self.metrics.alarms.inc();
            tracing::error!(event, answer, "asked to release what is sold; nothing was changed");
        } else {
            tracing::info!(event, answer, repeated, "event answered");
        }
    }

    /// The entry's event, or what becomes of an entry that holds none that asks for something.
    fn read(&self, entry: &Entry) -> Result<Received<OrderEvent>, Delivery> {
        let received = domain::decode::<OrderEvent>(|name| entry.fields.text(name)).map_err(|error| {
            tracing::error!(entry = %entry.id, %error, "entry cannot be read; it goes to the dead letters");
            self.metrics.ignore("malformed");
            // No delivery will make it readable.
            Delivery::Reject("malformed")
        })?;
        match &received.content {
            None => {
                tracing::warn!(entry = %entry.id, kind = received.kind, "entry of an unknown type; it goes to the dead letters");
                self.metrics.ignore("unknown_type");
                Err(Delivery::Reject("unknown-type"))
            }
            Some(event) if ask(event).is_none() => {
                self.metrics.ignore("no_effect");
                Err(Delivery::Done)
            }
            Some(_) => Ok(received),
        }
    }

    fn conclude(&self, event: &OrderEvent, answer: Result<Outcome, ReservationError>) -> Delivery {
        match answer {
            Ok(outcome) => {
                self.count(event.kind(), outcome);
                Delivery::Done
            }
            // What passes by itself is waited for and uses up no delivery, so that an outage makes no dead letters.
            Err(ReservationError::Redis(error)) if is_passing(&error) => {
                tracing::warn!(event = event.kind(), kind = ?error.kind(), code = error.code(), "event not handled yet");
                Delivery::RetryAfter(AGAIN)
            }
            Err(ReservationError::EntryLost) => {
                tracing::warn!(
                    event = event.kind(),
                    "Redis has lost this entry after it was read; nothing follows from it"
                );
                self.metrics.ignore("lost");
                Delivery::Done
            }
            Err(ReservationError::Contended) => {
                tracing::warn!(
                    event = event.kind(),
                    "the reservation keeps changing; event not handled yet"
                );
                Delivery::RetryAfter(AGAIN)
            }
            Err(ReservationError::Redis(error)) => {
                tracing::error!(event = event.kind(), kind = ?error.kind(), code = error.code(), "event refused; left pending");
                Delivery::Retry
            }
            Err(error) => {
                tracing::error!(event = event.kind(), %error, "event not handled; left pending");
                Delivery::Retry
            }
        }
    }
}

impl BatchHandler for Reactions {
    async fn handle(&self, entries: &[Entry]) -> Vec<Delivery> {
        let read: Vec<_> = entries.iter().map(|entry| self.read(entry)).collect();
        let requests = entries
            .iter()
            .zip(&read)
            .filter_map(|(entry, read)| request(entry, read.as_ref().ok()?));
        let requests: Vec<Request<'_>> = requests.collect();
        let mut answers = self.reservations.ask(&requests).await.into_iter();
        let outcomes = entries.iter().zip(&read).map(|(entry, read)| {
            let received = match read {
                Ok(received) => received,
                Err(delivery) => return *delivery,
            };
            // Of what nobody speaks of, nobody knows that it is done.
            let (Some(event), Some(answer)) = (&received.content, answers.next()) else {
                return Delivery::Retry;
            };
            let span = tracing::info_span!(
                "event",
                order_id = %event.order_id(),
                entry = %entry.id,
                request_id = %received.meta.request_id,
                trace_id = received.meta.traceparent.get(3..35).unwrap_or_default(),
            );
            span.in_scope(|| self.conclude(event, answer))
        });
        outcomes.collect()
    }
}

fn request<'a>(entry: &Entry, received: &'a Received<OrderEvent>) -> Option<Request<'a>> {
    Some(Request {
        ask: ask(received.content.as_ref()?)?,
        entry: entry.id,
        event: events::answering(&received.meta, events::now()),
    })
}

/// What an event asks for, if anything.
fn ask(event: &OrderEvent) -> Option<Ask<'_>> {
    match event {
        OrderEvent::Placed(placed) => Some(Ask::Reserve(placed)),
        OrderEvent::Paid(order_id) => Some(Ask::Commit(*order_id)),
        OrderEvent::Declined(order_id) | OrderEvent::Cancelled(order_id) => Some(Ask::Release(*order_id)),
        OrderEvent::Rejected(_) | OrderEvent::Completed(_) | OrderEvent::Refunded(_) => None,
    }
}

fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Reserved => "stock.reserved",
        Answer::Rejected => "stock.rejected",
        Answer::Committed => "stock.committed",
        Answer::CommitRefused => "stock.commit_refused",
        Answer::Released => "stock.released",
    }
}
