//! The rules of orders, as data: what each situation does at each trigger. [`decide`](super::decide) looks here and
//! nowhere else, and the documentation is rendered from here.

use super::situation::{Situation as S, Trigger as T};

/// What a rule does. How is said once, in [`decide`](super::decide).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    /// Nothing: known already, or no longer of interest.
    Repeated,
    /// Nothing, and an alarm: it cannot have happened by the rules of all three parties.
    Contradiction,
    /// The one who asks is told no.
    Refuse,
    /// Take the prices, ask for the charge.
    Reserve,
    /// End: inventory could not reserve.
    Reject,
    /// Put on record that the provider may be asked from now on.
    StartCharging,
    /// The money is there: ask inventory to commit.
    Pay,
    /// The money is there, but the order was called off: stock and money go back.
    PayTooLate,
    /// End: the provider said no; the stock goes back.
    Decline,
    /// End: paid and committed.
    Complete,
    /// The stock is gone: the money goes back.
    ReturnMoney,
    /// End, by the shopper; the stock goes back.
    CallOffByShopper,
    /// End, by the clock; the stock goes back.
    CallOffByDeadline,
    /// End, because the total is no amount; the stock goes back.
    CallOffOutOfRange,
    /// End, as the provider will never charge; the stock goes back.
    CallOffStopped,
    /// By the shopper: no further charge, and the provider shall refuse this one.
    StopByShopper,
    /// By the clock: no further charge, and the provider shall refuse this one.
    StopByDeadline,
    /// Ask for the charge again, under the same key.
    ChargeAgain,
    /// Ask the provider again to refuse the charge.
    StopAgain,
    /// Ask inventory again to commit.
    CommitAgain,
    /// Ask inventory again to release, after a decline.
    ReleaseDeclinedAgain,
    /// Ask inventory again to release.
    ReleaseAgain,
    /// Inventory holds nothing: that question is closed.
    NoteReleased,
    /// Inventory holds nothing: nothing is open any more.
    Settle,
    /// Ask for the whole refund again, and for the release where that is open.
    ReturnMoneyAgain,
    /// Open a refund of what was asked for, if that much is left.
    OpenRefund,
    /// Ask for every open refund again, under the same keys.
    RefundAgain,
    /// Book the refund; the order is refunded when nothing of the captured money is left.
    BookRefund,
    /// Close the refund: the money stays.
    CloseRefund,
    /// Nothing is ever due here; should a document say so, lay it to rest.
    Rest,
}

/// What happens where something does.
pub const MOVES: &[(S, &[(T, Move)])] = &[
    (
        S::Pending,
        &[
            (T::StockReserved, Move::Reserve),
            (T::StockReservedOutOfRange, Move::CallOffOutOfRange),
            (T::StockRejected, Move::Reject),
            (T::Cancel, Move::CallOffByShopper),
            (T::Due, Move::CallOffByDeadline),
        ],
    ),
    (
        S::Reserved,
        &[
            (T::ChargeStarting, Move::StartCharging),
            (T::Cancel, Move::CallOffByShopper),
            (T::Due, Move::CallOffByDeadline),
        ],
    ),
    (
        S::Charging,
        &[
            (T::Charged, Move::Pay),
            (T::ChargeDeclined, Move::Decline),
            (T::ChargeStopped, Move::CallOffStopped),
            (T::Cancel, Move::StopByShopper),
            (T::Due, Move::ChargeAgain),
            (T::DueAfterDeadline, Move::StopByDeadline),
        ],
    ),
    (
        S::Stopping,
        &[
            (T::Charged, Move::PayTooLate),
            (T::ChargeDeclined, Move::Decline),
            (T::ChargeStopped, Move::CallOffStopped),
            (T::Due, Move::StopAgain),
        ],
    ),
    (
        S::Paid,
        &[
            (T::StockCommitted, Move::Complete),
            (T::StockCommitRefused, Move::ReturnMoney),
            (T::Due, Move::CommitAgain),
        ],
    ),
    (
        S::PaidTooLate,
        &[
            (T::StockCommitRefused, Move::ReturnMoney),
            (T::StockReleased, Move::NoteReleased),
            (T::Due, Move::ReturnMoneyAgain),
            (T::RefundSucceeded, Move::BookRefund),
            (T::RefundFailed, Move::CloseRefund),
        ],
    ),
    (
        S::PaidForNothing,
        &[
            (T::Due, Move::ReturnMoneyAgain),
            (T::RefundSucceeded, Move::BookRefund),
            (T::RefundFailed, Move::CloseRefund),
        ],
    ),
    (
        S::Completed,
        &[(T::RefundRequested, Move::OpenRefund), (T::Due, Move::Rest)],
    ),
    (
        S::Refunding,
        &[
            (T::RefundRequested, Move::OpenRefund),
            (T::Due, Move::RefundAgain),
            (T::RefundSucceeded, Move::BookRefund),
            (T::RefundFailed, Move::CloseRefund),
        ],
    ),
    (S::Rejected, &[(T::Due, Move::Rest)]),
    (
        S::DeclinedHolding,
        &[
            (T::StockRejected, Move::Settle),
            (T::StockReleased, Move::Settle),
            (T::Due, Move::ReleaseDeclinedAgain),
        ],
    ),
    (S::Declined, &[(T::Due, Move::Rest)]),
    (
        S::CancelledHolding,
        &[
            // Called off while inventory said no: nothing is held, which is all that was still to be known.
            (T::StockRejected, Move::Settle),
            (T::StockReleased, Move::Settle),
            (T::Due, Move::ReleaseAgain),
        ],
    ),
    (S::Cancelled, &[(T::Due, Move::Rest)]),
    (
        S::RefundedHolding,
        &[
            (T::StockRejected, Move::Settle),
            (T::StockReleased, Move::Settle),
            (T::Due, Move::ReleaseAgain),
        ],
    ),
    (S::Refunded, &[(T::Due, Move::Rest)]),
];

/// What is no news, because it is known, late or no longer of interest. Messages are late, early and repeated.
pub const REPEATED: &[(S, &[T])] = &[
    (S::Pending, &[T::ChargeStarting]),
    (S::Reserved, &[]),
    (S::Charging, &[T::ChargeStarting]),
    (S::Stopping, &[T::ChargeStarting, T::Cancel]),
    (S::Paid, &[T::ChargeStarting, T::Charged]),
    (S::PaidTooLate, &[T::ChargeStarting, T::Charged]),
    (
        S::PaidForNothing,
        &[T::ChargeStarting, T::Charged, T::StockCommitRefused, T::StockReleased],
    ),
    (S::Completed, &[T::ChargeStarting, T::Charged, T::StockCommitted]),
    (S::Refunding, &[T::ChargeStarting, T::Charged, T::StockCommitted]),
    (S::Rejected, &[T::ChargeStarting, T::StockRejected, T::StockReleased]),
    (S::DeclinedHolding, &[T::ChargeStarting, T::ChargeDeclined]),
    (
        S::Declined,
        &[T::ChargeStarting, T::ChargeDeclined, T::StockRejected, T::StockReleased],
    ),
    (S::CancelledHolding, &[T::ChargeStarting, T::ChargeStopped, T::Cancel]),
    (
        S::Cancelled,
        &[
            T::ChargeStarting,
            T::ChargeStopped,
            T::Cancel,
            T::StockRejected,
            T::StockReleased,
        ],
    ),
    (
        S::RefundedHolding,
        &[T::ChargeStarting, T::Charged, T::StockCommitted, T::StockCommitRefused],
    ),
    (
        S::Refunded,
        &[
            T::ChargeStarting,
            T::Charged,
            T::StockRejected,
            T::StockCommitted,
            T::StockCommitRefused,
            T::StockReleased,
        ],
    ),
];

/// The rule for one situation and one trigger.
pub fn rule(situation: S, trigger: T) -> Move {
    if let Some(found) = listed(situation, trigger) {
        return found;
    }
    let repeats = REPEATED.iter().find(|(row, _)| *row == situation);
    if repeats.is_some_and(|(_, triggers)| triggers.contains(&trigger)) {
        return Move::Repeated;
    }
    match trigger {
        // Only where it says otherwise does the deadline change what is done when due.
        T::DueAfterDeadline => rule(situation, T::Due),
        // Prices are taken once; later ones are the same ones, said again.
        T::StockReserved | T::StockReservedOutOfRange => Move::Repeated,
        T::Cancel | T::RefundRequested => Move::Refuse,
        _ => Move::Contradiction,
    }
}

fn listed(situation: S, trigger: T) -> Option<Move> {
    let (_, moves) = MOVES.iter().find(|(row, _)| *row == situation)?;
    let (_, found) = moves.iter().find(|(column, _)| *column == trigger)?;
    Some(*found)
}

impl Move {
    /// For people: what is stored with it. Times are those of [`Policy`](super::Policy).
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Repeated => "nothing (known, or late)",
            Self::Contradiction => "nothing, and an alarm",
            Self::Refuse => "refused",
            Self::Reserve => "→ `reserved` with prices and total; job `charge`; a new deadline",
            Self::Reject => "→ `rejected`; `order.rejected`; at rest",
            Self::StartCharging => "→ `charging`, before the provider is asked",
            Self::Pay => "→ `paid`; ledger: capture; `order.paid`",
            Self::PayTooLate => "→ `paid`; ledger: capture; whole refund requested, job `refund`; `order.cancelled`",
            Self::Decline => "→ `declined`; `order.declined`",
            Self::Complete => "→ `completed`; `order.completed`; at rest",
            Self::ReturnMoney => "whole refund requested, job `refund`; nothing is held",
            Self::CallOffByShopper => "→ `cancelled` (shopper); `order.cancelled`",
            Self::CallOffByDeadline => "→ `cancelled` (deadline); `order.cancelled`",
            Self::CallOffOutOfRange => "→ `cancelled` (total out of range); `order.cancelled`",
            Self::CallOffStopped => "→ `cancelled`; `order.cancelled`",
            Self::StopByShopper => "marked `stop` (shopper); job `void`",
            Self::StopByDeadline => "marked `stop` (deadline); job `void`",
            Self::ChargeAgain => "job `charge` again, same key",
            Self::StopAgain => "job `void` again",
            Self::CommitAgain => "`order.paid` again",
            Self::ReleaseDeclinedAgain => "`order.declined` again",
            Self::ReleaseAgain => "`order.cancelled` again",
            Self::NoteReleased => "nothing is held",
            Self::Settle => "nothing is held; at rest",
            Self::ReturnMoneyAgain => "job `refund` again, same key; `order.cancelled` again while stock is open",
            Self::OpenRefund => "refund requested, if that much is left; job `refund`",
            Self::RefundAgain => "job `refund` again for each open refund, same keys",
            Self::BookRefund => "refund succeeded; ledger: refund; → `refunded` once all is back, `order.refunded`",
            Self::CloseRefund => "refund failed; the money stays",
            Self::Rest => "at rest",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_situation_has_its_rows_and_nothing_is_said_twice() {
        for situation in S::ALL {
            let moves: Vec<_> = MOVES.iter().filter(|(row, _)| *row == situation).collect();
            let repeats: Vec<_> = REPEATED.iter().filter(|(row, _)| *row == situation).collect();
            assert_eq!((moves.len(), repeats.len()), (1, 1), "{situation:?}");
            for trigger in T::ALL {
                let said = moves[0].1.iter().filter(|(column, _)| *column == trigger).count()
                    + repeats[0].1.iter().filter(|column| **column == trigger).count();
                assert!(said <= 1, "{situation:?} {trigger:?}");
            }
        }
    }

    #[test]
    fn every_situation_sees_to_its_due_time() {
        for situation in S::ALL {
            assert!(listed(situation, T::Due).is_some(), "{situation:?}");
        }
    }
}
