//! Every decision that can be made about any order, made once and looked up from then on. Sound because deciding is pure;
//! needed because a decision writes JSON, and the check makes some hundred million of them.

use shopwright_domain::events::RejectionReason;
use shopwright_domain::order::{ChargeAnswer, Input, Order, Outcome, Refund, RefundAnswer, RefundState, Stay};

use crate::entry::Entry;
use crate::facts::{OrderFacts, RefundFacts};
use crate::rules::Rules;
use crate::sample::{NOW, Sample, Slot, at_time, normal, normal_refund};

/// More distinct orders than this, and something counts.
const MOST_ORDERS: usize = 5_000;

/// Why there is no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// An amount, a currency or a line of the sample is none.
    #[error("the sample order is none")]
    Sample,
    /// The rules reach ever new orders.
    #[error("there are more than {MOST_ORDERS} distinct orders: something in them counts")]
    Unbounded,
}

/// A normal order, by its place in the table.
pub type OrderNumber = u16;
/// A normal refund document, by its place in the table, from 1; 0 is none.
pub type RefundNumber = u8;

/// What happens to an order: an input, with all that it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
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
    /// The provider is about to be asked for the charge.
    ChargeStarting,
    /// The provider: charged.
    Charged,
    /// The provider: declined.
    Declined,
    /// The provider: stopped.
    Stopped,
    /// The shopper calls it off.
    Cancel,
    /// Due, before the deadline.
    Due,
    /// Due, with the deadline passed.
    DueAfterDeadline,
    /// Staff ask for a part of the money to go back.
    RefundOfPart,
    /// Staff ask for the rest of the money to go back.
    RefundOfRest,
    /// The provider: this refund's money is back.
    RefundSucceeded(RefundNumber),
    /// The provider: this refund is refused.
    RefundFailed(RefundNumber),
}

const PLAIN: [Cause; 14] = [
    Cause::StockReserved,
    Cause::StockRejected,
    Cause::StockCommitted,
    Cause::StockCommitRefused,
    Cause::StockReleased,
    Cause::ChargeStarting,
    Cause::Charged,
    Cause::Declined,
    Cause::Stopped,
    Cause::Cancel,
    Cause::Due,
    Cause::DueAfterDeadline,
    Cause::RefundOfPart,
    Cause::RefundOfRest,
];

impl Cause {
    /// What an entry of inventory's stream is to an order.
    pub const fn of_stock(entry: Entry) -> Option<Self> {
        match entry {
            Entry::StockReserved => Some(Self::StockReserved),
            Entry::StockRejected => Some(Self::StockRejected),
            Entry::StockCommitted => Some(Self::StockCommitted),
            Entry::StockCommitRefused => Some(Self::StockCommitRefused),
            Entry::StockReleased => Some(Self::StockReleased),
            _ => None,
        }
    }

    /// Its column.
    fn index(self) -> usize {
        let refund = |number: RefundNumber| PLAIN.len() + 2 * usize::from(number).saturating_sub(1);
        match self {
            Self::StockReserved => 0,
            Self::StockRejected => 1,
            Self::StockCommitted => 2,
            Self::StockCommitRefused => 3,
            Self::StockReleased => 4,
            Self::ChargeStarting => 5,
            Self::Charged => 6,
            Self::Declined => 7,
            Self::Stopped => 8,
            Self::Cancel => 9,
            Self::Due => 10,
            Self::DueAfterDeadline => 11,
            Self::RefundOfPart => 12,
            Self::RefundOfRest => 13,
            Self::RefundSucceeded(number) => refund(number),
            Self::RefundFailed(number) => refund(number) + 1,
        }
    }
}

/// What becomes of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, or the one who asked is told no.
    Stay,
    /// Nothing, and it cannot have happened.
    Contradiction,
    /// This is stored.
    Advance(Advance),
}

/// A change, to be stored as a whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// The order afterwards.
    pub order: OrderNumber,
    /// Events and jobs to be added, by their bits.
    pub entries: u16,
    /// The refund's document afterwards, where it changes.
    pub refund: RefundNumber,
}

/// Every order and every refund that rules can reach, and every decision about them.
#[derive(Debug)]
pub struct Table {
    orders: Vec<Order>,
    facts: Vec<OrderFacts>,
    refunds: Vec<Refund>,
    refund_facts: Vec<RefundFacts>,
    verdicts: Vec<Vec<Verdict>>,
    placed: OrderNumber,
}

impl Table {
    /// Starts with a placed order, and makes every decision about every order, until no new one comes up.
    pub fn build(rules: &dyn Rules, sample: &Sample) -> Result<Self, TableError> {
        let mut table = Self {
            orders: Vec::new(),
            facts: Vec::new(),
            refunds: Vec::new(),
            refund_facts: Vec::new(),
            verdicts: Vec::new(),
            placed: 0,
        };
        table.placed = table.number_of(rules, sample.place().order)?;
        loop {
            let before = (table.orders.len(), table.refunds.len());
            for row in 0..table.orders.len() {
                table.fill(rules, sample, row)?;
            }
            if before == (table.orders.len(), table.refunds.len()) {
                return Ok(table);
            }
        }
    }

    /// The placed order.
    pub const fn placed(&self) -> OrderNumber {
        self.placed
    }

    /// How many distinct orders there are.
    pub const fn size(&self) -> usize {
        self.orders.len()
    }

    /// What is known of an order.
    pub fn facts(&self, order: OrderNumber) -> &OrderFacts {
        &self.facts[usize::from(order)]
    }

    /// The order itself.
    pub fn order(&self, order: OrderNumber) -> &Order {
        &self.orders[usize::from(order)]
    }

    /// What is known of a refund document, if it is one.
    pub fn refund(&self, refund: RefundNumber) -> Option<&RefundFacts> {
        self.refund_facts.get(usize::from(refund).checked_sub(1)?)
    }

    /// The decision.
    pub fn verdict(&self, order: OrderNumber, cause: Cause) -> Verdict {
        self.verdicts[usize::from(order)][cause.index()]
    }

    /// The decisions about one order that are not made yet: all, or those about refunds that came up since.
    fn fill(&mut self, rules: &dyn Rules, sample: &Sample, row: usize) -> Result<(), TableError> {
        let known = self.verdicts[row].len();
        let about_refunds = (1..=self.refunds.len()).filter_map(|number| RefundNumber::try_from(number).ok());
        let causes: Vec<Cause> = PLAIN
            .into_iter()
            .chain(about_refunds.flat_map(|number| [Cause::RefundSucceeded(number), Cause::RefundFailed(number)]))
            .skip(known)
            .collect();
        for cause in causes {
            let order = at_time(&self.orders[row], cause == Cause::DueAfterDeadline);
            let input = self.input(sample, cause);
            let verdict = match rules.decide(&order, &input, NOW, &sample.policy) {
                Ok(Outcome::Stay(Stay::Contradiction)) => Verdict::Contradiction,
                Ok(Outcome::Stay(_)) | Err(_) => Verdict::Stay,
                Ok(Outcome::Advance(decision)) => {
                    let events = decision.events.iter().filter_map(Entry::of_event);
                    let jobs = decision.jobs.iter().filter_map(Entry::of_job);
                    Verdict::Advance(Advance {
                        entries: events.chain(jobs).fold(0, |bits, entry| bits | entry.bit()),
                        refund: decision.refund.map_or(Ok(0), |refund| self.number_of_refund(refund))?,
                        order: self.number_of(rules, decision.order)?,
                    })
                }
            };
            self.verdicts[row].push(verdict);
        }
        Ok(())
    }

    /// The input that a cause stands for.
    pub fn input(&self, sample: &Sample, cause: Cause) -> Input {
        let refund = |number: RefundNumber| self.refunds[usize::from(number).saturating_sub(1)].clone();
        match cause {
            Cause::StockReserved => Input::StockReserved(sample.priced()),
            Cause::StockRejected => Input::StockRejected(RejectionReason::InsufficientStock),
            Cause::StockCommitted => Input::StockCommitted,
            Cause::StockCommitRefused => Input::StockCommitRefused,
            Cause::StockReleased => Input::StockReleased,
            Cause::ChargeStarting => Input::ChargeStarting,
            Cause::Charged => Input::Charge(ChargeAnswer::Charged),
            Cause::Declined => Input::Charge(ChargeAnswer::Declined),
            Cause::Stopped => Input::Charge(ChargeAnswer::Stopped),
            Cause::Cancel => Input::Cancel,
            Cause::Due | Cause::DueAfterDeadline => Input::Due,
            Cause::RefundOfPart => Input::RefundRequested(sample.refund_of_part()),
            Cause::RefundOfRest => Input::RefundRequested(sample.refund_of_rest()),
            Cause::RefundSucceeded(number) => Input::Refund(refund(number), RefundAnswer::Succeeded),
            Cause::RefundFailed(number) => Input::Refund(refund(number), RefundAnswer::Failed),
        }
    }

    /// The place of an order, which it gets when it is new.
    fn number_of(&mut self, rules: &dyn Rules, order: Order) -> Result<OrderNumber, TableError> {
        let order = normal(order);
        if let Some(known) = self.orders.iter().position(|other| *other == order) {
            return OrderNumber::try_from(known).map_err(|_| TableError::Unbounded);
        }
        if self.orders.len() == MOST_ORDERS {
            return Err(TableError::Unbounded);
        }
        self.facts.push(OrderFacts::of(rules, &order));
        self.orders.push(order);
        self.verdicts.push(Vec::new());
        OrderNumber::try_from(self.orders.len() - 1).map_err(|_| TableError::Unbounded)
    }

    fn number_of_refund(&mut self, refund: Refund) -> Result<RefundNumber, TableError> {
        let refund = normal_refund(refund);
        let known = self.refunds.iter().position(|other| *other == refund);
        let place = known.unwrap_or(self.refunds.len());
        if known.is_none() {
            self.refund_facts.push(RefundFacts {
                slot: Slot::of(refund.id),
                amount: crate::facts::minor_units(refund.amount),
                is_open: refund.state == RefundState::Requested,
                is_booked: refund.state == RefundState::Succeeded,
            });
            self.refunds.push(refund);
        }
        RefundNumber::try_from(place + 1).map_err(|_| TableError::Unbounded)
    }
}
