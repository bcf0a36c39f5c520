//! The model: what can happen in a state, and what it leads to.

use stateright::{Model, Property};

use crate::entry::Entry;
use crate::rules::Rules;
use crate::sample::{Sample, Slot};
use crate::scope::Scope;
use crate::table::{Cause, Table, TableError, Verdict};
use crate::world::{Charge, Disk, Reply, Saga, Stock, World};
use crate::{invariants, step};

/// What can happen. The number is the order's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A shopper places it.
    Place(usize),
    /// An entry is delivered, for the first time or again, and handled up to its effect.
    Deliver(usize, Entry),
    /// The same, of `order.placed`, when others than these orders hold the stock.
    DeliverSoldOut(usize),
    /// The same as [`Deliver`](Self::Deliver), and the entry is acknowledged at once.
    Finish(usize, Entry),
    /// An entry that Redis has lost is handled up to its effect by somebody who had read it before.
    DeliverLost(usize, Entry),
    /// The acknowledgement of a handled entry arrives.
    Acknowledge(usize, Entry),
    /// The acknowledgement of an entry arrives whose effect Redis has lost. Only as the first that it hears when it comes
    /// back: later, the entry was either not delivered meanwhile, which is the same, or it has had its effect again.
    AcknowledgeForNothing(usize, Entry),
    /// An API call or the sweeper.
    Happen(usize, Cause),
    /// Somebody with the permission calls for the charge; were it the first call, this is what the provider would do.
    CallCharge(usize, Charge, Answered),
    /// Somebody with the permission calls to stop the charge.
    CallStop(usize, Answered),
    /// Somebody looks the charge up.
    LookUp(usize),
    /// Somebody with the permission calls for a refund.
    CallRefund(usize, Slot, Granted, Answered),
    /// An answer of the provider reaches the order.
    Receive(usize, Reply),
    /// Somebody reads the order and decides, and stores that later, or never.
    Read(usize, Cause, Option<Entry>),
    /// Somebody who was slow stores what was decided.
    StoreLate,
    /// Redis writes to disk; nothing later is written before it crashes.
    LastWrite,
    /// Redis crashes, and comes back with what is on disk.
    ComeBack,
}

/// Does the provider's answer arrive?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answered {
    /// It does.
    Yes,
    /// It is lost, or the caller is dead.
    No,
}

/// Does the provider grant a refund?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Granted {
    /// It does.
    Yes,
    /// It refuses.
    No,
}

/// The shop, with everything around it failing.
#[derive(Debug)]
pub struct ShopModel {
    /// What it goes by.
    pub rules: Box<dyn Rules>,
    /// What the orders are made of.
    pub sample: Sample,
    /// What can happen.
    pub scope: Scope,
    /// Every decision.
    pub table: Table,
}

impl ShopModel {
    /// Makes every decision once.
    pub fn new(rules: impl Rules + 'static, scope: Scope) -> Result<Self, TableError> {
        let sample = Sample::new()?;
        Ok(Self {
            table: Table::build(&rules, &sample)?,
            rules: Box::new(rules),
            sample,
            scope,
        })
    }

    fn actions_about(&self, world: &World, saga: usize, actions: &mut Vec<Action>) {
        let stored = &world.sagas[saga].stored;
        let Some(order) = stored.order else {
            if !world.came_back() {
                actions.push(Action::Place(saga));
            }
            return self.calls(world, saga, actions);
        };
        for entry in Entry::ALL {
            if !stored.entries.has(entry) {
                continue;
            }
            if world.disk == Disk::ComesBack {
                actions.push(Action::AcknowledgeForNothing(saga, entry));
            }
            actions.push(Action::Deliver(saga, entry));
            if entry == Entry::OrderPlaced && self.scope.may_be_sold_out {
                actions.push(Action::DeliverSoldOut(saga));
            }
            if !self.scope.acknowledged_apart {
                actions.push(Action::Finish(saga, entry));
            }
            if stored.entries.is_handled(entry) || !self.rules.acknowledges_after_effect() {
                actions.push(Action::Acknowledge(saga, entry));
            }
        }
        let facts = self.table.facts(order);
        if facts.has_due_time && self.scope.something_is_due {
            actions.push(Action::Happen(saga, Cause::Due));
            actions.push(Action::Happen(saga, Cause::DueAfterDeadline));
        }
        if self.scope.shoppers_cancel {
            actions.push(Action::Happen(saga, Cause::Cancel));
        }
        if self.scope.staff_refund && facts.is_paid_for() {
            for (slot, cause) in [(Slot::Part, Cause::RefundOfPart), (Slot::Rest, Cause::RefundOfRest)] {
                // Where a wish was lost, a repeated one has another id than the provider has been asked about.
                if !world.came_back() || world.sagas[saga].hands.may_refund[slot as usize] == 0 {
                    actions.push(Action::Happen(saga, cause));
                }
            }
        }
        self.calls(world, saga, actions);
    }

    /// What is done by those who hold a permission or an answer.
    fn calls(&self, world: &World, saga: usize, actions: &mut Vec<Action>) {
        let Saga { hands, book, .. } = &world.sagas[saga];
        let answers: &[Answered] = if self.scope.provider_fails {
            &[Answered::Yes, Answered::No]
        } else {
            &[Answered::Yes]
        };
        for &answered in answers {
            if hands.may_charge {
                // Only the first call has a choice.
                let first = book.charge == Charge::Nothing;
                let choices = if first {
                    self.scope.charges()
                } else {
                    &[Charge::Charged]
                };
                actions.extend(choices.iter().map(|&charge| Action::CallCharge(saga, charge, answered)));
            }
            if hands.may_stop {
                actions.push(Action::CallStop(saga, answered));
            }
            for slot in Slot::ALL {
                if hands.may_refund[slot as usize] > 0 {
                    actions.push(Action::CallRefund(saga, slot, Granted::Yes, answered));
                }
            }
        }
        if self.scope.provider_fails {
            if hands.may_charge {
                actions.push(Action::LookUp(saga));
            }
            for slot in Slot::ALL {
                if hands.may_refund[slot as usize] > 0 {
                    actions.push(Action::CallRefund(saga, slot, Granted::No, Answered::Yes));
                }
            }
        }
        let lost = Entry::ALL
            .into_iter()
            .filter(|entry| !entry.is_job() && hands.lost & entry.bit() != 0);
        actions.extend(lost.map(|entry| Action::DeliverLost(saga, entry)));
        let held = Reply::ALL.into_iter().filter(|reply| hands.replies & reply.bit() != 0);
        actions.extend(held.map(|reply| Action::Receive(saga, reply)));
    }

    /// Whatever could be decided about an order now can be decided now and stored later.
    fn reads(&self, world: &World, saga: usize, actions: &mut Vec<Action>) {
        let Saga { stored, hands, .. } = &world.sagas[saga];
        let Some(order) = stored.order else { return };
        // Whoever decides that nothing is to be stored has done so at the time of reading.
        let mut read = |cause, entry| {
            if let Verdict::Advance(_) = self.table.verdict(order, cause) {
                actions.push(Action::Read(saga, cause, entry));
            }
        };
        for entry in Entry::ALL.into_iter().filter(|entry| stored.entries.has(*entry)) {
            if let Some(cause) = Cause::of_stock(entry) {
                read(cause, Some(entry));
            } else if entry == Entry::Charge {
                read(Cause::ChargeStarting, Some(entry));
            }
        }
        for reply in Reply::ALL.into_iter().filter(|reply| hands.replies & reply.bit() != 0) {
            if let Some(cause) = step::cause_of(stored, reply) {
                read(cause, None);
            }
        }
        let facts = self.table.facts(order);
        if facts.has_due_time && self.scope.something_is_due {
            read(Cause::Due, None);
            read(Cause::DueAfterDeadline, None);
        }
        if self.scope.shoppers_cancel {
            read(Cause::Cancel, None);
        }
        if self.scope.staff_refund && facts.is_paid_for() {
            read(Cause::RefundOfPart, None);
            read(Cause::RefundOfRest, None);
        }
    }
}

impl Model for ShopModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            sagas: [Saga::EMPTY; 2],
            stock: Stock {
                on_hand: 1,
                reserved: 0,
            },
            pause: None,
            disk: Disk::Current,
            breach: None,
        };
        if self.scope.placed_at_once {
            for saga in 0..self.scope.orders {
                world = step::place(self, world, saga);
            }
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.breach.is_some() {
            return;
        }
        for saga in 0..self.scope.orders {
            self.actions_about(world, saga, actions);
            if self.scope.somebody_is_slow && world.pause.is_none() {
                self.reads(world, saga, actions);
            }
        }
        if world.pause.is_some() {
            actions.push(Action::StoreLate);
        }
        if self.scope.disk_lags {
            match world.disk {
                Disk::Current => actions.push(Action::LastWrite),
                Disk::Earlier(..) => actions.push(Action::ComeBack),
                Disk::ComesBack | Disk::CameBack => {}
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let next = step::take(self, *world, action);
        (next != *world).then(|| step::in_rank_order(next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = invariants::always();
        properties.extend(self.scope.sights.iter().map(|sight| sight.property()));
        properties
    }
}
