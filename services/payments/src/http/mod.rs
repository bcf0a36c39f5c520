//! The public API of orders.

use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS};
use shopwright_domain::money::Currency;
use shopwright_kit::sse::Places;
use shopwright_kit::{AdminKey, Capacity, dead_letters};
use shopwright_streams::Shared;
use tokio_util::sync::CancellationToken;

use crate::act::Actor;
use crate::token::TokenKeys;
use crate::watch::Watch;

mod access;
mod cancel;
mod error;
mod events;
mod once;
mod orders;
mod place;
mod refunds;
mod timeline;
mod view;

pub use access::ORDER_TOKEN;
pub use refunds::RefundView;
pub use timeline::{Moment, TimelineView};
pub use view::{LineView, OrderView, PassageView};

/// How many may watch orders at the same time, in one process, unless configured otherwise.
pub const WATCHERS: usize = 2_000;

/// What handlers share.
#[derive(Clone)]
pub struct ApiState {
    /// Reads and changes orders.
    pub actor: Actor,
    /// The shop's currency.
    pub currency: Currency,
    /// For staff: the list, refunds, dead letters, and every order.
    pub admin_key: AdminKey,
    /// For shoppers: their own orders.
    pub token_keys: TokenKeys,
    /// How long a repeated request is known: `shopwright_kit::idempotency::RETENTION`, unless configured otherwise.
    pub retention: Duration,
    /// Whether there is room for new orders. Somebody runs `Capacity::watch`.
    pub capacity: Capacity,
    /// Orders as they change. Somebody runs `Watch::run`.
    pub watch: Watch,
    /// How many may watch at once: `Places::new(WATCHERS)`, unless configured otherwise.
    pub places: Places,
    /// For dead letters; the connection of a `shopwright_streams::Client` that is the user `payments`.
    pub streams: Shared,
    /// Ends what watchers are sent.
    pub shutdown: CancellationToken,
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ApiState")
            .field("currency", &self.currency)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

impl FromRef<ApiState> for AdminKey {
    fn from_ref(state: &ApiState) -> Self {
        state.admin_key.clone()
    }
}

/// The routes; `shopwright_kit::serve::public` adds limits, problems and request ids.
pub fn router(state: ApiState) -> Router {
    let keys = state.actor.store.keys();
    let sources = vec![
        dead_letters::Source {
            word: "events",
            stream: keys.payments_events(),
            group: GROUP_INVENTORY.to_owned(),
        },
        dead_letters::Source {
            word: "jobs",
            stream: keys.payments_jobs(),
            group: GROUP_PAYMENTS.to_owned(),
        },
    ];
    let dead_letters = dead_letters::router(
        "/v1/payments/dead-letters",
        sources,
        state.streams.clone(),
        state.admin_key.clone(),
    );
    Router::new()
        .route("/v1/orders", post(place::place).get(orders::list))
        .route("/v1/orders/{id}", get(orders::read))
        .route("/v1/orders/{id}/cancel", post(cancel::cancel))
        .route("/v1/orders/{id}/refunds", post(refunds::open).get(refunds::list))
        .route("/v1/orders/{id}/timeline", get(timeline::read))
        .route("/v1/orders/{id}/events", get(events::watch))
        .with_state(state)
        .merge(dead_letters)
}
