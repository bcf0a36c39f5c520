//! Orders as the rules make them fit; each book changed by hand does not.

use shopwright_domain::ids::{OrderId, ProductId, RefundId};
use shopwright_domain::lines::{Line, Lines, PricedLine};
use shopwright_domain::money::FeePercent;
use shopwright_domain::order::{
    ChargeAnswer, Input, Outcome, Placing, Policy, Refund, RefundAnswer, RefundRequest, decide, place,
};

use super::*;
use crate::books::{ProviderBook, RefundBook};

const NOW: i64 = 1_000_000;

fn policy() -> Policy {
    Policy {
        order_deadline: 60_000,
        charge_retry: 1_000,
        release_retry: 1_000,
        longest_retry: 2_000,
        fee: FeePercent::new(20).unwrap(),
    }
}

fn priced() -> PricedLine {
    PricedLine {
        product_id: ProductId::from_parts(2, [2; 10]),
        quantity: 3,
        unit_price: Amount::new(333).unwrap(),
    }
}

/// The order after these inputs, and every document of a refund.
fn after(inputs: &[Input]) -> (Order, Vec<Refund>) {
    let line = Line {
        product_id: priced().product_id,
        quantity: 3,
        expected_unit_price: None,
    };
    let placing = Placing {
        id: OrderId::from_parts(1, [1; 10]),
        currency: "EUR".parse().unwrap(),
        lines: Lines::new(&[line]).unwrap(),
        request_id: String::new(),
        traceparent: String::new(),
    };
    let mut order = place(placing, NOW, &policy()).order;
    let mut refunds: Vec<Refund> = Vec::new();
    for input in inputs {
        let input = match input {
            Input::Refund(_, answer) => Input::Refund(refunds.last().unwrap().clone(), *answer),
            other => other.clone(),
        };
        let Ok(Outcome::Advance(decision)) = decide(&order, &input, NOW, &policy()) else {
            panic!("{input:?}")
        };
        if let Some(refund) = decision.refund {
            refunds.retain(|known| known.id != refund.id);
            refunds.push(refund);
        }
        order = decision.order;
    }
    (order, refunds)
}

fn paid() -> Vec<Input> {
    vec![
        Input::StockReserved(vec![priced()]),
        Input::ChargeStarting,
        Input::Charge(ChargeAnswer::Charged),
    ]
}

/// A sold order of which 500 went back, and everything that belongs to it.
fn sold() -> OrderBooks {
    let refund = RefundRequest {
        id: RefundId::from_parts(3, [3; 10]),
        amount: Some(Amount::new(500).unwrap()),
        reason: None,
    };
    let mut inputs = paid();
    inputs.push(Input::StockCommitted);
    inputs.push(Input::RefundRequested(refund));
    let (_, open) = after(&inputs);
    inputs.push(Input::Refund(open[0].clone(), RefundAnswer::Succeeded));
    let (order, refunds) = after(&inputs);
    books(order, refunds, Reservation::Committed, ("charged", 1_199, 1_199, 500))
}

fn books(
    order: Order,
    refunds: Vec<Refund>,
    reservation: Reservation,
    (state, amount, captured, refunded): (&str, i64, i64, i64),
) -> OrderBooks {
    let refunds = refunds.into_iter().map(|refund| RefundBook {
        provider: ProviderBook {
            state: "succeeded".into(),
            amount: refund.amount.minor_units(),
            ..ProviderBook::default()
        },
        document: Document::Present(refund),
    });
    #[allow(clippy::cast_precision_loss)]
    let due = order.due_at.map(|due| due as f64);
    OrderBooks {
        id: order.id,
        due,
        refunds: refunds.collect(),
        order: Document::Present(order),
        reservation: Document::Present(ReservationBook {
            state: reservation,
            lines: vec![priced()],
        }),
        charge: ProviderBook {
            state: state.into(),
            amount,
            captured,
            refunded,
            is_rest: false,
        },
    }
}

fn live() -> Judgement {
    Judgement {
        now: NOW,
        patience: 0,
        settled: false,
    }
}

fn violated(books: &OrderBooks) -> Vec<Invariant> {
    let mut invariants: Vec<_> = faults(books, live())
        .into_iter()
        .map(|(invariant, _)| invariant)
        .collect();
    invariants.dedup();
    invariants
}

#[test]
fn what_the_rules_make_fits() {
    assert_eq!(
        faults(
            &sold(),
            Judgement {
                settled: true,
                ..live()
            }
        ),
        []
    );
    let pending = after(&[]).0;
    let mut fresh = books(pending, Vec::new(), Reservation::None, ("", 0, 0, 0));
    fresh.reservation = Document::Missing;
    assert_eq!(faults(&fresh, live()), []);
    let settled = after(&paid()).0;
    assert_eq!(
        faults(
            &books(settled, Vec::new(), Reservation::Reserved, ("charged", 1_199, 1_199, 0)),
            live()
        ),
        []
    );
    let charging = after(&paid()[..2]).0;
    for charge in [("", 0, 0, 0), ("charged", 1_199, 1_199, 0), ("stopped", 0, 0, 0)] {
        let underway = books(charging.clone(), Vec::new(), Reservation::Reserved, charge);
        assert_eq!(faults(&underway, live()), [], "{charge:?}");
    }
}

type Change = fn(&mut OrderBooks, &mut Order);

#[test]
fn every_changed_book_is_noticed() {
    let edits: Vec<(&str, Invariant, Change)> = vec![
        ("other total", Invariant::Money, |_, order| {
            order.total = Some(Amount::new(1_200).unwrap());
        }),
        ("line price", Invariant::Money, |_, order| {
            order.lines[0].unit_price = Some(Amount::new(334).unwrap());
        }),
        ("captured twice", Invariant::Money, |_, order| {
            order.captured = Amount::new(2_398).unwrap();
        }),
        ("refund unbooked", Invariant::Money, |_, order| {
            order.ledger.pop();
        }),
        ("two captures", Invariant::Money, |_, order| {
            order.ledger.insert(0, order.ledger[0]);
        }),
        ("refunded more", Invariant::Money, |_, order| {
            order.refunded = Amount::new(1_300).unwrap();
        }),
        ("refund lost", Invariant::Money, |books, _| {
            books.refunds[0].document = Document::Missing;
        }),
        ("still open", Invariant::Money, |_, order| {
            order.open_refunds.push(order.refunds[0]);
        }),
        ("never asked", Invariant::Provider, |books, _| {
            books.charge = ProviderBook::default();
        }),
        ("taken twice", Invariant::Provider, |books, _| {
            books.charge.captured = 2_398;
        }),
        ("not given back", Invariant::Provider, |books, _| {
            books.charge.refunded = 0;
        }),
        ("given back twice", Invariant::Provider, |books, _| {
            books.charge.refunded = 1_000;
        }),
        ("refund refused", Invariant::Provider, |books, _| {
            books.refunds[0].provider.state = "failed".into();
        }),
        ("refund of another amount", Invariant::Provider, |books, _| {
            books.refunds[0].provider.amount -= 1;
        }),
        ("rest above what was asked", Invariant::Provider, |books, _| {
            books.refunds[0].provider.is_rest = true;
            books.refunds[0].provider.amount += 1;
        }),
        ("rest, and nothing before", Invariant::Provider, |books, _| {
            books.refunds[0].provider.is_rest = true;
            books.refunds[0].provider.amount -= 1;
            books.charge.refunded -= 1;
        }),
        ("released", Invariant::OrderReservation, |books, _| {
            books.reservation = Document::Present(ReservationBook {
                state: Reservation::Released,
                lines: vec![],
            });
        }),
        ("no reservation", Invariant::OrderReservation, |books, _| {
            books.reservation = Document::Missing;
        }),
        ("other lines", Invariant::OrderReservation, |_, order| {
            order.lines[0].quantity = 4;
        }),
        ("completed twice", Invariant::DoubleEffect, |_, order| {
            order.timeline.push(*order.timeline.last().unwrap());
        }),
        ("due for nothing", Invariant::Termination, |books, _| {
            books.due = Some(1.0);
        }),
        ("unreadable", Invariant::Documents, |books, _| {
            books.reservation = Document::Broken;
        }),
    ];
    for (what, invariant, change) in edits {
        let mut changed = sold();
        let Document::Present(mut order) = changed.order.clone() else {
            panic!()
        };
        change(&mut changed, &mut order);
        changed.order = Document::Present(order);
        assert!(
            violated(&changed).contains(&invariant),
            "{what}: {:?}",
            faults(&changed, live())
        );
    }
}

#[test]
fn unfinished_orders_are_judged_by_their_time() {
    let mut overdue = books(after(&[]).0, Vec::new(), Reservation::None, ("", 0, 0, 0));
    let later = |milliseconds: i64| Judgement {
        now: NOW + milliseconds,
        patience: 10_000,
        settled: false,
    };
    assert_eq!(faults(&overdue, later(70_000)), []);
    let faults_of = |books: &OrderBooks, judgement| -> Vec<_> {
        faults(books, judgement)
            .into_iter()
            .map(|(invariant, _)| invariant)
            .collect()
    };
    assert_eq!(faults_of(&overdue, later(70_001)), [Invariant::Termination]);
    // A sweeper has taken it.
    overdue.due = Some(1_064_000.0);
    assert_eq!(faults(&overdue, later(60_000)), []);
    overdue.due = None;
    assert_eq!(faults_of(&overdue, live()), [Invariant::Termination]);
    let settled = Judgement {
        settled: true,
        ..live()
    };
    assert!(
        faults(
            &books(after(&[]).0, Vec::new(), Reservation::None, ("", 0, 0, 0)),
            settled
        )
        .len()
            >= 2
    );
}

#[test]
fn what_no_order_accounts_for_was_lost() {
    let mut orphan = sold();
    orphan.order = Document::Missing;
    assert_eq!(violated(&orphan), [Invariant::Loss]);
    orphan.reservation = Document::Missing;
    orphan.charge = ProviderBook::default();
    assert_eq!(violated(&orphan), []);
}

/// A part of the money went back under an id that the shop has forgotten, and the rest of it under the one that it knows.
#[test]
fn the_rest_may_be_less_than_the_order_asked_for() {
    let mut books = sold();
    books.refunds[0].provider.is_rest = true;
    books.refunds[0].provider.amount -= 1;
    assert_eq!(faults(&books, live()), []);
}
