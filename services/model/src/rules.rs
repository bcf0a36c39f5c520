//! The rules that are checked: the very functions that run. Tests replace one at a time, to see that it is noticed.

use shopwright_domain::UnixMilliseconds;
use shopwright_domain::events::RejectionReason;
use shopwright_domain::ids::ProductId;
use shopwright_domain::lines::{Line, PricedLine};
use shopwright_domain::money::Currency;
use shopwright_domain::order::{ChargeAnswer, Input, Order, Outcome, Policy, Refusal, decide};
use shopwright_domain::reservation::{Offer, Request, Reservation, Step, judge, step};

/// Under which a call of the provider is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The order's.
    Charge,
    /// The refund's.
    Refund,
}

/// Everything that a shop's parts go by. Whatever is not replaced is what runs.
pub trait Rules: std::fmt::Debug + Send + Sync {
    /// What becomes of an order.
    fn decide(&self, order: &Order, input: &Input, now: UnixMilliseconds, policy: &Policy) -> Result<Outcome, Refusal> {
        decide(order, input, now, policy)
    }

    /// What becomes of a reservation.
    fn step(&self, reservation: Reservation, request: &Request) -> Step {
        step(reservation, request)
    }

    /// Can the lines be reserved?
    fn judge(
        &self,
        currency: Currency,
        lines: &[Line],
        offer: Offer,
    ) -> Result<Vec<PricedLine>, (RejectionReason, ProductId)> {
        judge(currency, lines, |_| Some(offer))
    }

    /// May the provider be asked to charge?
    fn may_charge(&self, order: &Order) -> bool {
        order.may_charge()
    }

    /// Is it on record that the provider may be asked before it is?
    fn records_before_calling(&self) -> bool {
        true
    }

    /// Is a decision stored only when the order is still the one that it was made for?
    fn compares_versions(&self) -> bool {
        true
    }

    /// Is it also compared when the order changed last? After Redis has lost writes a version can come again by another way.
    fn compares_times(&self) -> bool {
        true
    }

    /// Is an entry acknowledged only when its effect is there?
    fn acknowledges_after_effect(&self) -> bool {
        true
    }

    /// Does an entry that Redis lost after it was read have no effect any more?
    fn acts_only_on_entries_that_are_there(&self) -> bool {
        true
    }

    /// Does the provider look the key up, and is a repeated call made under the same one?
    fn is_known_again(&self, _key: Key) -> bool {
        true
    }

    /// Is the provider asked for all that is left of a charge where all of it is to go back, whatever the order knows of?
    fn asks_for_what_is_left(&self) -> bool {
        true
    }

    /// What is concluded when the provider's book has nothing about a charge.
    fn concludes_from_not_found(&self) -> ChargeAnswer {
        ChargeAnswer::Unknown
    }
}

/// As it runs.
#[derive(Debug, Clone, Copy)]
pub struct AsItRuns;

impl Rules for AsItRuns {}
