//! Requests that may be repeated: what is stored of them, and whether they had their effect already.

use shopwright_domain::ids::OrderId;
use shopwright_domain::order::{Order, Refund};
use shopwright_kit::{ApiError, Idempotency, Record};

use super::{ApiState, error};
use crate::act::{Acted, Happening};
use crate::store::Mark;

/// A request that acts on an order.
pub(super) struct Request<'a> {
    /// The one to act on.
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
    /// It has its effect now, or needs none.
    Now {
        /// The order as it is.
        order: Box<Order>,
        /// The refund that was opened with it.
        refund: Option<Refund>,
    },
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
        Ok(Acted::Changed { order, refund }) => Ok(Done::Now {
            order: Box::new(order),
            refund,
        }),
        // What leaves nothing to do here, or is refused below, is never the effect of a repetition of this very request: the
        // mark is looked for after the order is read, so an order that shows such an effect is found with its mark.
        Ok(Acted::Unchanged(order)) => Ok(Done::Now {
            order: Box::new(order),
            refund: None,
        }),
        Ok(Acted::Known(text)) => idempotency.judge(&text).map(Done::Before),
        Err(error) => Err(error::of_act(error)),
    }
}
