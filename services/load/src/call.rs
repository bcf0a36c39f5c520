//! The kinds of call that load makes and tells apart in its report.

use std::fmt;

/// One kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// `GET /v1/products`.
    ListProducts,
    /// `GET /v1/products/{id}`.
    ReadProduct,
    /// `GET /v1/products/{id}/stock`.
    ReadStock,
    /// `POST /v1/products`.
    CreateProduct,
    /// `POST /v1/orders`.
    PlaceOrder,
    /// `POST /v1/orders/{id}/cancel`.
    CancelOrder,
    /// `POST /v1/orders/{id}/refunds`.
    RefundOrder,
    /// `GET /v1/orders/{id}`.
    ReadOrder,
    /// `GET /v1/orders/{id}/events`, up to the first event.
    WatchOrder,
}

impl Call {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListProducts => "list products",
            Self::ReadProduct => "read product",
            Self::ReadStock => "read stock",
            Self::CreateProduct => "create product",
            Self::PlaceOrder => "place order",
            Self::CancelOrder => "cancel order",
            Self::RefundOrder => "refund order",
            Self::ReadOrder => "read order",
            Self::WatchOrder => "watch order",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
