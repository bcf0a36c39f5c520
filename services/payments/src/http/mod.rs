//! The public API of orders.

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use shopwright_domain::money::Currency;
use shopwright_kit::AdminKey;

use crate::act::Actor;

mod orders;
mod view;

pub use view::OrderView;

/// What handlers share.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// Reads and changes orders.
    pub actor: Actor,
    /// The shop's currency.
    pub currency: Currency,
    /// For the list.
    pub admin_key: AdminKey,
}

impl FromRef<ApiState> for AdminKey {
    fn from_ref(state: &ApiState) -> Self {
        state.admin_key.clone()
    }
}

/// The routes; `shopwright_kit::serve::public` adds limits, problems and request ids.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/v1/orders", post(orders::place).get(orders::list))
        .route("/v1/orders/{id}", get(orders::read))
        .with_state(state)
}
