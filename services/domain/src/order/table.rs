//! The state machine as a table: every situation of an order meets every input. The expected table is `table.txt`, for
//! people to read and for this test to hold.

use std::fmt::Write;

use super::situation::Situation;
use super::*;
use crate::events::{Content, RejectionReason};
use crate::ids::{OrderId, ProductId};
use crate::lines::{Line, Lines, PricedLine};
use crate::money::FeePercent;

const NOW: i64 = 1_000_000;

pub(super) fn policy() -> Policy {
    Policy {
        order_deadline: 900_000,
        charge_retry: 5_000,
        release_retry: 30_000,
        longest_retry: 300_000,
        fee: FeePercent::new(20).unwrap(),
    }
}

pub(super) fn order_id() -> OrderId {
    OrderId::from_parts(1, [1; 10])
}

pub(super) fn priced() -> Vec<PricedLine> {
    vec![PricedLine {
        product_id: ProductId::from_parts(2, [2; 10]),
        quantity: 3,
        unit_price: Amount::new(333).unwrap(),
    }]
}

pub(super) fn placed(now: i64) -> Decision {
    let lines = Lines::new(&[Line {
        product_id: priced()[0].product_id,
        quantity: 3,
        expected_unit_price: None,
    }]);
    let placing = Placing {
        id: order_id(),
        currency: "EUR".parse().unwrap(),
        lines: lines.unwrap(),
        request_id: "request".into(),
        traceparent: String::new(),
    };
    place(placing, now, &policy())
}

fn after(inputs: &[Input]) -> Order {
    inputs.iter().fold(placed(0).order, |order, input| {
        let now = if *input == Input::Due {
            order.due_at.unwrap()
        } else {
            NOW
        };
        match decide(&order, input, now, &policy()) {
            Ok(Outcome::Advance(decision)) => decision.order,
            other => panic!("{:?} met {input:?}: {other:?}", order.state),
        }
    })
}

/// The id under which the paid order of the table gets its money back.
fn whole() -> RefundId {
    RefundId::of_whole(order_id(), 4)
}

fn refund(state: RefundState) -> Refund {
    Refund {
        id: whole(),
        order_id: order_id(),
        amount: Amount::new(1199).unwrap(),
        currency: "EUR".parse().unwrap(),
        state,
        reason: None,
        created_at: 0,
        updated_at: 0,
    }
}

fn refunded(answer: RefundAnswer) -> Input {
    Input::Refund(refund(RefundState::Requested), answer)
}

/// Asked for under a new id where the order had a refund before.
fn refund_asked(amount: Option<i64>) -> Input {
    Input::RefundRequested(RefundRequest {
        id: match amount {
            Some(1_000) => whole(),
            _ => RefundId::from_parts(3, [3; 10]),
        },
        amount: amount.map(|amount| Amount::new(amount).unwrap()),
        reason: Some("broken".to_owned()),
    })
}

/// The answer about the order's open refund, or about one that it never opened.
fn answered(order: &Order, answer: RefundAnswer) -> Input {
    let mut open = refund(RefundState::Requested);
    if let Some(id) = order.open_refunds.first() {
        open.id = *id;
        open.amount = order.refund_open;
    }
    Input::Refund(open, answer)
}

/// Every situation that rules tell apart, by the shortest way into it.
fn situations() -> Vec<(&'static str, Order)> {
    use ChargeAnswer::{Charged, Declined, Stopped};
    let reserved = vec![Input::StockReserved(priced())];
    let with = |first: &[Input], then: &[Input]| [first, then].concat();
    let charging = with(&reserved, &[Input::ChargeStarting]);
    let stopping = with(&charging, &[Input::Cancel]);
    let paid = with(&charging, &[Input::Charge(Charged)]);
    let paid_stop = with(&stopping, &[Input::Charge(Charged)]);
    let refunding = with(&paid, &[Input::StockCommitRefused]);
    let succeeded = [refunded(RefundAnswer::Succeeded)];
    let declined = with(&charging, &[Input::Charge(Declined)]);
    let completed = with(&paid, &[Input::StockCommitted]);
    let mut part = refund(RefundState::Requested);
    part.amount = Amount::new(1_000).unwrap();
    let partly = [refund_asked(Some(1_000)), Input::Refund(part, RefundAnswer::Succeeded)];
    [
        ("pending", vec![]),
        ("reserved", reserved),
        ("charging", charging.clone()),
        ("charging, stop", stopping.clone()),
        ("paid", paid.clone()),
        ("paid, stop", paid_stop.clone()),
        ("paid, commit refused", refunding.clone()),
        (
            "paid, refund failed",
            with(&refunding, &[refunded(RefundAnswer::Failed)]),
        ),
        ("completed", completed.clone()),
        ("completed, refund open", with(&completed, &[refund_asked(Some(1_000))])),
        ("completed, partly refunded", with(&completed, &partly)),
        (
            "rejected",
            vec![Input::StockRejected(RejectionReason::InsufficientStock)],
        ),
        ("declined", declined.clone()),
        ("declined, settled", with(&declined, &[Input::StockReleased])),
        ("cancelled", vec![Input::Cancel]),
        (
            "cancelled, settled",
            with(&stopping, &[Input::Charge(Stopped), Input::StockReleased]),
        ),
        ("refunded", with(&refunding, &succeeded)),
        ("refunded, stop", with(&paid_stop, &succeeded)),
    ]
    .into_iter()
    .map(|(name, inputs)| (name, after(&inputs)))
    .collect()
}

fn inputs(order: &Order) -> Vec<(&'static str, Input, i64)> {
    let due = order.due_at.unwrap_or(NOW);
    let deadline = due.max(order.deadline_at);
    vec![
        ("stock.reserved", Input::StockReserved(priced()), NOW),
        ("stock.reserved, other lines", Input::StockReserved(Vec::new()), NOW),
        ("stock.rejected", Input::StockRejected(RejectionReason::Archived), NOW),
        ("stock.committed", Input::StockCommitted, NOW),
        ("stock.commit_refused", Input::StockCommitRefused, NOW),
        ("stock.released", Input::StockReleased, NOW),
        ("charge starting", Input::ChargeStarting, NOW),
        ("charged", Input::Charge(ChargeAnswer::Charged), NOW),
        ("charge declined", Input::Charge(ChargeAnswer::Declined), NOW),
        ("charge stopped", Input::Charge(ChargeAnswer::Stopped), NOW),
        ("charge unknown", Input::Charge(ChargeAnswer::Unknown), NOW),
        ("cancel", Input::Cancel, NOW),
        ("not yet due", Input::Due, due - 1),
        ("due", Input::Due, due),
        ("due, past the deadline", Input::Due, deadline),
        ("refund asked, all that is left", refund_asked(None), NOW),
        ("refund asked, a part", refund_asked(Some(199)), NOW),
        ("refund asked, too much", refund_asked(Some(1_200)), NOW),
        ("refund succeeded", answered(order, RefundAnswer::Succeeded), NOW),
        ("refund failed", answered(order, RefundAnswer::Failed), NOW),
        ("refund unknown", answered(order, RefundAnswer::Unknown), NOW),
        (
            "closed refund answered",
            Input::Refund(refund(RefundState::Succeeded), RefundAnswer::Succeeded),
            NOW,
        ),
    ]
}

fn cell(order: &Order, input: &Input, now: i64) -> String {
    match decide(order, input, now, &policy()) {
        Ok(Outcome::Stay(stay)) => match stay {
            Stay::Repeated => "repeated",
            Stay::Inconclusive => "inconclusive",
            Stay::NotDue => "not due",
            Stay::Contradiction => "CONTRADICTION",
        }
        .to_owned(),
        Err(refusal) => format!("refused: {refusal}"),
        Ok(Outcome::Advance(decision)) => {
            let mut text = format!("-> {}", decision.order.state.as_str());
            for (is, was, word) in [
                (decision.order.stop, order.stop, "stop"),
                (decision.order.stock_settled, order.stock_settled, "settled"),
            ] {
                if is && !was {
                    let _ = write!(text, ", {word}");
                }
            }
            for event in &decision.events {
                let _ = write!(text, "; {}", event.kind());
            }
            for job in &decision.jobs {
                let _ = write!(text, "; job {}", job.kind());
            }
            if decision.order.ledger.len() > order.ledger.len() {
                let _ = write!(text, "; booked {}", decision.order.ledger.last().unwrap().amount);
            }
            if let Some(refund) = &decision.refund {
                let _ = write!(text, "; refund {:?} {}", refund.state, refund.amount);
            }
            match decision.due {
                Some(due) => write!(text, "; due in {} s", (due - now) / 1000),
                None => write!(text, "; at rest"),
            }
            .unwrap();
            text
        }
    }
}

#[test]
fn every_state_meets_every_input() {
    let mut actual = String::new();
    for (name, order) in situations() {
        let _ = writeln!(actual, "{name}");
        for (input_name, input, now) in inputs(&order) {
            let _ = writeln!(actual, "    {input_name:<31} {}", cell(&order, &input, now));
        }
    }
    let expected = include_str!("table.txt");
    assert!(actual == expected, "the machine's table is now:\n{actual}");
    for situation in Situation::ALL {
        assert!(
            situations().iter().any(|(_, order)| Situation::of(order) == situation),
            "{situation:?} has no row"
        );
    }
}

#[test]
fn prices_and_fee_are_taken_with_the_stock() {
    let order = after(&[Input::StockReserved(priced())]);
    let units = |amount: Option<Amount>| amount.map(Amount::minor_units);
    assert_eq!(
        (units(order.subtotal), units(order.fee), units(order.total)),
        (Some(999), Some(200), Some(1199))
    );
    assert_eq!(order.lines[0].unit_price, Some(priced()[0].unit_price));
}

#[test]
fn a_total_out_of_range_is_called_off() {
    let mut lines = priced();
    lines[0].unit_price = Amount::new(crate::money::MAX_MINOR_UNITS).unwrap();
    let order = after(&[Input::StockReserved(lines)]);
    assert_eq!(
        (order.state, order.reason, order.total),
        (State::Cancelled, Some(Reason::TotalOutOfRange), None)
    );
}

#[test]
fn a_refused_refund_leaves_the_reason() {
    let refused = [
        Input::StockReserved(priced()),
        Input::ChargeStarting,
        Input::Charge(ChargeAnswer::Charged),
        Input::StockCommitRefused,
        refunded(RefundAnswer::Failed),
    ];
    assert_eq!(after(&refused).reason, Some(Reason::CommitRefused));
}

#[test]
fn waits_double_up_to_the_longest() {
    let mut order = after(&[Input::Cancel]);
    let mut waits = Vec::new();
    for _ in 0..30 {
        let now = order.due_at.unwrap();
        let Ok(Outcome::Advance(decision)) = decide(&order, &Input::Due, now, &policy()) else {
            panic!("not due")
        };
        waits.push((decision.due.unwrap() - now) / 1000);
        order = decision.order;
    }
    assert_eq!(waits[..5], [60, 120, 240, 300, 300]);
    assert!(waits[5..].iter().all(|wait| *wait == 300));
}

#[test]
fn an_order_is_read_back_from_its_document() {
    for (name, order) in situations() {
        let document = transition::document(&order);
        assert_eq!(serde_json::from_value::<Order>(document).unwrap(), order, "{name}");
    }
}
