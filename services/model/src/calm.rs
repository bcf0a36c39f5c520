//! From any state on, without further faults: does everything end, and do the books agree?

use shopwright_domain::order::State;
use shopwright_domain::reservation::Reservation;

use crate::entry::Entry;
use crate::model::{Answered, Granted, ShopModel};
use crate::sample::Slot;
use crate::step::{asks_to_charge, call_charge, call_refund, call_stop, deliver, happen, receive_all};
use crate::table::Cause;
use crate::world::{Charge, Saga, World};

/// More than any order needs; reached only by going in circles.
const MOST_STEPS: u32 = 200;

/// Every order can end, but for those whose end Redis's lost writes took: see [`is_stuck_by_loss`].
pub fn can_settle(model: &ShopModel, world: &World) -> bool {
    settles(model, world) || has_forgotten_refund(world)
}

/// Money went back for a wish of staff that Redis has forgotten. An order that is called off later asks for more than the
/// provider has, and asks for ever; people have to see to it.
pub fn is_stuck_by_loss(model: &ShopModel, world: &World) -> bool {
    has_forgotten_refund(world) && !settles(model, world)
}

fn has_forgotten_refund(world: &World) -> bool {
    let is_forgotten =
        |saga: &Saga, slot: Slot| saga.book.granted & slot.bit() != 0 && saga.stored.refunds[slot as usize] == 0;
    let has = |saga: &Saga| is_forgotten(saga, Slot::Part) || is_forgotten(saga, Slot::Rest);
    world.came_back() && world.sagas.iter().any(has)
}

/// Every entry is delivered and acknowledged, the provider answers, time passes. Of what dead or paused processes hold
/// nothing is used, so nothing depends on their coming back.
fn settles(model: &ShopModel, world: &World) -> bool {
    let mut world = *world;
    let mut has_been_due = [false; 2];
    for _ in 0..MOST_STEPS {
        let mut is_quiet = true;
        for (saga, has_been_due) in has_been_due.iter_mut().enumerate().take(model.scope.orders) {
            let stored = &world.sagas[saga].stored;
            let Some(order) = stored.order else { continue };
            if let Some(entry) = stored.entries.first() {
                work(model, &mut world, saga, entry);
                is_quiet = false;
            } else if model.table.facts(order).has_due_time {
                // First there is still patience, then none.
                let cause = if *has_been_due {
                    Cause::DueAfterDeadline
                } else {
                    Cause::Due
                };
                *has_been_due = true;
                happen(model, &mut world, saga, cause);
                is_quiet = false;
            }
        }
        if is_quiet {
            return world.breach.is_none() && is_settled(model, &world);
        }
    }
    false
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
            call_charge(world, saga, Charge::Charged, Answered::Yes);
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
                call_refund(world, saga, slot, Granted::Yes, Answered::Yes);
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
    world.stock.reserved == 0
        && world.sagas.iter().filter(held).count() == 0
        && on_hand == Ok(1 - sold.count().min(1))
        && world.sagas.iter().all(|saga| has_ended(model, saga, world.came_back()))
}

/// Nothing due, nothing pending, and the order's money is the provider's. What an order knew before Redis forgot, and was
/// then called off without, the provider may still have: that is the loss that a durability of a second allows.
fn has_ended(model: &ShopModel, saga: &Saga, came_back: bool) -> bool {
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
