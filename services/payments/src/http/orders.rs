//! Reading orders: one, and the newest.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use shopwright_domain::ids::OrderId;
use shopwright_domain::order::{self, Order};
use shopwright_kit::{AdminAuthorization, ApiError, Json, Query};

use super::access::{OrderAccess, no_such_order};
use super::{ApiState, OrderView, error};
use crate::store::Loaded;

const DEFAULT_LIMIT: usize = 20;
const LARGEST_LIMIT: usize = 100;

/// Query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<String>,
    limit: Option<usize>,
}

/// Reply of a list.
#[derive(Debug, Serialize)]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
}

/// One order.
pub(super) async fn read(State(state): State<ApiState>, access: OrderAccess) -> Result<impl IntoResponse, ApiError> {
    load(&state, access.id).await.map(|order| reply(&order))
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
    let orders = state.actor.store.list(filter, limit).await.map_err(error::of_read)?;
    let items = orders.iter().map(OrderView::from).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Items { items })))
}

/// The order, or 404.
pub(super) async fn load(state: &ApiState, id: OrderId) -> Result<Order, ApiError> {
    found(state.actor.store.load(id).await.map_err(error::of_read)?)
}

/// The order that a request is known to have had its effect on, for the reply.
pub(super) async fn load_again(state: &ApiState, id: OrderId) -> Result<Order, ApiError> {
    found(state.actor.store.load(id).await.map_err(error::of_read_again)?)
}

fn found(loaded: Option<Loaded>) -> Result<Order, ApiError> {
    Ok(loaded.ok_or_else(no_such_order)?.order)
}

/// The order as it is.
pub(super) fn reply(order: &Order) -> impl IntoResponse + use<> {
    ([(header::CACHE_CONTROL, "no-store")], Json(OrderView::from(order)))
}
