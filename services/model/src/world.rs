//! A state of the whole: two orders, one piece of stock, three streams, the provider's book, and whatever processes that
//! may be dead, paused or repeated still hold in their hands. No counters: every member is bounded.

use shopwright_domain::reservation::Reservation;

use crate::entry::{Entries, Entry};
use crate::sample::Slot;
use crate::table::{Cause, OrderNumber, RefundNumber};

/// What Redis holds about one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stored {
    /// The order's document; none before it is placed.
    pub order: Option<OrderNumber>,
    /// The documents of its refunds, by slot; 0 for none.
    pub refunds: [RefundNumber; 3],
    /// Inventory's document.
    pub reservation: Reservation,
    /// What is not acknowledged.
    pub entries: Entries,
}

/// What the provider's book says about a charge. As in the simulated provider, the first call decides for ever, but for
/// a stored error, which can still be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Charge {
    /// Nothing.
    #[default]
    Nothing,
    /// The failure of the first call is repeated for ever.
    Error,
    /// The money moved.
    Charged,
    /// It said no.
    Declined,
    /// It refuses the key.
    Stopped,
}

/// The provider's book about one order. It outlives everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Book {
    /// Of the charge.
    pub charge: Charge,
    /// What was taken.
    pub captured: u8,
    /// What went back.
    pub refunded: u8,
    /// Refunds that were granted, for ever.
    pub granted: u8,
    /// Refunds that were refused: for ever, too.
    pub refused: u8,
}

/// The provider's answer, on its way to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Charged.
    Charged,
    /// Declined.
    Declined,
    /// Stopped.
    Stopped,
    /// This refund's money is back.
    Succeeded(Slot),
    /// This refund is refused.
    Failed(Slot),
}

impl Reply {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Charged,
        Self::Declined,
        Self::Stopped,
        Self::Succeeded(Slot::Whole),
        Self::Succeeded(Slot::Part),
        Self::Succeeded(Slot::Rest),
        Self::Failed(Slot::Whole),
        Self::Failed(Slot::Part),
        Self::Failed(Slot::Rest),
    ];

    /// Its bit in a set.
    pub const fn bit(self) -> u16 {
        1 << match self {
            Self::Charged => 0,
            Self::Declined => 1,
            Self::Stopped => 2,
            Self::Succeeded(slot) => 3 + slot as u16,
            Self::Failed(slot) => 6 + slot as u16,
        }
    }
}

/// What processes hold in their hands about one order. It is never taken away: a worker that has been given a permission,
/// or an answer, may act upon it at any later time, again, or never. So a crash at any step is a state of this model too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Hands {
    /// Somebody may call the provider for the charge.
    pub may_charge: bool,
    /// Somebody may call the provider to stop it.
    pub may_stop: bool,
    /// Somebody may call the provider for this refund: of so much, by slot.
    pub may_refund: [u8; 3],
    /// Answers, by their bits.
    pub replies: u16,
    /// Events that Redis has lost after they were read, by their bits. Empty under the rules that run: nothing follows from
    /// them.
    pub lost: u16,
    /// An entry was acknowledged whose effect Redis had lost.
    pub acknowledged_for_nothing: bool,
}

/// All about one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Saga {
    /// In Redis.
    pub stored: Stored,
    /// With the provider.
    pub book: Book,
    /// In processes.
    pub hands: Hands,
}

impl Saga {
    /// Before anything.
    pub const EMPTY: Self = Self {
        stored: Stored {
            order: None,
            refunds: [0; 3],
            reservation: Reservation::None,
            entries: Entries::NONE,
        },
        book: Book {
            charge: Charge::Nothing,
            captured: 0,
            refunded: 0,
            granted: 0,
            refused: 0,
        },
        hands: Hands {
            may_charge: false,
            may_stop: false,
            may_refund: [0; 3],
            replies: 0,
            lost: 0,
            acknowledged_for_nothing: false,
        },
    };

    /// By which two orders are put into an order of their own: which of them is called the first makes no difference.
    pub fn rank(&self) -> impl Ord + use<> {
        let stored = &self.stored;
        let reservation = stored.reservation as u8;
        (
            stored.order,
            stored.refunds,
            reservation,
            stored.entries,
            self.book,
            self.hands,
        )
    }
}

/// The counters of the one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stock {
    /// Not sold.
    pub on_hand: i8,
    /// Of these, held.
    pub reserved: i8,
}

/// A process that has read an order and not yet stored what it decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pause {
    /// Which order.
    pub saga: u8,
    /// As it was read.
    pub read: OrderNumber,
    /// What happened to it.
    pub cause: Cause,
    /// Is the order still the one that was read?
    pub standing: Standing,
    /// The entry in hand, which counts as handled once that is stored.
    pub entry: Option<Entry>,
}

/// Whether a decision still fits the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The order is as it was read.
    Fits,
    /// Somebody else has stored since, or Redis has lost the order as it was read: it has another version or another time.
    Outdated,
    /// Redis has lost the order as it was read, and nobody compares times: it may come to the same version again.
    MayFitAgain,
}

/// Where Redis would come back to after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disk {
    /// To where it was: every write is on disk before it is answered, or no crash is looked at.
    Current,
    /// To this earlier state.
    Earlier([Stored; 2], Stock),
    /// It has just come back to an earlier state, and hears what was on its way to it.
    ComesBack,
    /// It came back to an earlier state.
    CameBack,
}

/// What must never happen in a step, whatever the states before and after look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breach {
    /// Something happened to an order that cannot have happened.
    Contradiction,
    /// Inventory was asked to release what is sold.
    Alarm,
    /// An ended order became another one.
    EndedOrderWentOn,
    /// Money was taken twice, or what was booked was taken back.
    Rebooked,
}

/// A state of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    /// The orders.
    pub sagas: [Saga; 2],
    /// The piece.
    pub stock: Stock,
    /// Somebody who is slow.
    pub pause: Option<Pause>,
    /// What a crash of Redis leaves.
    pub disk: Disk,
    /// What went wrong on the way here.
    pub breach: Option<Breach>,
}

impl World {
    /// Has Redis come back to an earlier state?
    pub fn came_back(&self) -> bool {
        matches!(self.disk, Disk::ComesBack | Disk::CameBack)
    }
}
