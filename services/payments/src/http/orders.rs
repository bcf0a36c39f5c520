//! Handlers of `/v1/orders`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::lines::{Line, Lines, LinesError};
use shopwright_domain::money::{Currency, Money};
use shopwright_domain::order::{self, Placing};
use shopwright_kit::{AdminAuthorization, ApiError, FieldError, Json, Path, Query, RequestContext};

use super::{ApiState, OrderView};
use crate::store::StoreError;

const DEFAULT_LIMIT: usize = 20;
const LARGEST_LIMIT: usize = 100;

/// Body of a new order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrder {
    lines: Vec<NewLine>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLine {
    product_id: ProductId,
    quantity: u32,
    expected_unit_price: Option<Money>,
}

/// Query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<String>,
    limit: Option<usize>,
}

/// Reply of the list.
#[derive(Debug, Serialize)]
pub(super) struct OrderList {
    items: Vec<OrderView>,
}

/// Stores a new order; stock, price and money follow by events. 202: accepted, not paid.
pub(super) async fn place(
    State(state): State<ApiState>,
    context: RequestContext,
    Json(body): Json<NewOrder>,
) -> Result<Response, ApiError> {
    let lines = lines(&body, state.currency)?;
    let placing = Placing {
        id: OrderId::generate(),
        currency: state.currency,
        lines,
        request_id: context.request_id,
        traceparent: context.traceparent,
    };
    let actor = &state.actor;
    let now = actor.store.now().await.map_err(api_error)?;
    let decision = order::place(placing, now, &actor.policy);
    // A conflict can only be this very order, stored by an attempt whose answer was lost: the id is new.
    actor.store.commit(&decision, None).await.map_err(write_error)?;
    actor.metrics.placed(&decision.order);
    tracing::info!(order = %decision.order.id, "order placed");
    let location = format!("/v1/orders/{}", decision.order.id);
    let view = OrderView::from(&decision.order);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// One order.
pub(super) async fn read(
    State(state): State<ApiState>,
    Path(id): Path<OrderId>,
) -> Result<impl IntoResponse, ApiError> {
    let loaded = state
        .actor
        .store
        .load(id)
        .await
        .map_err(api_error)?
        .ok_or_else(|| ApiError::not_found("order"))?;
    Ok((
        [(header::CACHE_CONTROL, "no-store")],
        Json(OrderView::from(&loaded.order)),
    ))
}

/// The newest orders, for staff.
pub(super) async fn list(
    _: AdminAuthorization,
    State(state): State<ApiState>,
    Query(query): Query<ListQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(ApiError::query_invalid(format!(
            "limit is between 1 and {LARGEST_LIMIT}."
        )));
    }
    let filter = query.state.as_deref().map(str::parse::<order::State>).transpose();
    let filter = filter.map_err(|error| ApiError::query_invalid(format!("state: {error}.")))?;
    let orders = state.actor.store.list(filter, limit).await.map_err(api_error)?;
    let items = orders.iter().map(OrderView::from).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(OrderList { items })))
}

fn lines(body: &NewOrder, currency: Currency) -> Result<Lines, ApiError> {
    let foreign: Vec<_> = body
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.expected_unit_price.is_some_and(|price| price.currency != currency))
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

/// A failed write: one that may have happened is not told to be tried again.
fn write_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Redis(error) => ApiError::of_write(error),
        error => api_error(error),
    }
}

fn api_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Redis(error) => error.into(),
        StoreError::NoIndex => ApiError::dependency_unavailable(),
        StoreError::Document { .. } => ApiError::internal(&error),
    }
}
