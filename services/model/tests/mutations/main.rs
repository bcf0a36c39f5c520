//! One rule broken at a time: each has to be noticed, and by the invariant that is there for it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this whole crate is a test")]

use shopwright_domain::UnixMilliseconds;
use shopwright_domain::events::RejectionReason;
use shopwright_domain::ids::ProductId;
use shopwright_domain::lines::{Line, PricedLine};
use shopwright_domain::money::Currency;
use shopwright_domain::order::{
    ChargeAnswer, Decision, Input, Order, Outcome, Policy, RefundAnswer, Refusal, State, decide,
};
use shopwright_domain::reservation::{Offer, Request, Reservation, Step, judge, step};
use shopwright_model::{Rules, Scope, invariants, refute, scope};

mod books;

const BOOKS: &str = "the provider's book agrees with what orders concluded";
const NEXT: &str = "what is to be done next stands in a stream";
const END: &str = "every order can end, with stock and money exact";
const RESERVATIONS: &str = "orders and reservations agree";
const DUE: &str = "whatever is unfinished is due some day";
const ONE_PIECE: &str = "one piece is never held or sold twice";
const ENDED: &str = "ended orders stay ended";
const STOCK: &str = "stock is what the reservations say, and never negative";
const AMOUNTS: &str = "an order's amounts and its ledger add up";
const CAPTURES: &str = "at most one capture an order, and no more back than was captured";
const REBOOKED: &str = "nothing that was booked is booked otherwise";
const CONTRADICTION: &str = "nobody tells an order what cannot have happened";
const ALARM: &str = "nobody asks to release what is sold";

/// An invariant that is not here has no rule whose breaking it notices.
#[test]
fn every_invariant_is_broken_by_something() {
    let broken = [
        STOCK,
        ONE_PIECE,
        RESERVATIONS,
        AMOUNTS,
        BOOKS,
        CAPTURES,
        REBOOKED,
        ENDED,
        CONTRADICTION,
        ALARM,
        NEXT,
        DUE,
        END,
    ];
    let names = invariants::always().into_iter().map(|property| property.name);
    assert_eq!(names.collect::<Vec<_>>(), broken);
}

fn is_noticed(rules: impl Rules + 'static, scope: Scope, invariant: &'static str) {
    let Some(actions) = refute(rules, scope, invariant, 2).unwrap() else {
        panic!("nobody noticed");
    };
    println!("{invariant}, but: {actions:#?}");
}

#[derive(Debug)]
struct AcknowledgesFirst;

impl Rules for AcknowledgesFirst {
    fn acknowledges_after_effect(&self) -> bool {
        false
    }
}

#[test]
fn mutation_ack_before_effect_is_noticed() {
    is_noticed(AcknowledgesFirst, scope::PROVIDER, NEXT);
}

#[derive(Debug)]
struct ChargesAnything;

impl Rules for ChargesAnything {
    fn may_charge(&self, order: &Order) -> bool {
        order.total.is_some()
    }
}

#[test]
fn mutation_charging_without_may_charge_is_noticed() {
    is_noticed(ChargesAnything, scope::PROVIDER, BOOKS);
}

#[derive(Debug)]
struct CancelsWithoutStop;

impl Rules for CancelsWithoutStop {
    fn decide(&self, order: &Order, input: &Input, now: UnixMilliseconds, policy: &Policy) -> Result<Outcome, Refusal> {
        match input {
            Input::Cancel if order.state == State::Charging => {
                decide(order, &Input::Charge(ChargeAnswer::Stopped), now, policy)
            }
            _ => decide(order, input, now, policy),
        }
    }
}

#[test]
fn mutation_cancel_without_stop_is_noticed() {
    is_noticed(CancelsWithoutStop, scope::PROVIDER, BOOKS);
}

#[derive(Debug)]
struct ReservesUnseen;

impl Rules for ReservesUnseen {
    fn judge(
        &self,
        currency: Currency,
        lines: &[Line],
        offer: Offer,
    ) -> Result<Vec<PricedLine>, (RejectionReason, ProductId)> {
        judge(currency, lines, |_| Some(Offer { available: 1, ..offer }))
    }
}

#[test]
fn mutation_reserving_without_looking_is_noticed() {
    is_noticed(ReservesUnseen, scope::TWO_ORDERS, ONE_PIECE);
}

#[derive(Debug)]
struct NoTombstone;

impl Rules for NoTombstone {
    fn step(&self, reservation: Reservation, request: &Request) -> Step {
        let step = step(reservation, request);
        match step.next {
            Reservation::Tombstone => Step {
                next: reservation,
                ..step
            },
            _ => step,
        }
    }
}

#[test]
fn mutation_no_tombstone_is_noticed() {
    is_noticed(NoTombstone, scope::TWO_ORDERS, RESERVATIONS);
}

#[test]
fn mutation_no_tombstone_is_noticed_by_the_stock_it_holds() {
    is_noticed(NoTombstone, scope::TWO_ORDERS, END);
}

#[derive(Debug)]
struct LastWriteWins;

impl Rules for LastWriteWins {
    fn compares_versions(&self) -> bool {
        false
    }
}

#[test]
fn mutation_version_compare_removed_is_noticed() {
    is_noticed(LastWriteWins, scope::SLOW, ENDED);
}

#[test]
fn mutation_version_compare_removed_is_noticed_by_the_money() {
    is_noticed(LastWriteWins, scope::SLOW, BOOKS);
}

#[derive(Debug)]
struct RecordsAfterwards;

impl Rules for RecordsAfterwards {
    fn records_before_calling(&self) -> bool {
        false
    }
}

#[test]
fn mutation_attempt_recorded_after_the_call_is_noticed() {
    is_noticed(RecordsAfterwards, scope::PROVIDER, BOOKS);
}

#[derive(Debug)]
struct TrustsLookUps(ChargeAnswer);

impl Rules for TrustsLookUps {
    fn concludes_from_not_found(&self) -> ChargeAnswer {
        self.0
    }
}

#[test]
fn mutation_not_charged_concluded_from_a_look_up_is_noticed() {
    is_noticed(TrustsLookUps(ChargeAnswer::Stopped), scope::PROVIDER, BOOKS);
}

#[test]
fn mutation_declined_concluded_from_a_look_up_is_noticed() {
    is_noticed(TrustsLookUps(ChargeAnswer::Declined), scope::PROVIDER, BOOKS);
}

#[test]
fn mutation_not_charged_concluded_from_a_look_up_is_noticed_as_a_contradiction() {
    is_noticed(TrustsLookUps(ChargeAnswer::Stopped), scope::PROVIDER, CONTRADICTION);
}

/// Changes what was decided.
fn amended(decided: Result<Outcome, Refusal>, amend: impl FnOnce(&mut Decision)) -> Result<Outcome, Refusal> {
    decided.map(|mut outcome| {
        if let Outcome::Advance(decision) = &mut outcome {
            amend(decision);
        }
        outcome
    })
}

#[derive(Debug)]
struct ForgetsToRelease;

impl Rules for ForgetsToRelease {
    fn decide(&self, order: &Order, input: &Input, now: UnixMilliseconds, policy: &Policy) -> Result<Outcome, Refusal> {
        amended(decide(order, input, now, policy), |decision| {
            if decision.order.state == State::Cancelled {
                decision.order.due_at = None;
                decision.due = None;
            }
        })
    }
}

#[test]
fn mutation_no_due_time_after_cancel_is_noticed() {
    is_noticed(ForgetsToRelease, scope::PROVIDER, DUE);
}

/// What the order knows of is asked for, and not what the provider has left: once a refund of staff is forgotten, that is too
/// much for ever.
#[derive(Debug)]
struct AsksForWhatItKnows;

impl Rules for AsksForWhatItKnows {
    fn asks_for_what_is_left(&self) -> bool {
        false
    }
}

#[test]
fn mutation_whole_refund_by_what_the_order_knows_is_noticed() {
    let scope = Scope {
        provider_fails: false,
        ..scope::ROLLBACK
    };
    is_noticed(AsksForWhatItKnows, scope, END);
}

#[derive(Debug)]
struct GivesUpRefused;

impl Rules for GivesUpRefused {
    fn decide(&self, order: &Order, input: &Input, now: UnixMilliseconds, policy: &Policy) -> Result<Outcome, Refusal> {
        amended(decide(order, input, now, policy), |decision| {
            if order.state == State::Paid && matches!(input, Input::Refund(_, RefundAnswer::Failed)) {
                decision.order.due_at = None;
                decision.due = None;
            }
        })
    }
}

#[test]
fn mutation_no_due_time_after_a_refused_refund_is_noticed() {
    is_noticed(GivesUpRefused, scope::PROVIDER, DUE);
}

#[test]
fn mutation_no_due_time_after_a_refused_refund_is_noticed_by_how_it_ends() {
    is_noticed(GivesUpRefused, scope::PROVIDER, END);
}

/// Whoever had read an entry that Redis then lost goes by it: what is not paid any more is sold, what is not held is charged.
#[derive(Debug)]
struct ActsOnLostEntries;

impl Rules for ActsOnLostEntries {
    fn acts_only_on_entries_that_are_there(&self) -> bool {
        false
    }
}

#[test]
fn mutation_acting_on_lost_entries_is_noticed() {
    is_noticed(ActsOnLostEntries, scope::ROLLBACK, RESERVATIONS);
}

#[test]
fn mutation_acting_on_lost_entries_is_noticed_by_how_it_ends() {
    is_noticed(ActsOnLostEntries, scope::ROLLBACK, END);
}

/// A version that came again is taken for the order that was read.
#[derive(Debug)]
struct ComparesNothingButTheVersion;

impl Rules for ComparesNothingButTheVersion {
    fn compares_times(&self) -> bool {
        false
    }
}

#[test]
fn mutation_comparing_nothing_but_the_version_is_noticed() {
    is_noticed(ComparesNothingButTheVersion, scope::SLOW_ROLLBACK, ENDED);
}
