//! What went wrong, as the caller may know it.

use axum::http::StatusCode;
use shopwright_domain::order::Refusal;
use shopwright_kit::ApiError;

use super::access::no_such_order;
use crate::act::ActError;
use crate::store::StoreError;
use crate::watch::WatchError;

/// A failed read.
pub(super) fn of_read(error: StoreError) -> ApiError {
    match error {
        StoreError::Redis(error) => error.into(),
        StoreError::NoIndex => ApiError::dependency_unavailable(),
        StoreError::Document { .. } => ApiError::internal(&error),
    }
}

/// A failed write. One that may have happened is to be repeated under the same key, which tells whether it did.
pub(super) fn of_write(error: StoreError) -> ApiError {
    let StoreError::Redis(error) = error else {
        return of_read(error);
    };
    let error = ApiError::of_write(error);
    if error.status() == StatusCode::GATEWAY_TIMEOUT {
        return unknown_outcome();
    }
    error
}

/// A failed read of what the request did, now or when it came before. 503 would say that nothing happened, so it is told as
/// a write is that got no answer.
pub(super) fn of_read_again(error: StoreError) -> ApiError {
    let error = of_read(error);
    if error.status() == StatusCode::SERVICE_UNAVAILABLE {
        return unknown_outcome();
    }
    error
}

fn unknown_outcome() -> ApiError {
    ApiError::new(
        StatusCode::GATEWAY_TIMEOUT,
        "timeout",
        "The outcome is unknown. Repeat the request with the same Idempotency-Key.",
    )
}

/// A change that was not made.
pub(super) fn of_act(error: ActError) -> ApiError {
    match error {
        ActError::Store(error) => of_write(error),
        ActError::Missing => no_such_order(),
        // Others were faster, every time; the next attempt decides on what they left.
        ActError::Contended => ApiError::dependency_unavailable(),
        ActError::Refused(refusal) => of_refusal(refusal),
    }
}

fn of_refusal(refusal: Refusal) -> ApiError {
    let detail = format!("{refusal}.");
    match refusal {
        Refusal::Conflict(_) | Refusal::NotRefundable(_) => ApiError::conflict("order_state_conflict", detail),
        Refusal::TooManyRefunds => ApiError::conflict("too_many_refunds", detail),
        Refusal::RefundExceeds(_) => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "refund_exceeds_captured", detail),
        Refusal::LinesDiffer => ApiError::internal(&refusal),
    }
}

/// An order that cannot be watched.
pub(super) fn of_watch(error: WatchError) -> ApiError {
    match error {
        WatchError::Missing => no_such_order(),
        WatchError::Unavailable => ApiError::dependency_unavailable(),
    }
}
