//! `GET /v1/orders/{id}/timeline`: states and money, in the order of time.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use shopwright_domain::ids::RefundId;
use shopwright_domain::money::Money;
use shopwright_domain::order::{self, Order, Passage, Posting, PostingKind};
use shopwright_kit::{ApiError, Json};

use super::ApiState;
use super::access::OrderAccess;
use super::orders::{self, Items};
use crate::store::rfc3339;

/// Something that happened to an order, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineView {
    /// RFC 3339.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub moment: Moment,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Moment {
    /// It came into a state.
    State {
        /// Which.
        state: order::State,
    },
    /// Money came.
    Capture {
        /// How much.
        amount: Money,
    },
    /// Money went back.
    Refund {
        /// How much.
        amount: Money,
        /// By which refund.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refund_id: Option<RefundId>,
    },
}

/// All of it, oldest first.
pub(super) async fn read(State(state): State<ApiState>, access: OrderAccess) -> Result<impl IntoResponse, ApiError> {
    let order = orders::load(&state, access.id).await?;
    let items = timeline(&order);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Items { items })))
}

fn timeline(order: &Order) -> Vec<TimelineView> {
    let mut postings = order.ledger.iter().peekable();
    let mut items = Vec::with_capacity(order.timeline.len() + order.ledger.len());
    for passage in &order.timeline {
        while let Some(posting) = postings.next_if(|posting| is_before(posting, passage)) {
            items.push(of_posting(order, posting));
        }
        items.push(TimelineView {
            at: rfc3339(passage.at),
            moment: Moment::State { state: passage.state },
        });
    }
    items.extend(postings.map(|posting| of_posting(order, posting)));
    items
}

/// Within one millisecond, money comes before the state that it brings about, and after every other.
fn is_before(posting: &Posting, passage: &Passage) -> bool {
    let is_cause = matches!(passage.state, order::State::Paid | order::State::Refunded);
    posting.at < passage.at || (posting.at == passage.at && is_cause)
}

fn of_posting(order: &Order, posting: &Posting) -> TimelineView {
    let amount = Money {
        amount: posting.amount,
        currency: order.currency,
    };
    let refund_id = posting.refund_id;
    TimelineView {
        at: rfc3339(posting.at),
        moment: match posting.kind {
            PostingKind::Capture => Moment::Capture { amount },
            PostingKind::Refund => Moment::Refund { amount, refund_id },
        },
    }
}
