//! `POST /v1/orders/{id}/cancel`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shopwright_domain::order::Input;
use shopwright_kit::idempotency::replayed;
use shopwright_kit::{ApiError, Keyed};

use super::access::OrderAccess;
use super::once::{Done, Request};
use super::{ApiState, once, orders};
use crate::act::Happening;

/// A body that says nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Calls an order off, as far as that goes: while it is being charged, the reply shows an order that still is, and its
/// end tells. 202, also when it was called off before; 409 when it is too late.
pub(super) async fn cancel(
    State(state): State<ApiState>,
    access: OrderAccess,
    Keyed { key, body: Nothing {} }: Keyed<Nothing>,
) -> Result<Response, ApiError> {
    let idempotency = key.scoped(access.caller.as_str());
    let request = Request {
        order: access.id,
        happening: Happening::Input(Input::Cancel),
        record: idempotency.record(StatusCode::ACCEPTED, access.id.to_string(), None),
        idempotency: &idempotency,
    };
    match once::act(&state, request).await? {
        Done::Now { order, .. } => Ok((StatusCode::ACCEPTED, orders::reply(&order)).into_response()),
        Done::Before(record) => {
            let order = orders::load_again(&state, access.id).await?;
            Ok(replayed((record.status(), orders::reply(&order))))
        }
    }
}
