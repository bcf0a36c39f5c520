//! The provider, as `charge.lua` and `refund.lua` of the simulated one: one book, one step a call.

use shopwright_domain::order::ChargeAnswer;

use crate::model::{Answered, Granted, ShopModel};
use crate::rules::Key;
use crate::sample::{Slot, TOTAL};
use crate::world::{Charge, Reply, World};

/// What the provider's book says, as an answer.
fn clear(charge: Charge) -> Option<Reply> {
    match charge {
        Charge::Nothing | Charge::Error => None,
        Charge::Charged => Some(Reply::Charged),
        Charge::Declined => Some(Reply::Declined),
        Charge::Stopped => Some(Reply::Stopped),
    }
}

/// The charge that is under way, as the provider does it.
pub fn call_charge(model: &ShopModel, world: &mut World, saga: usize, choice: Charge, answered: Answered) {
    let saga = &mut world.sagas[saga];
    if saga.book.charge == Charge::Nothing || !model.rules.is_known_again(Key::Charge) {
        saga.book.charge = choice;
        if choice == Charge::Charged {
            saga.book.captured = saga.book.captured.saturating_add(TOTAL);
        }
    }
    if answered == Answered::Yes {
        saga.hands.replies |= clear(saga.book.charge).map_or(0, Reply::bit);
    }
}

/// The stop, as the provider does it.
pub fn call_stop(world: &mut World, saga: usize, answered: Answered) {
    let saga = &mut world.sagas[saga];
    if matches!(saga.book.charge, Charge::Nothing | Charge::Error) {
        saga.book.charge = Charge::Stopped;
    }
    if answered == Answered::Yes {
        saga.hands.replies |= clear(saga.book.charge).map_or(0, Reply::bit);
    }
}

/// A look-up. What it finds is an answer; what it does not find is one only under other rules than those that run.
pub fn look_up(model: &ShopModel, world: &mut World, saga: usize) {
    let saga = &mut world.sagas[saga];
    let reply = match (saga.book.charge, model.rules.concludes_from_not_found()) {
        (Charge::Nothing, ChargeAnswer::Unknown) => None,
        (Charge::Nothing, ChargeAnswer::Charged) => Some(Reply::Charged),
        (Charge::Nothing, ChargeAnswer::Declined) => Some(Reply::Declined),
        (Charge::Nothing, ChargeAnswer::Stopped) => Some(Reply::Stopped),
        (charge, _) => clear(charge),
    };
    saga.hands.replies |= reply.map_or(0, Reply::bit);
}

/// The refund, as the provider does it: the same id is answered the same for ever.
pub fn call_refund(
    model: &ShopModel,
    world: &mut World,
    saga: usize,
    slot: Slot,
    granted: Granted,
    answered: Answered,
) {
    let saga = &mut world.sagas[saga];
    let (book, mut amount) = (&mut saga.book, saga.hands.may_refund[slot as usize]);
    if slot == Slot::Whole && model.rules.asks_for_what_is_left() {
        amount = book.captured.saturating_sub(book.refunded);
    }
    let has_keys = model.rules.is_known_again(Key::Refund);
    let is_known = has_keys && book.granted & slot.bit() != 0;
    let is_too_much = has_keys && book.refunded + amount > book.captured;
    let is_refused = book.refused & slot.bit() != 0 || is_too_much || book.captured == 0;
    if !is_known && !is_refused {
        if granted == Granted::Yes {
            book.granted |= slot.bit();
            book.refunded = book.refunded.saturating_add(amount);
        } else {
            book.refused |= slot.bit();
        }
    }
    if answered == Answered::Yes {
        let reply = if book.granted & slot.bit() != 0 {
            Reply::Succeeded(slot)
        } else {
            Reply::Failed(slot)
        };
        saga.hands.replies |= reply.bit();
    }
}
