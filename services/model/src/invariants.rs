//! What holds in every reachable state. After Redis has lost writes some of it cannot hold; each says what then does.

use shopwright_domain::order::State;
use shopwright_domain::reservation::Reservation;
use stateright::Property;

use crate::calm::can_settle;
use crate::entry::Entry;
use crate::facts::OrderFacts;
use crate::model::ShopModel;
use crate::sample::{Slot, TOTAL};
use crate::world::{Breach, Charge, Saga, World};

/// All of them.
pub fn always() -> Vec<Property<ShopModel>> {
    vec![
        Property::always("stock is what the reservations say, and never negative", stock),
        Property::always("one piece is never held or sold twice", one_piece),
        Property::always("orders and reservations agree", |model, world| {
            each(model, world, reservation)
        }),
        Property::always("an order's amounts and its ledger add up", |model, world| {
            each(model, world, amounts)
        }),
        Property::always(
            "the provider's book agrees with what orders concluded",
            |model, world| each(model, world, if world.came_back() { book_after_loss } else { book }),
        ),
        Property::always(
            "at most one capture an order, and no more back than was captured",
            |_, world: &World| {
                world
                    .sagas
                    .iter()
                    .all(|saga| saga.book.captured <= TOTAL && saga.book.refunded <= saga.book.captured)
            },
        ),
        Property::always("nothing that was booked is booked otherwise", |_, world: &World| {
            world.breach != Some(Breach::Rebooked)
        }),
        Property::always("ended orders stay ended", |_, world: &World| {
            world.breach != Some(Breach::EndedOrderWentOn)
        }),
        Property::always("nobody tells an order what cannot have happened", |_, world: &World| {
            world.breach != Some(Breach::Contradiction)
        }),
        Property::always("nobody asks to release what is sold", |_, world: &World| {
            world.breach != Some(Breach::Alarm)
        }),
        Property::always("what is to be done next stands in a stream", |model, world| {
            each(model, world, next)
        }),
        Property::always("whatever is unfinished is due some day", |model, world| {
            each(model, world, due)
        }),
        Property::always("every order can end, with stock and money exact", can_settle),
    ]
}

fn each(model: &ShopModel, world: &World, holds: fn(&ShopModel, &Saga, &OrderFacts) -> bool) -> bool {
    world.sagas.iter().all(|saga| {
        saga.stored
            .order
            .is_none_or(|order| holds(model, saga, model.table.facts(order)))
    })
}

fn count(world: &World, reservation: Reservation) -> i8 {
    world
        .sagas
        .iter()
        .map(|saga| i8::from(saga.stored.reservation == reservation))
        .sum()
}

fn stock(_: &ShopModel, world: &World) -> bool {
    let stock = world.stock;
    stock.reserved >= 0
        && stock.on_hand >= stock.reserved
        && stock.reserved == count(world, Reservation::Reserved)
        && stock.on_hand == 1 - count(world, Reservation::Committed)
}

fn one_piece(_: &ShopModel, world: &World) -> bool {
    count(world, Reservation::Reserved) + count(world, Reservation::Committed) <= 1
}

fn reservation(_: &ShopModel, saga: &Saga, order: &OrderFacts) -> bool {
    use Reservation::{Committed, Rejected, Released, Reserved, Tombstone};
    let reservation = saga.stored.reservation;
    // Nothing is held, and a late order.placed will find that on record.
    let is_closed = matches!(reservation, Released | Tombstone | Rejected);
    match order.state {
        State::Pending => matches!(reservation, Reservation::None | Reserved | Rejected),
        State::Reserved | State::Charging => reservation == Reserved,
        State::Paid | State::Cancelled if order.stock_settled => is_closed,
        State::Paid if order.stop => matches!(reservation, Reserved | Released),
        State::Paid => matches!(reservation, Reserved | Committed),
        State::Completed => reservation == Committed,
        State::Rejected => reservation == Rejected,
        State::Refunded => reservation != Reservation::None,
        State::Declined => matches!(reservation, Reserved | Released),
        State::Cancelled => reservation != Committed,
    }
}

fn amounts(model: &ShopModel, saga: &Saga, order: &OrderFacts) -> bool {
    let documents = saga
        .stored
        .refunds
        .iter()
        .filter_map(|refund| model.table.refund(*refund));
    let open: u8 = documents
        .filter(|refund| refund.is_open)
        .map(|refund| refund.amount)
        .sum();
    order.adds_up && open == order.refund_open
}

fn book(model: &ShopModel, saga: &Saga, order: &OrderFacts) -> bool {
    let book = &saga.book;
    let charge_agrees = match order.state {
        // Not asked, and nobody may ask.
        State::Pending | State::Reserved | State::Rejected => book.charge == Charge::Nothing && !saga.hands.may_charge,
        State::Charging => true,
        State::Paid | State::Completed | State::Refunded => book.charge == Charge::Charged,
        State::Declined => book.charge == Charge::Declined,
        State::Cancelled if saga.hands.may_charge => book.charge == Charge::Stopped,
        State::Cancelled => matches!(book.charge, Charge::Nothing | Charge::Stopped),
    };
    // Whatever went back is booked, or still open.
    let refunds_agree = (order.refunded..=order.refunded + order.refund_open).contains(&book.refunded);
    charge_agrees && refunds_agree && booked_refunds_were_granted(model, saga)
}

/// An order claims no money that the provider does not have, whatever Redis has lost. The other way round it can: see
/// [`Sight::ChargeOrphaned`](crate::sights::Sight::ChargeOrphaned) and [`Sight::PieceGone`](crate::sights::Sight::PieceGone).
fn book_after_loss(model: &ShopModel, saga: &Saga, order: &OrderFacts) -> bool {
    let charge_agrees = match order.state {
        State::Paid | State::Completed | State::Refunded => saga.book.charge == Charge::Charged,
        State::Declined => saga.book.charge == Charge::Declined,
        _ => true,
    };
    charge_agrees && saga.book.refunded >= order.refunded && booked_refunds_were_granted(model, saga)
}

fn booked_refunds_were_granted(model: &ShopModel, saga: &Saga) -> bool {
    Slot::ALL.into_iter().all(|slot| {
        let booked = model
            .table
            .refund(saga.stored.refunds[slot as usize])
            .is_some_and(|refund| refund.is_booked);
        !booked || saga.book.granted & slot.bit() != 0
    })
}

/// The next step hangs on nobody's patience: the entry that leads to it is there, and nobody has handled it yet. It is what
/// "acknowledged only after its effect" means in the state alone. Where Redis has lost an effect and then heard its
/// acknowledgement, the due time is all there is: see [`due`].
fn next(_: &ShopModel, saga: &Saga, order: &OrderFacts) -> bool {
    use Reservation::{Committed, Rejected, Released, Reserved, Tombstone};
    if saga.hands.acknowledged_for_nothing {
        return true;
    }
    let stored = &saga.stored;
    let is_waiting = |entry| stored.entries.is_waiting(entry);
    let release = |request| match stored.reservation {
        Reservation::None | Reserved => is_waiting(request),
        Released | Tombstone => is_waiting(Entry::StockReleased),
        Rejected => is_waiting(Entry::StockRejected),
        Committed => true,
    };
    match order.state {
        State::Pending => match stored.reservation {
            Reservation::None => is_waiting(Entry::OrderPlaced),
            Reserved => is_waiting(Entry::StockReserved),
            Rejected => is_waiting(Entry::StockRejected),
            Committed | Released | Tombstone => true,
        },
        State::Reserved => is_waiting(Entry::Charge),
        State::Paid | State::Completed | State::Refunded | State::Cancelled if order.stock_settled => true,
        State::Paid if !order.stop => match stored.reservation {
            Reservation::None | Reserved => is_waiting(Entry::OrderPaid),
            Committed => is_waiting(Entry::StockCommitted),
            Released | Tombstone | Rejected => is_waiting(Entry::StockCommitRefused),
        },
        State::Paid | State::Refunded | State::Cancelled => release(Entry::OrderCancelled),
        State::Declined if !order.stock_settled => release(Entry::OrderDeclined),
        State::Charging | State::Completed | State::Rejected | State::Declined => true,
    }
}

fn due(_: &ShopModel, _: &Saga, order: &OrderFacts) -> bool {
    let is_unfinished = !order.state.is_terminal() || order.refund_open > 0;
    let waits_for_stock = match order.state {
        State::Cancelled | State::Declined => !order.stock_settled,
        State::Refunded => order.stop && !order.stock_settled,
        _ => false,
    };
    order.has_due_time || !(is_unfinished || waits_for_stock)
}
