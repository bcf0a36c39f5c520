//! The public API: routes and handlers. Every rule is elsewhere; here requests become calls and outcomes become replies.

use axum::{
    Router,
    extract::{FromRef, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use shopwright_domain::{
    ids::ProductId,
    keys::{GROUP_PAYMENTS, ShopKeys},
    money::Currency,
};
use shopwright_kit::{
    AdminAuthorization, AdminKey, ApiError, FieldError, Json, Keyed, Path, Query, RequestContext,
    dead_letters::{self, Source},
    idempotency::replayed,
};
use shopwright_streams::Shared;

use crate::{
    catalogue::{Adjusted, Catalogue, CatalogueError},
    events,
    product::{AdjustRequest, Adjustment, CreateRequest, MAX_STOCK, Product},
    repetition,
    search::Search,
};

/// Products in a list when the request does not say how many.
const DEFAULT_LIMIT: u16 = 20;
/// The most products in a list.
const MAX_LIMIT: u16 = 100;
/// Base of the admin calls on dead letters.
const DEAD_LETTERS: &str = "/v1/inventory/dead-letters";
/// A record that this service would not have written.
const UNREADABLE: CatalogueError = CatalogueError::Corrupt("the record of a request");

/// What the handlers need.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// The products.
    pub catalogue: Catalogue,
    /// Who may write.
    pub admin_key: AdminKey,
    /// What prices are in.
    pub currency: Currency,
}

impl FromRef<ApiState> for AdminKey {
    fn from_ref(state: &ApiState) -> Self {
        state.admin_key.clone()
    }
}

/// The routes, without the layers that [`shopwright_kit::serve::public`] adds. `redis` is for the calls on dead letters.
pub fn router(state: ApiState, keys: &ShopKeys, redis: Shared) -> Router {
    // The dead letters of a group lie with the stream's owner, so those of payments, which reads our events, are here.
    let events = Source {
        word: "events",
        stream: keys.inventory_events(),
        group: GROUP_PAYMENTS.to_owned(),
    };
    let admin_key = state.admin_key.clone();
    Router::new()
        .route("/v1/products", get(list).post(create))
        .route("/v1/products/{id}", get(read))
        .route("/v1/products/{id}/stock", get(stock))
        .route("/v1/products/{id}/stock-adjustments", post(adjust))
        .with_state(state)
        .merge(dead_letters::router(DEAD_LETTERS, vec![events], redis, admin_key))
}

/// A failed write. Of one that may have happened it is not said that nothing did; repeated under its key, it tells.
fn write_error(error: CatalogueError) -> ApiError {
    match error {
        CatalogueError::Redis(error) => ApiError::of_write(error),
        error => error.into(),
    }
}

impl From<CatalogueError> for ApiError {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::Redis(error) => error.into(),
            CatalogueError::Query => Self::query_invalid("q is not understood."),
            CatalogueError::NoIndex => Self::dependency_unavailable(),
            CatalogueError::Corrupt(_) => Self::internal(&error),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    q: Option<String>,
    limit: Option<u16>,
}

#[derive(Debug, Serialize)]
struct ProductList {
    items: Vec<Product>,
}

async fn list(State(state): State<ApiState>, Query(query): Query<ListQuery>) -> Result<Json<ProductList>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::query_invalid(format!("limit is between 1 and {MAX_LIMIT}.")));
    }
    let search = match query.q.as_deref() {
        None | Some("") => Search::all(),
        Some(text) => Search::text(text).map_err(|error| ApiError::query_invalid(format!("{error}.")))?,
    };
    Ok(Json(ProductList {
        items: state.catalogue.search(&search, limit).await?,
    }))
}

async fn create(
    _: AdminAuthorization,
    State(state): State<ApiState>,
    context: RequestContext,
    Keyed { key, body }: Keyed<CreateRequest>,
) -> Result<Response, ApiError> {
    let new = body.check(state.currency).map_err(ApiError::validation)?;
    let request = key.scoped(repetition::CALLER);
    let now = events::now();
    let product = new.clone().with_identity(ProductId::generate(), now);
    let event = events::of_request(&context, now);
    let before = state
        .catalogue
        .create(&product, new.stock, &event, &request)
        .await
        .map_err(write_error)?;
    let Some(record) = before else {
        return Ok(created(&product));
    };
    let record = request.judge(&record)?;
    let first = repetition::product(new, &record).ok_or_else(|| ApiError::internal(&UNREADABLE))?;
    // Sent twice by us, over a connection that broke, and stored by the first: no repetition of the caller's.
    if first.id == product.id {
        return Ok(created(&first));
    }
    Ok(replayed(created(&first)))
}

fn created(product: &Product) -> Response {
    let location = format!("/v1/products/{}", product.id);
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(product)).into_response()
}

async fn read(State(state): State<ApiState>, Path(id): Path<ProductId>) -> Result<Json<Product>, ApiError> {
    state
        .catalogue
        .get(id)
        .await?
        .map(Json)
        .ok_or_else(|| ApiError::not_found("product"))
}

async fn stock(State(state): State<ApiState>, Path(id): Path<ProductId>) -> Result<Response, ApiError> {
    let stock = state
        .catalogue
        .stock(id)
        .await?
        .ok_or_else(|| ApiError::not_found("product"))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(stock)).into_response())
}

async fn adjust(
    _: AdminAuthorization,
    State(state): State<ApiState>,
    Path(id): Path<ProductId>,
    context: RequestContext,
    Keyed { key, body }: Keyed<AdjustRequest>,
) -> Result<Response, ApiError> {
    let new = body.check().map_err(ApiError::validation)?;
    let request = key.scoped(repetition::CALLER);
    let now = events::now();
    let event = events::of_request(&context, now);
    let adjusted = state.catalogue.adjust(id, &new, &event, &request).await;
    match adjusted.map_err(write_error)? {
        Adjusted::Done(stock) => {
            let adjustment = Adjustment {
                id: event.id,
                delta: new.delta,
                reason: new.reason,
                created_at: now,
                stock,
            };
            Ok((StatusCode::CREATED, Json(adjustment)).into_response())
        }
        Adjusted::Before(record) => {
            let record = request.judge(&record)?;
            let first = repetition::adjustment(id, new, &record).ok_or_else(|| ApiError::internal(&UNREADABLE))?;
            let is_ours = first.id == event.id;
            let reply = (record.status(), Json(first)).into_response();
            // As in `create`.
            Ok(if is_ours { reply } else { replayed(reply) })
        }
        Adjusted::NotFound => Err(ApiError::not_found("product")),
        Adjusted::Insufficient(stock) => Err(ApiError::conflict(
            "insufficient_stock",
            format!(
                "{} on hand, of which {} are reserved for orders.",
                stock.on_hand, stock.reserved
            ),
        )),
        Adjusted::OutOfRange => Err(ApiError::validation(vec![FieldError::new(
            "/delta",
            "out_of_range",
            format!("The stock would exceed {MAX_STOCK}."),
        )])),
    }
}
