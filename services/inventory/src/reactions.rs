//! What inventory does when payments tells something: one event, one call. Any order, any number of times.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use shopwright_domain::{
    events::{self as domain, Content, Meta, OrderEvent},
    reservation::Answer,
};
use shopwright_kit::is_passing;
use shopwright_streams::consume::{Entry, Handler, Outcome as Delivery};
use tracing::Instrument;

use crate::{
    events,
    reservations::{Outcome, ReservationError, Reservations},
};

/// How long an entry is kept in hand before it is tried again while Redis refuses it.
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
            "Entries without effect: not understood, or none needed",
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

    async fn react(&self, event: &OrderEvent, received: &Meta) -> Result<Option<Outcome>, ReservationError> {
        let answer = events::answering(received, events::now());
        match event {
            OrderEvent::Placed(placed) => self.reservations.reserve(placed, &answer).await.map(Some),
            OrderEvent::Paid(order_id) => self.reservations.commit(*order_id, &answer).await.map(Some),
            OrderEvent::Declined(order_id) | OrderEvent::Cancelled(order_id) => {
                self.reservations.release(*order_id, &answer).await.map(Some)
            }
            OrderEvent::Rejected(_) | OrderEvent::Completed(_) | OrderEvent::Refunded(_) => Ok(None),
        }
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

    async fn handle_event(&self, event: &OrderEvent, received: &Meta) -> Delivery {
        match self.react(event, received).await {
            Ok(Some(outcome)) => {
                self.count(event.kind(), outcome);
                Delivery::Done
            }
            Ok(None) => {
                self.metrics.ignore("no_effect");
                Delivery::Done
            }
            // What passes by itself is waited for and uses up no delivery, so that an outage makes no dead letters.
            Err(ReservationError::Redis(error)) if is_passing(&error) => {
                tracing::warn!(event = event.kind(), kind = ?error.kind(), code = error.code(), "event not handled yet");
                Delivery::RetryAfter(AGAIN)
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

impl Handler for Reactions {
    async fn handle(&self, entry: &Entry) -> Delivery {
        let received = match domain::decode::<OrderEvent>(|name| entry.fields.text(name)) {
            Ok(received) => received,
            Err(error) => {
                tracing::error!(entry = %entry.id, %error, "entry cannot be read; it goes to the dead letters");
                self.metrics.ignore("malformed");
                // No delivery will make it readable.
                return Delivery::Reject("malformed");
            }
        };
        let Some(event) = received.content else {
            tracing::warn!(entry = %entry.id, kind = received.kind, "entry of an unknown type; it goes to the dead letters");
            self.metrics.ignore("unknown_type");
            return Delivery::Reject("unknown-type");
        };
        let span = tracing::info_span!(
            "event",
            order_id = %event.order_id(),
            entry = %entry.id,
            request_id = %received.meta.request_id,
            trace_id = received.meta.traceparent.get(3..35).unwrap_or_default(),
        );
        self.handle_event(&event, &received.meta).instrument(span).await
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
