//! From any state on, without further faults: does everything end, and do the books agree?

use shopwright_domain::order::State;
use shopwright_domain::reservation::Reservation;

use crate::entry::Entry;
use crate::model::{Answered, Granted, ShopModel};
use crate::provider::{call_charge, call_refund, call_stop};
use crate::sample::Slot;
use crate::step::{asks_to_charge, deliver, happen, receive_all};
use crate::table::Cause;
use crate::world::{Charge, Saga, World};

/// More than any order needs; reached only by going in circles.
const MOST_STEPS: u32 = 200;

/// Where everything comes to by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Every order has ended, stock and money are exact.
    Settled,
    /// So it is, but for orders that ask for ever for money that is back already: see [`asks_for_ever`].
    AsksForEver,
    /// Neither.
    Unsettled,
}

/// Every order can end, but for those whose end Redis's lost writes took: see [`is_stuck_by_loss`].
pub fn can_settle(model: &ShopModel, world: &World) -> bool {
    end(model, world) != End::Unsettled
}

/// Money went back for a wish of staff that Redis has forgotten. An order that is called off later asks for more than the
/// provider has, and asks for ever; people have to see to it.
pub fn is_stuck_by_loss(model: &ShopModel, world: &World) -> bool {
    world.came_back() && end(model, world) == End::AsksForEver
}

/// Every entry is delivered and acknowledged, the provider answers, time passes. Of what dead or paused processes hold
/// nothing is used, so nothing depends on their coming back.
fn end(model: &ShopModel, world: &World) -> End {
    let (mut world, mut has_been_due) = (*world, [false; 2]);
    // What is remembered is ever further on, and ever longer: a circle is noticed when it has been entered and gone round.
    let (mut remembered, mut until) = ((world, has_been_due), 1);
    for steps in 1..=MOST_STEPS {
        let is_quiet = !go_on(model, &mut world, &mut has_been_due);
        if is_quiet && is_settled(model, &world, has_ended) {
            return End::Settled;
        }
        if is_quiet || remembered == (world, has_been_due) {
            let has_ended_or_asks = |model: &ShopModel, world: &World, saga: &Saga| {
                has_ended(model, world, saga) || asks_for_ever(model, world, saga)
            };
            let is_settled_otherwise = !is_quiet && is_settled(model, &world, has_ended_or_asks);
            return if is_settled_otherwise {
                End::AsksForEver
            } else {
                End::Unsettled
            };
        }
        if steps == until {
            (remembered, until) = ((world, has_been_due), 2 * until);
        }
    }
    End::Unsettled
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

fn is_settled(model: &ShopModel, world: &World, is_at_its_end: impl Fn(&ShopModel, &World, &Saga) -> bool) -> bool {
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
        && world.sagas.iter().all(|saga| is_at_its_end(model, world, saga))
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

/// Nothing is left of the order but its whole refund, which is more than the provider has, because a refund that staff asked
/// for went back and is forgotten.
fn asks_for_ever(model: &ShopModel, world: &World, saga: &Saga) -> bool {
    let Saga { stored, book, .. } = saga;
    let Some(order) = stored.order else { return false };
    let facts = model.table.facts(order);
    let of_staff = [Slot::Part, Slot::Rest];
    let is_forgotten = |slot: Slot| book.granted & slot.bit() != 0 && stored.refunds[slot as usize] == 0;
    let refund = |slot: Slot| model.table.refund(stored.refunds[slot as usize]);
    let is_open = |slot: Slot| refund(slot).is_some_and(|refund| refund.is_open);
    let mut other_entries = stored.entries;
    other_entries.acknowledge(Entry::Refund(Slot::Whole));
    world.came_back()
        && facts.state == State::Paid
        && facts.stock_settled
        && stored.reservation == Reservation::Released
        && other_entries.is_empty()
        && refund(Slot::Whole).is_some_and(|whole| !whole.is_booked)
        && !of_staff.into_iter().any(is_open)
        && of_staff.into_iter().any(is_forgotten)
        && facts.captured == book.captured
        && facts.refunded < book.refunded
}
