//! What one thing that happens does to the whole. Each is one script of one owner, one call of the provider, or one
//! acknowledgement; whatever lies between two of them can be interrupted there.

use shopwright_domain::order::State;
use shopwright_domain::reservation::{Request, StockMove};

use crate::entry::Entry;
use crate::facts::OrderFacts;
use crate::model::{Action, ShopModel};
use crate::provider::{call_charge, call_refund, call_stop, look_up};
use crate::sample::Slot;
use crate::table::{Cause, OrderNumber, RefundNumber, Verdict};
use crate::world::{Breach, Disk, Pause, Reply, Saga, Standing, Stored, World};

/// The world afterwards; the same when nothing comes of it.
pub fn take(model: &ShopModel, mut world: World, action: Action) -> World {
    if world.disk == Disk::ComesBack && !matches!(action, Action::AcknowledgeForNothing(..)) {
        world.disk = Disk::CameBack;
    }
    match action {
        Action::Place(saga) => return place(model, world, saga),
        Action::Deliver(saga, entry) => {
            let available = world.stock.on_hand - world.stock.reserved;
            deliver(model, &mut world, saga, entry, available);
        }
        Action::Finish(saga, entry) => {
            let available = world.stock.on_hand - world.stock.reserved;
            deliver(model, &mut world, saga, entry, available);
            world.sagas[saga].stored.entries.acknowledge(entry);
        }
        Action::DeliverSoldOut(saga) => deliver(model, &mut world, saga, Entry::OrderPlaced, 0),
        Action::DeliverLost(saga, entry) => {
            let available = world.stock.on_hand - world.stock.reserved;
            effect(model, &mut world, saga, entry, available);
        }
        Action::Acknowledge(saga, entry) => world.sagas[saga].stored.entries.acknowledge(entry),
        Action::AcknowledgeForNothing(saga, entry) => {
            let saga = &mut world.sagas[saga];
            saga.stored.entries.acknowledge(entry);
            saga.hands.acknowledged_for_nothing = true;
        }
        Action::Happen(saga, cause) => happen(model, &mut world, saga, cause),
        Action::CallCharge(saga, choice, answered) => {
            call_charge(model, &mut world, saga, choice, answered);
            receive_at_once(model, &mut world, saga);
        }
        Action::CallStop(saga, answered) => {
            call_stop(&mut world, saga, answered);
            receive_at_once(model, &mut world, saga);
        }
        Action::LookUp(saga) => look_up(model, &mut world, saga),
        Action::CallRefund(saga, slot, granted, answered) => {
            call_refund(model, &mut world, saga, slot, granted, answered);
            receive_at_once(model, &mut world, saga);
        }
        Action::Receive(saga, reply) => receive(model, &mut world, saga, reply),
        Action::Read(saga, cause, entry) => read(&mut world, saga, cause, entry),
        Action::StoreLate => store_late(model, &mut world),
        Action::LastWrite => {
            let [first, second] = world.sagas;
            world.disk = Disk::Earlier([first.stored, second.stored], world.stock);
        }
        Action::ComeBack => come_back(model, &mut world),
    }
    world
}

/// Two orders differ in nothing but their numbers, so each state stands for itself and for its mirror image.
pub fn in_rank_order(mut world: World) -> World {
    let [first, second] = &world.sagas;
    if first.rank() < second.rank() {
        world.sagas.swap(0, 1);
        if let Some(pause) = &mut world.pause {
            pause.saga = 1 - pause.saga;
        }
        if let Disk::Earlier(stored, _) = &mut world.disk {
            stored.swap(0, 1);
        }
    }
    world
}

/// A shopper places an order.
pub fn place(model: &ShopModel, mut world: World, saga: usize) -> World {
    let stored = &mut world.sagas[saga].stored;
    stored.order = Some(model.table.placed());
    stored.entries.add(Entry::OrderPlaced.bit());
    world
}

/// A consumer handles an entry up to its effect, or up to its call of the provider. That a job counts as handled once its
/// call is permitted allows more than what runs, which acknowledges after the call.
pub fn deliver(model: &ShopModel, world: &mut World, saga: usize, entry: Entry, available: i8) {
    effect(model, world, saga, entry, available);
    if model.scope.acknowledged_apart && (entry != Entry::Charge || model.rules.records_before_calling()) {
        world.sagas[saga].stored.entries.handle(entry);
    }
}

fn effect(model: &ShopModel, world: &mut World, saga: usize, entry: Entry, available: i8) {
    match entry {
        Entry::OrderPlaced => {
            let request = Request::Reserve(model.sample.judge(&*model.rules, available));
            inventory(model, world, saga, &request);
        }
        Entry::OrderPaid => inventory(model, world, saga, &Request::Commit),
        Entry::OrderDeclined | Entry::OrderCancelled => inventory(model, world, saga, &Request::Release),
        Entry::Charge if !model.rules.records_before_calling() => permit_charge(model, world, saga),
        Entry::Charge => {
            happen(model, world, saga, Cause::ChargeStarting);
            permit_charge(model, world, saga);
        }
        Entry::Void => {
            let saga = &mut world.sagas[saga];
            let facts = saga.stored.order.map(|order| model.table.facts(order));
            saga.hands.may_stop |= facts.is_some_and(|facts| facts.state == State::Charging && facts.stop);
        }
        Entry::Refund(slot) => {
            let saga = &mut world.sagas[saga];
            if let Some(refund) = model.table.refund(saga.stored.refunds[slot as usize])
                && refund.is_open
            {
                saga.hands.may_refund[slot as usize] = refund.amount;
            }
        }
        stock => {
            if let Some(cause) = Cause::of_stock(stock) {
                happen(model, world, saga, cause);
            }
        }
    }
}

fn permit_charge(model: &ShopModel, world: &mut World, saga: usize) {
    let saga = &mut world.sagas[saga];
    let facts = saga.stored.order.map(|order| model.table.facts(order));
    saga.hands.may_charge |= facts.is_some_and(|facts| asks_to_charge(model, facts));
}

/// Does whoever holds the job of charging this order call the provider?
pub fn asks_to_charge(model: &ShopModel, order: &OrderFacts) -> bool {
    order.may_charge || (!model.rules.records_before_calling() && order.state == State::Reserved)
}

/// One of inventory's scripts: document, counters and answer in one.
fn inventory(model: &ShopModel, world: &mut World, saga: usize, request: &Request) {
    let stored = &mut world.sagas[saga].stored;
    let step = model.rules.step(stored.reservation, request);
    stored.reservation = step.next;
    stored.entries.add(Entry::of_answer(step.answer).bit());
    let stock = &mut world.stock;
    match step.stock {
        StockMove::None => {}
        StockMove::Hold => stock.reserved += 1,
        StockMove::GiveBack => stock.reserved -= 1,
        StockMove::Sell => {
            stock.reserved -= 1;
            stock.on_hand -= 1;
        }
    }
    if step.alarm {
        world.breach = Some(Breach::Alarm);
    }
}

/// Read, decide and store at once. What is decided upon an older state is [`read`] and [`store_late`].
pub fn happen(model: &ShopModel, world: &mut World, saga: usize, cause: Cause) {
    if let Some(order) = world.sagas[saga].stored.order {
        store(model, world, saga, model.table.verdict(order, cause));
    }
}

/// Payments' one script: order, refund, due time, events and jobs in one.
fn store(model: &ShopModel, world: &mut World, saga: usize, verdict: Verdict) {
    let came_back = world.came_back();
    let stored = &mut world.sagas[saga].stored;
    match verdict {
        Verdict::Stay => {}
        // After lost writes an answer can come to an order that no longer knows that it asked. It is logged, and asked again.
        Verdict::Contradiction if came_back => {}
        Verdict::Contradiction => world.breach = Some(Breach::Contradiction),
        Verdict::Advance(advance) => {
            let breach = stored.order.and_then(|order| breach(model, order, advance.order));
            stored.order = Some(advance.order);
            if let Some(pause) = &mut world.pause
                && usize::from(pause.saga) == saga
            {
                pause.standing = match pause.standing {
                    Standing::MayFitAgain => Standing::Fits,
                    Standing::Fits | Standing::Outdated => Standing::Outdated,
                };
            }
            stored.entries.add(advance.entries);
            if let Some(refund) = model.table.refund(advance.refund) {
                let was = std::mem::replace(&mut stored.refunds[refund.slot as usize], advance.refund);
                let is_reopened = refund.slot == Slot::Whole && refund.is_open;
                if is_reopened && has_another_id(model, &world.sagas[saga], was) {
                    forget_whole_refund(&mut world.sagas[saga]);
                }
            }
            world.breach = world.breach.or(breach);
        }
    }
}

/// Is the whole refund, which was that document, opened under an id that the provider has never seen? Its id is made of the
/// number of refunds before it. So after lost writes the provider may know it already, and has then not refused it.
fn has_another_id(model: &ShopModel, saga: &Saga, was: RefundNumber) -> bool {
    let follows_refusal = model
        .table
        .refund(was)
        .is_some_and(|was| !was.is_open && !was.is_booked);
    follows_refusal && saga.book.refused & Slot::Whole.bit() != 0
}

/// A whole refund that follows a refused one has another id. What is still held or answered under the old one concerns a
/// document that is closed, and the provider refuses it for ever: none of it has an effect any more. Money that went back
/// all the same stays in the book.
fn forget_whole_refund(saga: &mut Saga) {
    let slot = Slot::Whole;
    saga.hands.may_refund[slot as usize] = 0;
    saga.hands.replies &= !(Reply::Succeeded(slot).bit() | Reply::Failed(slot).bit());
    saga.book.granted &= !slot.bit();
    saga.book.refused &= !slot.bit();
}

fn breach(model: &ShopModel, old: OrderNumber, new: OrderNumber) -> Option<Breach> {
    let (old, new) = (model.table.facts(old), model.table.facts(new));
    let ends_differently = new.state != old.state && (old.state, new.state) != (State::Completed, State::Refunded);
    if old.state.is_terminal() && ends_differently {
        return Some(Breach::EndedOrderWentOn);
    }
    let rebooked = new.refunded < old.refunded || (old.captured > 0 && new.captured != old.captured);
    rebooked.then_some(Breach::Rebooked)
}

/// What an answer is to an order, with the refund's document as it is now. None without a document.
pub fn cause_of(stored: &Stored, reply: Reply) -> Option<Cause> {
    let refund = |slot: Slot| Some(stored.refunds[slot as usize]).filter(|refund| *refund > 0);
    match reply {
        Reply::Charged => Some(Cause::Charged),
        Reply::Declined => Some(Cause::Declined),
        Reply::Stopped => Some(Cause::Stopped),
        Reply::Succeeded(slot) => refund(slot).map(Cause::RefundSucceeded),
        Reply::Failed(slot) => refund(slot).map(Cause::RefundFailed),
    }
}

/// Where answers are no steps of their own, they reach the order with the call.
fn receive_at_once(model: &ShopModel, world: &mut World, saga: usize) {
    if !model.scope.answered_apart {
        receive_all(model, world, saga);
    }
}

/// All answers that are held reach the order, and are held no longer.
pub fn receive_all(model: &ShopModel, world: &mut World, saga: usize) {
    let replies = std::mem::take(&mut world.sagas[saga].hands.replies);
    for reply in Reply::ALL.into_iter().filter(|reply| replies & reply.bit() != 0) {
        receive(model, world, saga, reply);
    }
}

/// An answer reaches the order.
pub fn receive(model: &ShopModel, world: &mut World, saga: usize, reply: Reply) {
    if !model.rules.records_before_calling() && matches!(reply, Reply::Charged | Reply::Declined) {
        happen(model, world, saga, Cause::ChargeStarting);
        world.sagas[saga].stored.entries.handle(Entry::Charge);
    }
    if let Some(cause) = cause_of(&world.sagas[saga].stored, reply) {
        happen(model, world, saga, cause);
    }
}

fn read(world: &mut World, saga: usize, cause: Cause, entry: Option<Entry>) {
    world.pause = world.sagas[saga].stored.order.map(|read| Pause {
        saga: u8::from(saga == 1),
        read,
        cause,
        standing: Standing::Fits,
        entry,
    });
}

fn store_late(model: &ShopModel, world: &mut World) {
    let Some(pause) = world.pause.take() else { return };
    let saga = usize::from(pause.saga);
    // A refused store leaves the entry in hand; deciding anew is another delivery.
    if pause.standing == Standing::Fits || !model.rules.compares_versions() {
        store(model, world, saga, model.table.verdict(pause.read, pause.cause));
        if let Some(entry) = pause.entry {
            world.sagas[saga].stored.entries.handle(entry);
        }
        if pause.cause == Cause::ChargeStarting {
            permit_charge(model, world, saga);
        }
    }
}

/// Redis forgets; the provider and those who hold something do not.
fn come_back(model: &ShopModel, world: &mut World) {
    if let Disk::Earlier(stored, stock) = world.disk {
        for (saga, stored) in world.sagas.iter_mut().zip(stored) {
            if !model.rules.acts_only_on_entries_that_are_there() {
                saga.hands.lost = saga.stored.entries.not_in(stored.entries);
            }
            saga.stored = stored;
        }
        world.stock = stock;
        world.disk = Disk::ComesBack;
        world.pause = world.pause.and_then(|pause| after_loss(model, pause, &world.sagas));
    }
}

/// Somebody who had read an order before Redis forgot. What was decided still fits an order that is as it was read; one that is
/// not comes to the same version again at another time (`docs/model.md` says when not). Nothing follows from an entry that is
/// gone.
fn after_loss(model: &ShopModel, pause: Pause, sagas: &[Saga; 2]) -> Option<Pause> {
    let stored = &sagas[usize::from(pause.saga)].stored;
    let is_lost = |entry: Entry| !entry.is_job() && !stored.entries.has(entry);
    if pause.entry.is_some_and(is_lost) && model.rules.acts_only_on_entries_that_are_there() {
        return None;
    }
    let standing = match stored.order {
        Some(order) if order == pause.read => Standing::Fits,
        _ if pause.standing == Standing::Fits && !model.rules.compares_times() => Standing::MayFitAgain,
        _ => Standing::Outdated,
    };
    Some(Pause { standing, ..pause })
}
