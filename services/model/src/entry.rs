//! The three streams, as sets. An entry that was added twice is one member: with its handling and its acknowledgement
//! apart, "handled and not acknowledged" already stands for every further copy that is delivered again.

use shopwright_domain::events::OrderEvent;
use shopwright_domain::jobs::Job;
use shopwright_domain::reservation::Answer;

use crate::sample::Slot;

/// An entry about one order, as far as its reader does something about it. `order.rejected`, `order.completed` and
/// `order.refunded` are read by nobody but people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entry {
    /// `order.placed`
    OrderPlaced,
    /// `order.paid`
    OrderPaid,
    /// `order.declined`
    OrderDeclined,
    /// `order.cancelled`
    OrderCancelled,
    /// `stock.reserved`
    StockReserved,
    /// `stock.rejected`
    StockRejected,
    /// `stock.committed`
    StockCommitted,
    /// `stock.commit_refused`
    StockCommitRefused,
    /// `stock.released`
    StockReleased,
    /// Job: charge.
    Charge,
    /// Job: stop the charge.
    Void,
    /// Job: give money back.
    Refund(Slot),
}

impl Entry {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::OrderPlaced,
        Self::OrderPaid,
        Self::OrderDeclined,
        Self::OrderCancelled,
        Self::StockReserved,
        Self::StockRejected,
        Self::StockCommitted,
        Self::StockCommitRefused,
        Self::StockReleased,
        Self::Charge,
        Self::Void,
        Self::Refund(Slot::Whole),
        Self::Refund(Slot::Part),
        Self::Refund(Slot::Rest),
    ];

    /// Its bit in a set.
    pub const fn bit(self) -> u16 {
        1 << match self {
            Self::OrderPlaced => 0,
            Self::OrderPaid => 1,
            Self::OrderDeclined => 2,
            Self::OrderCancelled => 3,
            Self::StockReserved => 4,
            Self::StockRejected => 5,
            Self::StockCommitted => 6,
            Self::StockCommitRefused => 7,
            Self::StockReleased => 8,
            Self::Charge => 9,
            Self::Void => 10,
            Self::Refund(slot) => 11 + slot as u16,
        }
    }

    /// Does it ask the provider for something? What it asks for is looked up in the order, when it is asked for.
    pub const fn is_job(self) -> bool {
        matches!(self, Self::Charge | Self::Void | Self::Refund(_))
    }

    /// What payments tells, or nothing that anybody acts upon.
    pub fn of_event(event: &OrderEvent) -> Option<Self> {
        match event {
            OrderEvent::Placed(_) => Some(Self::OrderPlaced),
            OrderEvent::Paid(_) => Some(Self::OrderPaid),
            OrderEvent::Declined(_) => Some(Self::OrderDeclined),
            OrderEvent::Cancelled(_) => Some(Self::OrderCancelled),
            OrderEvent::Rejected(_) | OrderEvent::Completed(_) | OrderEvent::Refunded(_) => None,
        }
    }

    /// What the provider is to be asked. Look-ups are asked at any time in this model, with or without a job.
    pub fn of_job(job: &Job) -> Option<Self> {
        match job {
            Job::Charge(_) => Some(Self::Charge),
            Job::Void(_) => Some(Self::Void),
            Job::Refund(refund) => Some(Self::Refund(Slot::of(refund.refund_id))),
            Job::Lookup(_) => None,
        }
    }

    /// What inventory answers.
    pub const fn of_answer(answer: Answer) -> Self {
        match answer {
            Answer::Reserved => Self::StockReserved,
            Answer::Rejected => Self::StockRejected,
            Answer::Committed => Self::StockCommitted,
            Answer::CommitRefused => Self::StockCommitRefused,
            Answer::Released => Self::StockReleased,
        }
    }
}

/// The entries about one order that are not acknowledged. Each may be delivered at any time, in any order, any number of
/// times: a lost delivery is one that did not happen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Entries {
    /// Nobody has handled these.
    waiting: u16,
    /// These have had their effect; the acknowledgement is outstanding.
    handled: u16,
}

impl Entries {
    /// No entry.
    pub const NONE: Self = Self { waiting: 0, handled: 0 };

    /// Adds entries, by their bits. A new copy of a handled one has yet to be handled.
    pub fn add(&mut self, bits: u16) {
        self.waiting |= bits;
        self.handled &= !bits;
    }

    /// Is it there?
    pub const fn has(self, entry: Entry) -> bool {
        (self.waiting | self.handled) & entry.bit() != 0
    }

    /// Is it there, and did nobody handle it?
    pub const fn is_waiting(self, entry: Entry) -> bool {
        self.waiting & entry.bit() != 0
    }

    /// Has it been handled, so that it can be acknowledged?
    pub const fn is_handled(self, entry: Entry) -> bool {
        self.handled & entry.bit() != 0
    }

    /// Its effect is there.
    pub fn handle(&mut self, entry: Entry) {
        let bit = entry.bit() & self.waiting;
        self.waiting &= !bit;
        self.handled |= bit;
    }

    /// It is gone.
    pub fn acknowledge(&mut self, entry: Entry) {
        self.waiting &= !entry.bit();
        self.handled &= !entry.bit();
    }

    /// Those that are in here and not in `others`.
    pub const fn not_in(self, others: Self) -> u16 {
        (self.waiting | self.handled) & !(others.waiting | others.handled)
    }

    /// None at all?
    pub const fn is_empty(self) -> bool {
        self.waiting | self.handled == 0
    }

    /// The first that is there.
    pub fn first(self) -> Option<Entry> {
        Entry::ALL.into_iter().find(|entry| self.has(*entry))
    }
}
