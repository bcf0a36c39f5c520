//! Who may see an order: whoever has its token, and staff. Everybody else is told what they would be told of an order that
//! does not exist.

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use shopwright_domain::ids::OrderId;
use shopwright_kit::{ApiError, Path};

use super::ApiState;

/// Header of an order's token.
pub const ORDER_TOKEN: HeaderName = HeaderName::from_static("order-token");

/// On whose behalf a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Whoever placed the order, or wants to place one.
    Shopper,
    /// Whoever has the admin key.
    Staff,
}

impl Caller {
    /// Their keys of repeated requests are apart by this word.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Shopper => "shopper",
            Self::Staff => "staff",
        }
    }
}

/// Proof that the caller may see the order in the path. It is looked for nowhere yet, so that an order that does not exist
/// takes as long as one that is somebody else's.
#[derive(Debug, Clone, Copy)]
pub(super) struct OrderAccess {
    /// Which order.
    pub(super) id: OrderId,
    /// Who asks.
    pub(super) caller: Caller,
}

impl FromRequestParts<ApiState> for OrderAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, state).await;
        let Path(id) = path.map_err(|_| no_such_order())?;
        let caller = if state.admin_key.verify(&parts.headers).is_ok() {
            Caller::Staff
        } else {
            let token = parts.headers.get(ORDER_TOKEN).and_then(|token| token.to_str().ok());
            token
                .filter(|token| state.token_keys.verify(id, token))
                .map(|_| Caller::Shopper)
                .ok_or_else(no_such_order)?
        };
        Ok(Self { id, caller })
    }
}

/// One text for all reasons.
pub(super) fn no_such_order() -> ApiError {
    ApiError::not_found("order")
}
