//! What payments has yet to ask of the provider: entries of `{NAME-payments}:jobs`, in the same flat form as events.

use serde::{Deserialize, Serialize};

use crate::events::{Content, EventError, json, only, read, read_only};
use crate::ids::{OrderId, RefundId};

/// One question to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// Charge the order's total, under the order's id.
    Charge(OrderId),
    /// Stop the order's charge for ever, unless it already happened.
    Void(OrderId),
    /// Give money back.
    Refund(RefundJob),
    /// Ask what became of the charge. "Not found" concludes nothing: the charge may still be on its way.
    Lookup(OrderId),
}

/// `data` of a refund job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RefundJob {
    /// Of which order.
    pub order_id: OrderId,
    /// Which refund.
    pub refund_id: RefundId,
}

impl Content for Job {
    fn kind(&self) -> &'static str {
        match self {
            Self::Charge(_) => "charge",
            Self::Void(_) => "void",
            Self::Refund(_) => "refund",
            Self::Lookup(_) => "lookup",
        }
    }

    fn order_id(&self) -> OrderId {
        match self {
            Self::Charge(id) | Self::Void(id) | Self::Lookup(id) => *id,
            Self::Refund(refund) => refund.order_id,
        }
    }

    fn data(&self) -> String {
        match self {
            Self::Refund(refund) => json(refund),
            other => only(other.order_id()),
        }
    }

    fn parse(kind: &str, data: &str) -> Result<Option<Self>, EventError> {
        Ok(Some(match kind {
            "charge" => Self::Charge(read_only(kind, data)?),
            "void" => Self::Void(read_only(kind, data)?),
            "refund" => Self::Refund(read(kind, data)?),
            "lookup" => Self::Lookup(read_only(kind, data)?),
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_read_back() {
        let order_id = OrderId::from_parts(1, [1; 10]);
        let refund_id = RefundId::of_whole(order_id, 1);
        for job in [
            Job::Charge(order_id),
            Job::Void(order_id),
            Job::Refund(RefundJob { order_id, refund_id }),
            Job::Lookup(order_id),
        ] {
            assert_eq!(Job::parse(job.kind(), &job.data()), Ok(Some(job)));
        }
        assert_eq!(Job::parse("tip", "{}"), Ok(None));
        assert!(Job::parse("refund", &only(order_id)).is_err());
    }
}
