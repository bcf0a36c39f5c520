//! What must hold of one order and its books, seen at one moment. Pure.

use shopwright_domain::UnixMilliseconds;
use shopwright_domain::money::Amount;
use shopwright_domain::order::{Order, PostingKind, RefundState, State};
use shopwright_domain::reservation::Reservation;

use crate::books::{Document, OrderBooks, ReservationBook};
use crate::report::Invariant;

/// A violation of one order.
pub(crate) type Fault = (Invariant, String);

/// How far the score of a due time may lie behind the document's: a sweeper that takes it pushes it forward for so long.
const LEASE: i64 = 5_000;

/// How to judge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judgement {
    pub(crate) now: UnixMilliseconds,
    /// Milliseconds that a due time may lie back.
    pub(crate) patience: i64,
    /// Nothing is under way any more.
    pub(crate) settled: bool,
}

/// Everything that is wrong.
pub(crate) fn faults(books: &OrderBooks, judgement: Judgement) -> Vec<Fault> {
    let order = match &books.order {
        Document::Present(order) => order,
        Document::Broken => return vec![(Invariant::Documents, "the order's document is not understood".into())],
        Document::Missing => return without_order(books),
    };
    let mut faults = Vec::new();
    if order.id != books.id {
        faults.push((Invariant::Documents, "the order's document names another order".into()));
    }
    story(order, &mut faults);
    reservation(order, &books.reservation, &mut faults);
    money(order, &mut faults);
    refunds(order, books, &mut faults);
    provider(order, books, &mut faults);
    due(order, books.due, judgement, &mut faults);
    faults
}

/// A charge or a reservation that no order accounts for: the order was lost.
fn without_order(books: &OrderBooks) -> Vec<Fault> {
    let mut faults = Vec::new();
    if books.charge.captured > books.charge.refunded {
        let detail = format!(
            "the provider took {} for an order that does not exist",
            books.charge.captured
        );
        faults.push((Invariant::Loss, detail));
    }
    match &books.reservation {
        Document::Present(reservation) => {
            let detail = format!(
                "a reservation ({:?}) of an order that does not exist",
                reservation.state
            );
            faults.push((Invariant::Loss, detail));
        }
        Document::Broken => faults.push((Invariant::Documents, "the reservation is not understood".into())),
        Document::Missing => {}
    }
    if books.due.is_some() {
        faults.push((
            Invariant::Termination,
            "a due time of an order that does not exist".into(),
        ));
    }
    faults
}

/// No state is come into twice, and the last one is where the order is.
fn story(order: &Order, faults: &mut Vec<Fault>) {
    for (index, passage) in order.timeline.iter().enumerate() {
        if order.timeline[..index]
            .iter()
            .any(|earlier| earlier.state == passage.state)
        {
            faults.push((
                Invariant::DoubleEffect,
                format!("it became {} twice", passage.state.as_str()),
            ));
        }
    }
    if order.timeline.last().map(|passage| passage.state) != Some(order.state) {
        faults.push((
            Invariant::Documents,
            "the timeline does not end where the order is".into(),
        ));
    }
}

fn was(order: &Order, state: State) -> bool {
    order.timeline.iter().any(|passage| passage.state == state)
}

fn reservation(order: &Order, book: &Document<ReservationBook>, faults: &mut Vec<Fault>) {
    use Reservation as R;
    let state = match book {
        Document::Present(book) => book.state,
        Document::Missing => R::None,
        Document::Broken => {
            faults.push((Invariant::Documents, "the reservation is not understood".into()));
            return;
        }
    };
    let sold = was(order, State::Completed);
    let fits = match order.state {
        State::Reserved | State::Charging => state == R::Reserved,
        // What was lost or given away meanwhile makes the commit refused, and the money goes back.
        State::Paid if order.stock_settled => !matches!(state, R::Reserved | R::Committed),
        State::Paid if order.stop => state != R::Committed,
        State::Paid => true,
        State::Completed => state == R::Committed,
        State::Rejected => state == R::Rejected,
        State::Refunded if sold => state == R::Committed,
        State::Declined | State::Cancelled | State::Refunded if order.stock_settled => {
            matches!(state, R::Released | R::Rejected | R::Tombstone)
        }
        State::Pending | State::Declined | State::Cancelled | State::Refunded => state != R::Committed,
    };
    if !fits {
        let detail = format!("the order is {}, its reservation {state:?}", order.state.as_str());
        faults.push((Invariant::OrderReservation, detail));
    }
    if let Document::Present(book) = book
        && matches!(state, R::Reserved | R::Committed)
        && !same_lines(order, book)
    {
        let detail = "the reserved lines are not the order's".to_owned();
        faults.push((Invariant::OrderReservation, detail));
    }
}

fn same_lines(order: &Order, book: &ReservationBook) -> bool {
    order.lines.len() == book.lines.len()
        && order.lines.iter().all(|line| {
            book.lines.iter().any(|held| {
                held.product_id == line.product_id
                    && held.quantity == line.quantity
                    && line.unit_price.is_none_or(|price| price == held.unit_price)
            })
        })
}

fn money(order: &Order, faults: &mut Vec<Fault>) {
    let mut wrong = |holds: bool, detail: &str| {
        if !holds {
            faults.push((Invariant::Money, detail.to_owned()));
        }
    };
    let total = order.total.unwrap_or(Amount::ZERO);
    if let (Some(subtotal), Some(fee)) = (order.subtotal, order.fee) {
        wrong(subtotal.plus(fee) == Ok(total), "subtotal and fee are not the total");
        let lines = order.lines.iter().try_fold(0_i64, |sum, line| {
            let price = line.unit_price?.minor_units();
            sum.checked_add(price.checked_mul(i64::from(line.quantity))?)
        });
        wrong(
            lines == Some(subtotal.minor_units()),
            "the lines do not add up to the subtotal",
        );
    } else {
        wrong(order.total.is_none(), "a total without its parts");
    }
    let is_paid = was(order, State::Paid);
    wrong(
        order.captured == if is_paid { total } else { Amount::ZERO },
        "captured is neither nothing nor the total",
    );
    let gone = order.refunded.plus(order.refund_open);
    wrong(
        gone.is_ok_and(|gone| gone <= order.captured),
        "more is going back than came",
    );
    wrong(
        order.state != State::Refunded || order.refunded == order.captured,
        "refunded, but not all of it",
    );
    let mut balance = 0_i64;
    let mut captures = 0;
    for posting in &order.ledger {
        match posting.kind {
            PostingKind::Capture => {
                captures += 1;
                balance += posting.amount.minor_units();
            }
            PostingKind::Refund => balance -= posting.amount.minor_units(),
        }
    }
    wrong(captures == i32::from(is_paid), "the ledger does not hold one capture");
    wrong(
        balance == order.captured.minor_units() - order.refunded.minor_units(),
        "the ledger does not add up",
    );
}

fn refunds(order: &Order, books: &OrderBooks, faults: &mut Vec<Fault>) {
    let (mut succeeded, mut requested) = (0_i64, 0_i64);
    for (id, book) in order.refunds.iter().zip(&books.refunds) {
        let Document::Present(refund) = &book.document else {
            faults.push((Invariant::Money, "a refund that the order lists is not there".into()));
            continue;
        };
        let amount = refund.amount.minor_units();
        let open = order.open_refunds.contains(id);
        match refund.state {
            RefundState::Succeeded => succeeded += amount,
            RefundState::Requested => requested += amount,
            RefundState::Failed => {}
        }
        if open != (refund.state == RefundState::Requested) || refund.order_id != order.id {
            faults.push((Invariant::Money, "order and refund do not agree on what is open".into()));
        }
        // Of the rest, the provider may have given a part before, under an id that the shop has forgotten; what went back in
        // all is compared with the charge.
        let fits = book.provider.amount == amount || (book.provider.is_rest && book.provider.amount < amount);
        let agreed = match refund.state {
            RefundState::Requested => true,
            RefundState::Succeeded => book.provider.state == "succeeded" && fits,
            RefundState::Failed => book.provider.state != "succeeded",
        };
        if !agreed {
            let detail = format!(
                "a refund of {amount} is {:?}, the provider says '{}' of {}",
                refund.state, book.provider.state, book.provider.amount
            );
            faults.push((Invariant::Provider, detail));
        }
    }
    // Beyond the bound of its list an order has let go of refused ones, which count for nothing.
    if [succeeded, requested] != [order.refunded.minor_units(), order.refund_open.minor_units()] {
        faults.push((Invariant::Money, "the refunds do not add up".into()));
    }
}

/// The provider took money, and the order was never charged: begins the detail of such a finding.
pub const UNKNOWN_MONEY: &str = "money that the order knows nothing of";
/// The provider gave back more than the order asked for: begins the detail of such a finding.
pub const MORE_WENT_BACK: &str = "more went back than the order knows";

fn provider(order: &Order, books: &OrderBooks, faults: &mut Vec<Fault>) {
    let charge = &books.charge;
    let mut wrong = |holds: bool, what: &str| {
        if !holds {
            let detail = format!(
                "{what}: the order is {}, the provider says '{}'",
                order.state.as_str(),
                charge.state
            );
            faults.push((Invariant::Provider, detail));
        }
    };
    let total = order.total.map_or(0, Amount::minor_units);
    let (captured, refunded) = (order.captured.minor_units(), order.refunded.minor_units());
    wrong(
        charge.captured == 0 || charge.captured == charge.amount,
        "the provider took it twice",
    );
    if captured > 0 {
        wrong(
            charge.state == "charged" && charge.captured == captured,
            "what was taken",
        );
        wrong(charge.refunded >= refunded, "less went back than the order says");
        let most = refunded + order.refund_open.minor_units();
        wrong(charge.refunded <= most, MORE_WENT_BACK);
        return;
    }
    match order.state {
        // The answer may be on its way.
        State::Charging => wrong(charge.captured == 0 || charge.captured == total, "what was taken"),
        State::Declined => wrong(charge.state == "declined", "a decline"),
        State::Cancelled if was(order, State::Charging) => wrong(charge.state == "stopped", "a stop"),
        _ => wrong(charge.captured == 0, UNKNOWN_MONEY),
    }
}

fn due(order: &Order, score: Option<f64>, judgement: Judgement, faults: &mut Vec<Fault>) {
    let mut wrong = |holds: bool, detail: String| {
        if !holds {
            faults.push((Invariant::Termination, detail));
        }
    };
    let word = order.state.as_str();
    match (order.due_at, score) {
        (None, None) => {}
        (Some(_), None) => wrong(false, format!("{word}, and no due time is kept for it")),
        (None, Some(_)) => wrong(false, format!("{word} and at rest, but a due time is kept")),
        (Some(due), Some(score)) => {
            #[allow(
                clippy::cast_precision_loss,
                reason = "milliseconds since 1970 are exact in a double"
            )]
            let (earliest, latest) = (due as f64, due.max(judgement.now + LEASE) as f64);
            let kept = (earliest..=latest).contains(&score);
            wrong(kept, format!("{word}, and another due time is kept than its own"));
            let late = judgement.now - due;
            wrong(
                late <= judgement.patience,
                format!("{word}, overdue for {} s", late / 1_000),
            );
        }
    }
    wrong(
        order.state.is_terminal() || order.due_at.is_some(),
        format!("{word} without a due time"),
    );
    if judgement.settled {
        wrong(order.state.is_terminal(), format!("still {word}"));
        wrong(
            order.due_at.is_none(),
            format!("{word}, and something is still to happen"),
        );
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
