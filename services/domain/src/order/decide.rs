//! The order's state machine: one order, one input, one time; what is to be stored. Pure. Which move follows is said by
//! [`rules`](super::rules); what a move stores is said here.

use super::rules::{Move, rule};
use super::situation::{Situation, Trigger};
use super::transition::Transition;
use super::{
    ChargeAnswer, Input, MAX_REFUNDS, Order, OrderLine, Outcome, Policy, PostingKind, Reason, Refund, RefundAnswer,
    RefundRequest, RefundState, Refusal, State, Stay,
};
use crate::UnixMilliseconds;
use crate::events::OrderEvent;
use crate::jobs::Job;
use crate::lines::{PricedLine, subtotal};
use crate::money::{Amount, MoneyError};

/// What becomes of `order` when `input` happens at `now` (milliseconds by the clock of Redis). Every input is accepted in
/// every state, in any order and any number of times.
pub fn decide(order: &Order, input: &Input, now: UnixMilliseconds, policy: &Policy) -> Result<Outcome, Refusal> {
    let case = Case { order, now, policy };
    match case.read(input)? {
        Reading::Silent(stay) => Ok(Outcome::Stay(stay)),
        Reading::Says(trigger) => case.perform(rule(Situation::of(order), trigger), input),
    }
}

/// What an input says about this order.
enum Reading {
    Silent(Stay),
    Says(Trigger),
}

struct Case<'a> {
    order: &'a Order,
    now: UnixMilliseconds,
    policy: &'a Policy,
}

impl<'a> Case<'a> {
    fn read(&self, input: &Input) -> Result<Reading, Refusal> {
        Ok(Reading::Says(match input {
            Input::StockReserved(lines) => self.read_reserved(lines)?,
            Input::StockRejected(_) => Trigger::StockRejected,
            Input::StockCommitted => Trigger::StockCommitted,
            Input::StockCommitRefused => Trigger::StockCommitRefused,
            Input::StockReleased => Trigger::StockReleased,
            Input::ChargeStarting => Trigger::ChargeStarting,
            Input::Charge(ChargeAnswer::Charged) => Trigger::Charged,
            Input::Charge(ChargeAnswer::Declined) => Trigger::ChargeDeclined,
            Input::Charge(ChargeAnswer::Stopped) => Trigger::ChargeStopped,
            Input::Charge(ChargeAnswer::Unknown) => return Ok(Reading::Silent(Stay::Inconclusive)),
            Input::Cancel => Trigger::Cancel,
            Input::Due if self.order.due_at.is_none_or(|due| due > self.now) => {
                return Ok(Reading::Silent(Stay::NotDue));
            }
            Input::Due if self.now >= self.order.deadline_at => Trigger::DueAfterDeadline,
            Input::Due => Trigger::Due,
            Input::RefundRequested(request) if self.order.refunds.contains(&request.id) => {
                return Ok(Reading::Silent(Stay::Repeated));
            }
            Input::RefundRequested(_) => Trigger::RefundRequested,
            Input::Refund(refund, answer) => return Ok(self.read_refund(refund, *answer)),
        }))
    }

    fn read_reserved(&self, lines: &[PricedLine]) -> Result<Trigger, Refusal> {
        if self.order.state != State::Pending {
            return Ok(Trigger::StockReserved);
        }
        self.priced(lines).ok_or(Refusal::LinesDiffer)?;
        Ok(match self.sums(lines) {
            Ok(_) => Trigger::StockReserved,
            Err(_) => Trigger::StockReservedOutOfRange,
        })
    }

    fn read_refund(&self, refund: &Refund, answer: RefundAnswer) -> Reading {
        if refund.state != RefundState::Requested {
            return Reading::Silent(Stay::Repeated);
        }
        let is_ours = refund.order_id == self.order.id
            && self.order.open_refunds.contains(&refund.id)
            && refund.amount <= self.order.refund_open;
        match answer {
            RefundAnswer::Unknown => Reading::Silent(Stay::Inconclusive),
            _ if !is_ours => Reading::Silent(Stay::Contradiction),
            RefundAnswer::Succeeded => Reading::Says(Trigger::RefundSucceeded),
            RefundAnswer::Failed => Reading::Says(Trigger::RefundFailed),
        }
    }

    fn perform(&self, what: Move, input: &Input) -> Result<Outcome, Refusal> {
        match (what, input) {
            (Move::Repeated, _) => Ok(Outcome::Stay(Stay::Repeated)),
            (Move::Refuse, Input::RefundRequested(_)) => Err(Refusal::NotRefundable(self.order.state)),
            (Move::Refuse, _) => Err(Refusal::Conflict(self.order.state)),
            (Move::Reserve, Input::StockReserved(lines)) => self.reserve(lines),
            (Move::Reject, Input::StockRejected(reason)) => Ok(self.reject((*reason).into())),
            (Move::OpenRefund, Input::RefundRequested(request)) => self.open_refund(request),
            (Move::BookRefund, Input::Refund(refund, _)) => Ok(self.book_refund(refund)),
            (Move::CloseRefund, Input::Refund(refund, _)) => {
                // An unfinished order keeps its due time, and with it asks again.
                Ok(self.change().close_refund(refund, RefundState::Failed).done())
            }
            (what, _) => Ok(self.perform_plain(what)),
        }
    }

    /// The moves that need nothing of their input.
    fn perform_plain(&self, what: Move) -> Outcome {
        let (id, change) = (self.order.id, self.change());
        match what {
            Move::StartCharging => change.to(State::Charging).await_provider().done(),
            Move::Pay => self.capture().emit(OrderEvent::Paid(id)).await_settlement().done(),
            // Too late to stop: the stock goes back at once and the money follows.
            Move::PayTooLate => {
                let change = self.capture().refund_whole().emit(OrderEvent::Cancelled(id));
                change.await_settlement().done()
            }
            Move::Decline => {
                let change = change.to(State::Declined).because(Reason::Declined);
                change.emit(OrderEvent::Declined(id)).await_settlement().done()
            }
            Move::Complete => change.to(State::Completed).emit(OrderEvent::Completed(id)).done(),
            Move::ReturnMoney => {
                let change = change.because(Reason::CommitRefused).settled().anew();
                change.refund_whole().await_settlement().done()
            }
            Move::CallOffByShopper => self.call_off(Reason::Shopper),
            Move::CallOffByDeadline => self.call_off(Reason::Deadline),
            Move::CallOffOutOfRange => self.call_off(Reason::TotalOutOfRange),
            Move::CallOffStopped => self.call_off(self.order.reason.unwrap_or(Reason::Deadline)),
            Move::StopByShopper => self.stop(Reason::Shopper),
            Move::StopByDeadline => self.stop(Reason::Deadline),
            Move::ChargeAgain => change.ask(Job::Charge(id)).await_provider().done(),
            Move::StopAgain => change.ask(Job::Void(id)).await_provider().done(),
            Move::CommitAgain => change.emit(OrderEvent::Paid(id)).await_settlement().done(),
            Move::ReleaseDeclinedAgain => change.emit(OrderEvent::Declined(id)).await_settlement().done(),
            Move::ReleaseAgain => change.emit(OrderEvent::Cancelled(id)).await_settlement().done(),
            Move::NoteReleased => change.settled().done(),
            Move::Settle => change.settled().at_rest().done(),
            Move::ReturnMoneyAgain if self.order.stock_settled => change.refund_whole().await_settlement().done(),
            Move::ReturnMoneyAgain => {
                let change = change.refund_whole().emit(OrderEvent::Cancelled(id));
                change.await_settlement().done()
            }
            Move::RefundAgain => change.ask_open_refunds().await_settlement().done(),
            Move::Rest => change.at_rest().done(),
            // After the first, all those that `perform` does itself: the table has them where their input is, and a test sees
            // to it. Listed, so that a new move does not compile before something is done about it.
            Move::Contradiction
            | Move::Repeated
            | Move::Refuse
            | Move::Reserve
            | Move::Reject
            | Move::OpenRefund
            | Move::BookRefund
            | Move::CloseRefund => Outcome::Stay(Stay::Contradiction),
        }
    }

    fn change(&self) -> Transition<'a> {
        Transition::of(self.order, self.now, self.policy)
    }

    fn reserve(&self, lines: &[PricedLine]) -> Result<Outcome, Refusal> {
        let priced_lines = self.priced(lines).ok_or(Refusal::LinesDiffer)?;
        let Ok((subtotal, fee, total)) = self.sums(lines) else {
            return Ok(self.call_off(Reason::TotalOutOfRange));
        };
        let mut change = self
            .change()
            .to(State::Reserved)
            .with_deadline()
            .ask(Job::Charge(self.order.id));
        change.order.lines = priced_lines;
        change.order.subtotal = Some(subtotal);
        change.order.fee = Some(fee);
        change.order.total = Some(total);
        Ok(change.done())
    }

    /// The order's lines with their prices; none unless the reserved lines are the same products in the same quantities.
    fn priced(&self, lines: &[PricedLine]) -> Option<Vec<OrderLine>> {
        let price = |line: &OrderLine| {
            let same = |priced: &&PricedLine| (priced.product_id, priced.quantity) == (line.product_id, line.quantity);
            let unit_price = Some(lines.iter().find(same)?.unit_price);
            Some(OrderLine { unit_price, ..*line })
        };
        // A product occurs once in an order, so equal numbers of lines and a partner for each are the same lines.
        if lines.len() == self.order.lines.len() {
            self.order.lines.iter().map(price).collect()
        } else {
            None
        }
    }

    fn sums(&self, lines: &[PricedLine]) -> Result<(Amount, Amount, Amount), MoneyError> {
        let subtotal = subtotal(lines)?;
        let fee = subtotal.fee(self.policy.fee);
        Ok((subtotal, fee, subtotal.plus(fee)?))
    }

    fn reject(&self, reason: Reason) -> Outcome {
        let change = self.change().to(State::Rejected).because(reason).settled();
        change.emit(OrderEvent::Rejected(self.order.id)).done()
    }

    fn capture(&self) -> Transition<'a> {
        let total = self.order.total.unwrap_or(Amount::ZERO);
        let mut change = self.change().to(State::Paid).post(PostingKind::Capture, total, None);
        change.order.captured = total;
        change
    }

    fn call_off(&self, reason: Reason) -> Outcome {
        self.change()
            .to(State::Cancelled)
            .because(reason)
            .emit(OrderEvent::Cancelled(self.order.id))
            .await_settlement()
            .done()
    }

    /// The provider may have been asked: no more charging, and the provider shall refuse the key.
    fn stop(&self, reason: Reason) -> Outcome {
        let mut change = self.change().because(reason).anew();
        change.order.stop = true;
        change.ask(Job::Void(self.order.id)).await_provider().done()
    }

    fn open_refund(&self, request: &RefundRequest) -> Result<Outcome, Refusal> {
        let refundable = self.order.refundable();
        let amount = request.amount.unwrap_or(refundable);
        if amount.is_zero() || amount > refundable {
            return Err(Refusal::RefundExceeds(refundable));
        }
        if self.order.refunds.len() >= MAX_REFUNDS {
            return Err(Refusal::TooManyRefunds);
        }
        let change = self
            .change()
            .anew()
            .open_refund(request.id, amount, request.reason.clone());
        Ok(change.await_settlement().done())
    }

    fn book_refund(&self, refund: &Refund) -> Outcome {
        let Ok(refunded) = self.order.refunded.plus(refund.amount) else {
            return Outcome::Stay(Stay::Contradiction);
        };
        let change = self.change().close_refund(refund, RefundState::Succeeded);
        let mut change = change.post(PostingKind::Refund, refund.amount, Some(refund.id));
        change.order.refunded = refunded;
        if refunded < self.order.captured {
            return change.done();
        }
        let change = change.to(State::Refunded).emit(OrderEvent::Refunded(self.order.id));
        // Called off while being charged, and inventory has not yet said that it holds nothing.
        let stock_is_open = self.order.stop && !self.order.stock_settled;
        if stock_is_open {
            change.await_settlement().done()
        } else {
            change.done()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::MOVES;
    use super::*;

    /// A move that takes something from its input stands only where that input is.
    #[test]
    fn a_move_finds_its_input() {
        for (situation, moves) in MOVES {
            for (trigger, what) in *moves {
                let needed: &[Trigger] = match what {
                    Move::Reserve => &[Trigger::StockReserved],
                    Move::Reject => &[Trigger::StockRejected],
                    Move::OpenRefund => &[Trigger::RefundRequested],
                    Move::BookRefund | Move::CloseRefund => &[Trigger::RefundSucceeded, Trigger::RefundFailed],
                    _ => continue,
                };
                assert!(needed.contains(trigger), "{situation:?} {trigger:?} {what:?}");
            }
        }
    }
}
