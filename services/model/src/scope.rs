//! What is checked at once. Everything together is more states than a machine holds, so it is taken in several scopes, each
//! of which is gone through to its end.

use crate::sights::Sight;
use crate::world::Charge;

/// What can happen.
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of fault, on or off")]
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// What it is called.
    pub name: &'static str,
    /// How many orders there are, one or two.
    pub orders: usize,
    /// Others than these orders may hold the stock.
    pub may_be_sold_out: bool,
    /// Orders are there, and on disk, from the beginning. Placing later is the same as `order.placed` delivered later, but
    /// for a Redis that forgets that they were placed.
    pub placed_at_once: bool,
    /// Whatever has a due time may be due at any time, with the deadline passed or not. Where it may not, everybody is
    /// patient until it is looked at how all ends.
    pub something_is_due: bool,
    /// Shoppers call orders off, at any time.
    pub shoppers_cancel: bool,
    /// Staff give money back, whole or in parts.
    pub staff_refund: bool,
    /// The provider may decline.
    pub provider_declines: bool,
    /// The provider's answers get lost, its errors are stored for ever, it refuses refunds, and somebody looks charges up.
    pub provider_fails: bool,
    /// Somebody stores a decision arbitrarily long after reading.
    pub somebody_is_slow: bool,
    /// Redis comes back to an earlier state, once.
    pub disk_lags: bool,
    /// An acknowledgement is a step of its own. Where it is not, an entry is either acknowledged with its effect or comes
    /// again: an acknowledgement that is the last that happens to an entry can as well come right after the last effect.
    pub acknowledged_apart: bool,
    /// An answer of the provider is a step of its own, and may be held back for ever.
    pub answered_apart: bool,
    /// What has to be seen somewhere, so that nothing is checked in vain.
    pub sights: &'static [Sight],
}

impl Scope {
    /// What the provider may make of a first charge.
    pub const fn charges(&self) -> &'static [Charge] {
        match (self.provider_declines, self.provider_fails) {
            (_, true) => &[Charge::Charged, Charge::Declined, Charge::Error],
            (true, false) => &[Charge::Charged, Charge::Declined],
            (false, false) => &[Charge::Charged],
        }
    }
}

/// Nothing but orders that go through.
const QUIET: Scope = Scope {
    name: "",
    orders: 1,
    may_be_sold_out: false,
    placed_at_once: true,
    something_is_due: true,
    shoppers_cancel: false,
    staff_refund: false,
    provider_declines: false,
    provider_fails: false,
    somebody_is_slow: false,
    disk_lags: false,
    acknowledged_apart: true,
    answered_apart: true,
    sights: &[],
};

/// Two orders want the same piece; entries come in any order and any number of times; shoppers cancel.
pub const TWO_ORDERS: Scope = Scope {
    name: "two orders",
    orders: 2,
    acknowledged_apart: false,
    answered_apart: false,
    shoppers_cancel: true,
    provider_declines: true,
    sights: &[
        Sight::Completed,
        Sight::SoldOut,
        Sight::Tombstone,
        Sight::PaidTooLate,
        Sight::LateCharge,
    ],
    ..QUIET
};

/// One order, and a provider that does everything a provider may do.
pub const PROVIDER: Scope = Scope {
    name: "provider",
    may_be_sold_out: true,
    shoppers_cancel: true,
    staff_refund: true,
    provider_declines: true,
    provider_fails: true,
    sights: &[
        Sight::Completed,
        Sight::LateCharge,
        Sight::PaidTooLate,
        Sight::RefundedInParts,
        Sight::StoredError,
    ],
    ..QUIET
};

/// One order, and somebody who decides upon what has changed since.
pub const SLOW: Scope = Scope {
    name: "slow decider",
    may_be_sold_out: true,
    shoppers_cancel: true,
    staff_refund: true,
    provider_declines: true,
    provider_fails: true,
    somebody_is_slow: true,
    acknowledged_apart: false,
    sights: &[Sight::Completed, Sight::PaidTooLate, Sight::RefundedInParts],
    ..QUIET
};

/// One order, and a Redis that loses its last writes.
pub const ROLLBACK: Scope = Scope {
    name: "rollback",
    placed_at_once: false,
    shoppers_cancel: true,
    provider_declines: true,
    disk_lags: true,
    acknowledged_apart: false,
    staff_refund: true,
    provider_fails: true,
    sights: &[
        Sight::OrderLost,
        Sight::ChargeOrphaned,
        Sight::RefundForgotten,
        Sight::RefundedAfterForgetting,
        Sight::AcknowledgedForNothing,
        Sight::CompletedAfterLoss,
    ],
    ..QUIET
};

/// Two orders want the same piece, and Redis forgets who got it. Meanwhile everybody is patient and nothing is called off: with
/// that the search takes minutes. What comes of it is in [`ROLLBACK`], for one order.
pub const ROLLBACK_OF_TWO: Scope = Scope {
    name: "rollback of two",
    orders: 2,
    something_is_due: false,
    provider_declines: true,
    disk_lags: true,
    acknowledged_apart: false,
    answered_apart: false,
    sights: &[Sight::CompletedAfterLoss, Sight::PieceGone, Sight::ChargedAfterwards],
    ..QUIET
};

/// One order, a Redis that loses its last writes, and somebody who decided before that and stores after. What staff and the
/// provider can do besides is in [`ROLLBACK`] and [`SLOW`].
pub const SLOW_ROLLBACK: Scope = Scope {
    name: "slow rollback",
    somebody_is_slow: true,
    disk_lags: true,
    acknowledged_apart: false,
    answered_apart: false,
    sights: &[Sight::AcknowledgedForNothing, Sight::CompletedAfterLoss],
    ..QUIET
};

/// The scopes of these names, or all when none is named.
///
/// # Errors
/// Tells the first name that no scope has, and the names there are.
pub fn named(names: &[String]) -> Result<Vec<Scope>, UnknownScope> {
    if let Some(unknown) = names
        .iter()
        .find(|name| SCOPES.iter().all(|scope| scope.name != **name))
    {
        return Err(UnknownScope(unknown.clone()));
    }
    let is_wanted = |scope: &Scope| names.is_empty() || names.iter().any(|name| name == scope.name);
    Ok(SCOPES.into_iter().filter(is_wanted).collect())
}

/// No scope has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope '{0}'; there are: {names}", names = SCOPES.map(|scope| scope.name).join(", "))]
pub struct UnknownScope(String);

/// All of them.
pub const SCOPES: [Scope; 6] = [TWO_ORDERS, PROVIDER, SLOW, ROLLBACK, ROLLBACK_OF_TWO, SLOW_ROLLBACK];
