//! Identity of the events that this service writes, as its scripts take it. The one place that reads the clock.

use jiff::Timestamp;
use shopwright_domain::events::Meta;
use shopwright_kit::RequestContext;
use uuid::Uuid;

/// The present, to the millisecond: finer would only be noise in documents.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// A new event in a request's trace.
pub fn of_request(context: &RequestContext, now: Timestamp) -> Meta {
    Meta {
        id: Uuid::now_v7().to_string(),
        time: now.to_string(),
        traceparent: context.traceparent.clone(),
        request_id: context.request_id.clone(),
    }
}

/// A new event that answers another and stays in its trace.
pub fn answering(received: &Meta, now: Timestamp) -> Meta {
    Meta {
        id: Uuid::now_v7().to_string(),
        time: now.to_string(),
        ..received.clone()
    }
}
