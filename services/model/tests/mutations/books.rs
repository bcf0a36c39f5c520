//! Rules about what is counted: money, and pieces.

use shopwright_domain::UnixMilliseconds;
use shopwright_domain::money::Amount;
use shopwright_domain::order::{ChargeAnswer, Input, Order, Outcome, Policy, RefundState, Refusal, State, decide};
use shopwright_domain::reservation::{Request, Reservation, Step, StockMove, step};
use shopwright_model::rules::Key;
use shopwright_model::{Rules, scope};

use super::{ALARM, AMOUNTS, CAPTURES, REBOOKED, STOCK, amended, is_noticed};

/// A provider that does not look a key up, or a job that is repeated under another one.
#[derive(Debug)]
struct IgnoresKey(Key);

impl Rules for IgnoresKey {
    fn is_known_again(&self, key: Key) -> bool {
        key != self.0
    }
}

#[test]
fn mutation_charge_without_a_key_is_noticed() {
    is_noticed(IgnoresKey(Key::Charge), scope::PROVIDER, CAPTURES);
}

#[test]
fn mutation_refund_without_a_key_is_noticed() {
    is_noticed(IgnoresKey(Key::Refund), scope::PROVIDER, CAPTURES);
}

#[derive(Debug)]
struct HoldsUncounted;

impl Rules for HoldsUncounted {
    fn step(&self, reservation: Reservation, request: &Request) -> Step {
        let step = step(reservation, request);
        match step.stock {
            StockMove::Hold => Step {
                stock: StockMove::None,
                ..step
            },
            _ => step,
        }
    }
}

#[test]
fn mutation_reservation_that_does_not_count_is_noticed() {
    is_noticed(HoldsUncounted, scope::TWO_ORDERS, STOCK);
}

#[derive(Debug)]
struct ChargesOffTheBooks;

impl Rules for ChargesOffTheBooks {
    fn decide(&self, order: &Order, input: &Input, now: UnixMilliseconds, policy: &Policy) -> Result<Outcome, Refusal> {
        amended(decide(order, input, now, policy), |decision| {
            if *input == Input::Charge(ChargeAnswer::Charged) {
                decision.order.ledger.clear();
            }
        })
    }
}

#[test]
fn mutation_capture_missing_from_the_ledger_is_noticed() {
    is_noticed(ChargesOffTheBooks, scope::PROVIDER, AMOUNTS);
}

#[derive(Debug)]
struct OpensUncounted;

impl Rules for OpensUncounted {
    fn decide(&self, order: &Order, input: &Input, now: UnixMilliseconds, policy: &Policy) -> Result<Outcome, Refusal> {
        amended(decide(order, input, now, policy), |decision| {
            if matches!(input, Input::RefundRequested(_)) {
                decision.order.refund_open = order.refund_open;
            }
        })
    }
}

#[test]
fn mutation_open_refund_that_does_not_count_is_noticed() {
    is_noticed(OpensUncounted, scope::PROVIDER, AMOUNTS);
}

/// A refund makes the capture smaller, instead of being booked beside it.
#[derive(Debug)]
struct RefundsUncapture;

impl Rules for RefundsUncapture {
    fn decide(&self, order: &Order, input: &Input, now: UnixMilliseconds, policy: &Policy) -> Result<Outcome, Refusal> {
        amended(decide(order, input, now, policy), |decision| {
            let booked = decision
                .refund
                .as_ref()
                .filter(|refund| refund.state == RefundState::Succeeded);
            if let Some(refund) = booked {
                decision.order.captured = order.captured.minus(refund.amount).unwrap();
            }
        })
    }
}

#[test]
fn mutation_capture_changed_by_a_refund_is_noticed() {
    is_noticed(RefundsUncapture, scope::PROVIDER, REBOOKED);
}

/// A paid order is called off as one is whose payment comes too late, while inventory may be selling the piece.
#[derive(Debug)]
struct CancelsPaid;

impl Rules for CancelsPaid {
    fn decide(&self, order: &Order, input: &Input, now: UnixMilliseconds, policy: &Policy) -> Result<Outcome, Refusal> {
        if *input == Input::Cancel && order.state == State::Paid && !order.stop {
            let stopping = Order {
                state: State::Charging,
                stop: true,
                captured: Amount::ZERO,
                ledger: Vec::new(),
                ..order.clone()
            };
            return decide(&stopping, &Input::Charge(ChargeAnswer::Charged), now, policy);
        }
        decide(order, input, now, policy)
    }
}

#[test]
fn mutation_cancel_of_a_paid_order_is_noticed() {
    is_noticed(CancelsPaid, scope::PROVIDER, ALARM);
}
