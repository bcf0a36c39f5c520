//! From any state on, without further faults: does everything end, and do the books agree?

use shopwright_domain::order::State;
use shopwright_domain::reservation::Reservation;

use crate::entry::Entry;
use crate::model::{Answered, Granted, ShopModel};
use crate::provider::{call_charge, call_refund, call_stop};
use crate::step::{asks_to_charge, deliver, happen, receive_all};
use crate::table::Cause;
use crate::world::{Charge, Saga, World};

/// More than any order needs; reached only by going in circles.
const MOST_STEPS: u32 = 200;

/// Every entry is delivered and acknowledged, the provider answers, time passes, until every order has ended and stock and money
/// are exact. Of what dead or paused processes hold nothing is used, so nothing depends on their coming back.
pub fn can_settle(model: &ShopModel, world: &World) -> bool {
    let (mut world, mut has_been_due) = (*world, [false; 2]);
    // What is remembered is ever further on, and ever longer: a circle is noticed when it has been entered and gone round.
    let (mut remembered, mut until) = ((world, has_been_due), 1);
    for steps in 1..=MOST_STEPS {
        if !go_on(model, &mut world, &mut has_been_due) {
            return is_settled(model, &world);
        }
        if remembered == (world, has_been_due) {
            return false;
        }
        if steps == until {
            (remembered, until) = ((world, has_been_due), 2 * until);
        }
    }
    false
}

/// The next thing happens to each order. False when nothing is left to happen.
fn go_on(model: &ShopModel, world: &mut World, has_been_due: &mut [bool; 2]) -> bool {
    let mut has_happened = false;
    for (saga, has_been_due) in has_been_due.iter_mut().enumerate().take(model.scope.orders) {
        let stored = &world.sagas[saga].stored;
        let Some(order) = stored.order else { continue };
        if let Some(entry) = stored.entries.first() {
            work(model, world, saga, entry);
            has_happened = true;
        } else if model.table.facts(order).has_due_time {
            // First there is still patience, then none.
            let cause = if *has_been_due {
                Cause::DueAfterDeadline
            } else {
                Cause::Due
            };
            *has_been_due = true;
            happen(model, world, saga, cause);
            has_happened = true;
        }
    }
    has_happened
}

/// A consumer that lives: handles the entry, asks the provider where it may, applies the answer, acknowledges.
fn work(model: &ShopModel, world: &mut World, saga: usize, entry: Entry) {
    let available = world.stock.on_hand - world.stock.reserved;
    deliver(model, world, saga, entry, available);
    let stored = world.sagas[saga].stored;
    let facts = stored.order.map(|order| model.table.facts(order));
    let (before, slot) = (
        world.sagas[saga].hands.replies,
        if let Entry::Refund(slot) = entry {
            Some(slot)
        } else {
            None
        },
    );
    world.sagas[saga].hands.replies = 0;
    match entry {
        Entry::Charge if facts.is_some_and(|facts| asks_to_charge(model, facts)) => {
            call_charge(model, world, saga, Charge::Charged, Answered::Yes);
        }
        Entry::Void if facts.is_some_and(|facts| facts.state == State::Charging && facts.stop) => {
            call_stop(world, saga, Answered::Yes);
        }
        _ => {
            if let Some(slot) = slot
                && model
                    .table
                    .refund(stored.refunds[slot as usize])
                    .is_some_and(|refund| refund.is_open)
            {
                call_refund(model, world, saga, slot, Granted::Yes, Answered::Yes);
            }
        }
    }
    receive_all(model, world, saga);
    world.sagas[saga].hands.replies |= before;
    world.sagas[saga].stored.entries.acknowledge(entry);
}

fn is_settled(model: &ShopModel, world: &World) -> bool {
    let held = |saga: &&Saga| saga.stored.reservation == Reservation::Reserved;
    let sold = world
        .sagas
        .iter()
        .filter(|saga| saga.stored.reservation == Reservation::Committed);
    let on_hand = usize::try_from(world.stock.on_hand);
    world.breach.is_none()
        && world.stock.reserved == 0
        && world.sagas.iter().filter(held).count() == 0
        && on_hand == Ok(1 - sold.count().min(1))
        && world.sagas.iter().all(|saga| has_ended(model, world, saga))
}

/// Nothing due, nothing pending, and the order's money is the provider's. What an order knew before Redis forgot, and was
/// then called off without, the provider may still have: that is the loss that a durability of a second allows.
fn has_ended(model: &ShopModel, world: &World, saga: &Saga) -> bool {
    let came_back = world.came_back();
    let Some(order) = saga.stored.order else {
        return came_back || saga.book == crate::world::Book::default();
    };
    let facts = model.table.facts(order);
    let agrees = (facts.captured, facts.refunded) == (saga.book.captured, saga.book.refunded);
    let may_differ = came_back && matches!(facts.state, State::Cancelled | State::Rejected | State::Completed);
    let is_sold = saga.stored.reservation == Reservation::Committed;
    let fits_stock = match facts.state {
        State::Completed => is_sold,
        State::Refunded => true,
        _ => !is_sold,
    };
    saga.stored.entries.is_empty()
        && !facts.has_due_time
        && facts.state.is_terminal()
        && facts.refund_open == 0
        && fits_stock
        && (agrees || may_differ)
}
