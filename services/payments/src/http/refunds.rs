//! `/v1/orders/{id}/refunds`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::money::{Currency, Money};
use shopwright_domain::order::{Input, Refund, RefundRequest, RefundState};
use shopwright_kit::idempotency::replayed;
use shopwright_kit::{AdminAuthorization, ApiError, FieldError, Json, Keyed, Path};

use super::access::{Caller, OrderAccess};
use super::once::{Done, Request};
use super::orders::Items;
use super::{ApiState, error, once, orders};
use crate::act::Happening;
use crate::store::rfc3339;

const LONGEST_REASON: usize = 200;

/// Body of a new refund.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRefund {
    /// None: all that is left.
    amount: Option<Money>,
    reason: Option<String>,
}

/// A refund as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundView {
    /// Its id.
    pub id: RefundId,
    /// Whose money it is.
    pub order_id: OrderId,
    /// Where it stands.
    pub state: RefundState,
    /// At least 1 minor unit, in the order's currency.
    pub amount: Money,
    /// What staff said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was asked for: RFC 3339 in UTC, with milliseconds.
    pub created_at: String,
    /// When it last changed, written in the same way.
    pub updated_at: String,
}

impl From<&Refund> for RefundView {
    fn from(refund: &Refund) -> Self {
        Self {
            id: refund.id,
            order_id: refund.order_id,
            state: refund.state,
            amount: Money {
                amount: refund.amount,
                currency: refund.currency,
            },
            reason: refund.reason.clone(),
            created_at: rfc3339(refund.created_at),
            updated_at: rfc3339(refund.updated_at),
        }
    }
}

impl RefundView {
    /// As it was when it was asked for.
    fn as_requested(refund: &Refund) -> Self {
        let view = Self::from(refund);
        Self {
            state: RefundState::Requested,
            updated_at: view.created_at.clone(),
            ..view
        }
    }
}

/// Sends money back, all that is left or a part; the provider's answer follows by events. 202: asked for, not back yet.
pub(super) async fn open(
    _: AdminAuthorization,
    State(state): State<ApiState>,
    Path(order): Path<OrderId>,
    Keyed { key, body }: Keyed<NewRefund>,
) -> Result<Response, ApiError> {
    body.check()?;
    if let Some(amount) = body.amount {
        of_currency(amount, orders::load(&state, order).await?.currency)?;
    }
    let idempotency = key.scoped(Caller::Staff.as_str());
    let id = RefundId::generate();
    let wish = RefundRequest {
        id,
        amount: body.amount.map(|money| money.amount),
        reason: body.reason,
    };
    let request = Request {
        order,
        happening: Happening::Input(Input::RefundRequested(wish)),
        record: idempotency.record(StatusCode::ACCEPTED, id.to_string(), None),
        idempotency: &idempotency,
    };
    match once::act(&state, request).await? {
        Done::Now { refund, .. } => {
            tracing::info!(%order, refund = %id, "refund asked for");
            let refund = match refund {
                // As it was stored: it need not be read to be told.
                Some(refund) => refund,
                None => load_again(&state, id).await?,
            };
            Ok(reply(StatusCode::ACCEPTED, &refund))
        }
        Done::Before(record) => {
            let known: RefundId = record.id.parse().map_err(|error| ApiError::internal(&error))?;
            let response = reply(record.status(), &load_again(&state, known).await?);
            // Ours is known when it was sent twice, because the first answer was lost.
            Ok(if known == id { response } else { replayed(response) })
        }
    }
}

/// Every refund of an order, oldest first.
pub(super) async fn list(State(state): State<ApiState>, access: OrderAccess) -> Result<impl IntoResponse, ApiError> {
    let order = orders::load(&state, access.id).await?;
    let refunds = state.actor.store.refunds(&order.refunds).await;
    let refunds = refunds.map_err(error::of_read)?;
    let items: Vec<_> = refunds.iter().map(RefundView::from).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Items { items })))
}

/// The refund that a request is known to have opened, for the reply.
async fn load_again(state: &ApiState, id: RefundId) -> Result<Refund, ApiError> {
    let found = state.actor.store.refunds(&[id]).await.map_err(error::of_read_again)?;
    found.into_iter().next().ok_or_else(|| ApiError::not_found("refund"))
}

fn reply(status: StatusCode, refund: &Refund) -> Response {
    let body = Json(RefundView::as_requested(refund));
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

impl NewRefund {
    fn check(&self) -> Result<(), ApiError> {
        let mut errors = Vec::new();
        if self.amount.is_some_and(|money| money.amount.is_zero()) {
            errors.push(FieldError::new(
                "/amount/amount",
                "out_of_range",
                "A refund is at least 1 minor unit.",
            ));
        }
        let characters = self.reason.as_deref().map_or(0, |reason| reason.chars().count());
        if characters > LONGEST_REASON {
            errors.push(FieldError::new(
                "/reason",
                "too_long",
                format!("A reason has at most {LONGEST_REASON} characters."),
            ));
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(ApiError::validation(errors))
        }
    }
}

fn of_currency(money: Money, currency: Currency) -> Result<(), ApiError> {
    if money.currency == currency {
        return Ok(());
    }
    let detail = format!("This order is in {currency}.");
    let place = FieldError::new("/amount/currency", "currency_mismatch", detail);
    Err(ApiError::validation(vec![place]))
}
