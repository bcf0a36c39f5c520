//! Requests that may be repeated: what is stored of them, and whether they had their effect already.

use shopwright_domain::ids::OrderId;
use shopwright_domain::order::Order;
use shopwright_kit::{ApiError, Idempotency, Record};

use super::{ApiState, error};
use crate::act::{ActError, Acted, Happening};
use crate::store::Mark;

/// A request that acts on an order.
pub(super) struct Request<'a> {
    /// Which order.
    pub(super) order: OrderId,
    /// What shall happen.
    pub(super) happening: Happening,
    /// What the request is known by.
    pub(super) idempotency: &'a Idempotency,
    /// What to keep of it.
    pub(super) record: Record,
}

/// What became of it.
pub(super) enum Done {
    /// The order as it is now.
    Now(Box<Order>),
    /// It had its effect before.
    Before(Record),
}

/// To be stored with the request's effect.
pub(super) fn mark(state: &ApiState, idempotency: &Idempotency, record: &Record) -> Mark {
    Mark {
        id: idempotency.id.clone(),
        record: record.to_json(),
        retention: state.retention,
    }
}

/// What is known of the request from before.
pub(super) async fn earlier(state: &ApiState, idempotency: &Idempotency) -> Result<Option<Record>, ApiError> {
    let record = state.actor.store.mark(&idempotency.id).await.map_err(error::of_read)?;
    record.map(|text| idempotency.judge(&text)).transpose()
}

/// Acts, unless the request is known.
pub(super) async fn act(state: &ApiState, request: Request<'_>) -> Result<Done, ApiError> {
    let idempotency = request.idempotency;
    let mark = mark(state, idempotency, &request.record);
    match state.actor.act_marked(request.order, &request.happening, &mark).await {
        Ok(Acted::Changed(order)) => Ok(Done::Now(Box::new(order))),
        Ok(Acted::Known(text)) => idempotency.judge(&text).map(Done::Before),
        // Between the look for the mark and the look at the order, a repetition of this very request may have been faster:
        // then what is in its way is its own effect.
        Ok(Acted::Unchanged(order)) => Ok(earlier(state, idempotency)
            .await?
            .map_or_else(|| Done::Now(Box::new(order)), Done::Before)),
        Err(ActError::Refused(refusal)) => earlier(state, idempotency)
            .await?
            .map(Done::Before)
            .ok_or_else(|| error::of_act(refusal.into())),
        Err(error) => Err(error::of_act(error)),
    }
}
