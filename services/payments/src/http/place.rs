//! `POST /v1/orders`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::lines::{Line, Lines, LinesError};
use shopwright_domain::money::{Currency, Money};
use shopwright_domain::order::{self, Order, Placing};
use shopwright_kit::idempotency::replayed;
use shopwright_kit::{ApiError, FieldError, Json, Keyed, Record, RequestContext, crash};

use super::access::Caller;
use super::{ApiState, OrderView, error, once, orders};
use crate::store::Committed;
use crate::token::OrderToken;

/// In a record: by which key the order's token was signed, so that a repeated reply holds the same one.
const TOKEN_KEY: &str = "token_key";

/// Body of a new order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrder {
    /// 1 to `MAX_LINES`.
    lines: Vec<NewLine>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLine {
    product_id: ProductId,
    /// 1 to `MAX_QUANTITY`, lines of the same product counted together.
    quantity: u32,
    /// What the shopper saw for one piece, in the shop's currency.
    expected_unit_price: Option<Money>,
}

/// The reply: the order as it was placed, and what gives access to it.
#[derive(Debug, Serialize)]
struct Placed {
    #[serde(flatten)]
    order: OrderView,
    /// To be sent as [`ORDER_TOKEN`](super::ORDER_TOKEN); good for this order alone.
    order_token: OrderToken,
}

/// Stores a new order; stock, price and money follow by events. 202: accepted, not paid.
///
/// Anybody may place one, so a key that somebody else could guess would give them the reply, and with it the order's token.
pub(super) async fn place(
    State(state): State<ApiState>,
    context: RequestContext,
    Keyed { key, body }: Keyed<NewOrder>,
) -> Result<Response, ApiError> {
    key.require_unguessable()?;
    let lines = lines(&body, state.currency)?;
    let idempotency = key.scoped(Caller::Shopper.as_str());
    let actor = &state.actor;
    let (now, earlier) = tokio::join!(actor.store.now(), once::earlier(&state, &idempotency));
    if let Some(record) = earlier? {
        return repeat(&state, &record).await;
    }
    state.capacity.require_room()?;

    let placing = Placing {
        id: OrderId::generate(),
        currency: state.currency,
        lines,
        request_id: context.request_id,
        traceparent: context.traceparent,
    };
    let decision = order::place(placing, now.map_err(error::of_read)?, &actor.policy);
    let id = decision.order.id;
    let signed_by = json!({ TOKEN_KEY: state.token_keys.signing_id() });
    let record = idempotency.record(StatusCode::ACCEPTED, id.to_string(), Some(signed_by));
    let mark = once::mark(&state, &idempotency, &record);
    crash::point("payments.place.before_store");
    let committed = actor.store.commit(&decision, Some(&mark)).await;
    crash::point("payments.place.after_store");
    match committed.map_err(error::of_write)? {
        Committed::Stored => {}
        Committed::Known(text) => {
            let known = idempotency.judge(&text)?;
            // Ours is known when it was sent twice, because the first answer was lost.
            if known.id != record.id {
                return repeat(&state, &known).await;
            }
        }
        // Nobody else has this id.
        Committed::Conflict | Committed::EntriesLost(_) => return Err(ApiError::dependency_unavailable()),
    }
    actor.metrics.placed(&decision.order);
    tracing::info!(order = %id, "order placed");
    Ok(reply(&state, &decision.order, &record))
}

/// The reply that was given before. The order has moved on; it is shown as it was.
async fn repeat(state: &ApiState, record: &Record) -> Result<Response, ApiError> {
    let id = record.id.parse().map_err(|error| ApiError::internal(&error))?;
    let order = orders::load_again(state, id).await?;
    Ok(replayed(reply(state, &order, record)))
}

fn reply(state: &ApiState, order: &Order, record: &Record) -> Response {
    let signed_by = record.result.as_ref().and_then(|result| result[TOKEN_KEY].as_str());
    let order_token = match signed_by {
        Some(key) => state.token_keys.sign_as(key, order.id),
        None => state.token_keys.sign(order.id),
    };
    let body = Placed {
        order: OrderView::as_placed(order),
        order_token,
    };
    let headers = [
        (header::LOCATION, format!("/v1/orders/{}", order.id)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (record.status(), headers, Json(body)).into_response()
}

fn lines(body: &NewOrder, currency: Currency) -> Result<Lines, ApiError> {
    let is_foreign = |line: &NewLine| line.expected_unit_price.is_some_and(|price| price.currency != currency);
    let lines = body.lines.iter().enumerate();
    let foreign: Vec<_> = lines
        .filter(|(_, line)| is_foreign(line))
        .map(|(index, _)| {
            let pointer = format!("/lines/{index}/expected_unit_price/currency");
            FieldError::new(pointer, "currency_mismatch", format!("This shop sells in {currency}."))
        })
        .collect();
    if !foreign.is_empty() {
        return Err(ApiError::validation(foreign));
    }
    let given: Vec<_> = body
        .lines
        .iter()
        .map(|line| Line {
            product_id: line.product_id,
            quantity: line.quantity,
            expected_unit_price: line.expected_unit_price.map(|price| price.amount),
        })
        .collect();
    Lines::new(&given).map_err(|error| {
        let (pointer, code) = match &error {
            LinesError::Empty => ("/lines".to_owned(), "empty"),
            LinesError::TooMany => ("/lines".to_owned(), "too_many"),
            LinesError::Quantity { line } => (format!("/lines/{line}/quantity"), "out_of_range"),
            LinesError::ExpectedPrice { line } => (format!("/lines/{line}/expected_unit_price"), "contradictory"),
        };
        ApiError::validation(vec![FieldError::new(pointer, code, format!("{error}."))])
    })
}
