//! The order's state machine: one order, one input, one time; what is to be stored. Pure.

use super::transition::Transition;
use super::{
    ChargeAnswer, Input, Order, OrderLine, Outcome, Policy, Reason, Refund, RefundAnswer, RefundState, Refusal, State,
    Stay,
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
    match input {
        Input::StockReserved(lines) => case.stock_reserved(lines),
        Input::StockRejected(reason) => Ok(case.stock_rejected((*reason).into())),
        Input::StockCommitted => Ok(case.stock_committed()),
        Input::StockCommitRefused => Ok(case.stock_commit_refused()),
        Input::StockReleased => Ok(case.stock_released()),
        Input::ChargeStarting => Ok(case.charge_starting()),
        Input::Charge(answer) => Ok(case.charge_answered(*answer)),
        Input::Cancel => case.cancel(),
        Input::Due => Ok(case.due()),
        Input::Refund(refund, answer) => Ok(case.refund_answered(refund, *answer)),
    }
}

struct Case<'a> {
    order: &'a Order,
    now: UnixMilliseconds,
    policy: &'a Policy,
}

const REPEATED: Outcome = Outcome::Stay(Stay::Repeated);
const CONTRADICTION: Outcome = Outcome::Stay(Stay::Contradiction);

impl<'a> Case<'a> {
    fn change(&self) -> Transition<'a> {
        Transition::of(self.order, self.now, self.policy)
    }

    fn stock_reserved(&self, lines: &[PricedLine]) -> Result<Outcome, Refusal> {
        if self.order.state != State::Pending {
            return Ok(REPEATED);
        }
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

    fn stock_rejected(&self, reason: Reason) -> Outcome {
        match self.order.state {
            State::Pending => {
                let mut change = self.change().to(State::Rejected).because(reason);
                change.order.stock_settled = true;
                change.emit(OrderEvent::Rejected(self.order.id)).done()
            }
            // Called off while inventory said no: nothing is held, which is all that was still to be known.
            State::Cancelled | State::Declined | State::Refunded if !self.order.stock_settled => self.settle(),
            State::Rejected | State::Cancelled | State::Declined | State::Refunded => REPEATED,
            State::Reserved | State::Charging | State::Paid | State::Completed => CONTRADICTION,
        }
    }

    fn stock_committed(&self) -> Outcome {
        match self.order.state {
            State::Paid if !self.order.stop && !self.order.stock_settled => self
                .change()
                .to(State::Completed)
                .emit(OrderEvent::Completed(self.order.id))
                .done(),
            State::Completed | State::Refunded => REPEATED,
            _ => CONTRADICTION,
        }
    }

    fn stock_commit_refused(&self) -> Outcome {
        match self.order.state {
            State::Paid if self.order.stock_settled => REPEATED,
            State::Paid => {
                let mut change = self.change().because(Reason::CommitRefused);
                change.order.stock_settled = true;
                change.order.attempts = 0;
                change.refund_whole().await_settlement().done()
            }
            State::Refunded => REPEATED,
            _ => CONTRADICTION,
        }
    }

    fn stock_released(&self) -> Outcome {
        match self.order.state {
            _ if self.order.stock_settled => REPEATED,
            State::Paid if self.order.stop => {
                let mut change = self.change();
                change.order.stock_settled = true;
                change.done()
            }
            State::Cancelled | State::Declined | State::Refunded => self.settle(),
            _ => CONTRADICTION,
        }
    }

    /// Inventory holds nothing: an ended order has nothing more to wait for.
    fn settle(&self) -> Outcome {
        let mut change = self.change().at_rest();
        change.order.stock_settled = true;
        change.done()
    }

    fn charge_starting(&self) -> Outcome {
        match self.order.state {
            State::Reserved => self.change().to(State::Charging).await_provider().done(),
            _ => REPEATED,
        }
    }

    fn charge_answered(&self, answer: ChargeAnswer) -> Outcome {
        match (answer, self.order.state) {
            (ChargeAnswer::Unknown, _) => Outcome::Stay(Stay::Inconclusive),
            (ChargeAnswer::Charged, State::Charging) => self.charged(),
            (ChargeAnswer::Declined, State::Charging) => self
                .change()
                .to(State::Declined)
                .because(Reason::Declined)
                .emit(OrderEvent::Declined(self.order.id))
                .await_settlement()
                .done(),
            (ChargeAnswer::Stopped, State::Charging) => self.call_off(self.order.reason.unwrap_or(Reason::Deadline)),
            (ChargeAnswer::Charged, State::Paid | State::Completed | State::Refunded)
            | (ChargeAnswer::Declined, State::Declined)
            | (ChargeAnswer::Stopped, State::Cancelled) => REPEATED,
            _ => CONTRADICTION,
        }
    }

    fn charged(&self) -> Outcome {
        let mut change = self.change().to(State::Paid);
        change.order.captured = self.order.total.unwrap_or(Amount::ZERO);
        if self.order.stop {
            // Too late to stop: the stock goes back at once and the money follows.
            change
                .refund_whole()
                .emit(OrderEvent::Cancelled(self.order.id))
                .await_settlement()
                .done()
        } else {
            change.emit(OrderEvent::Paid(self.order.id)).await_settlement().done()
        }
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
        let mut change = self.change().because(reason);
        change.order.stop = true;
        change.order.attempts = 0;
        change.ask(Job::Void(self.order.id)).await_provider().done()
    }

    fn cancel(&self) -> Result<Outcome, Refusal> {
        match self.order.state {
            State::Pending | State::Reserved => Ok(self.call_off(Reason::Shopper)),
            State::Charging if !self.order.stop => Ok(self.stop(Reason::Shopper)),
            State::Charging | State::Cancelled => Ok(REPEATED),
            state => Err(Refusal::Conflict(state)),
        }
    }

    fn due(&self) -> Outcome {
        if self.order.due_at.is_none_or(|due| due > self.now) {
            return Outcome::Stay(Stay::NotDue);
        }
        let id = self.order.id;
        match self.order.state {
            State::Pending | State::Reserved => self.call_off(Reason::Deadline),
            State::Charging if self.order.stop => self.change().ask(Job::Void(id)).await_provider().done(),
            State::Charging if self.now >= self.order.deadline_at => self.stop(Reason::Deadline),
            State::Charging => self.change().ask(Job::Charge(id)).await_provider().done(),
            State::Paid if self.order.stop || self.order.stock_settled => self.press_refund(),
            State::Paid => self.change().emit(OrderEvent::Paid(id)).await_settlement().done(),
            State::Declined => self.change().emit(OrderEvent::Declined(id)).await_settlement().done(),
            State::Cancelled | State::Refunded => {
                self.change().emit(OrderEvent::Cancelled(id)).await_settlement().done()
            }
            // Nothing is ever due here; should a document say so, lay it to rest.
            State::Completed | State::Rejected => self.change().at_rest().done(),
        }
    }

    fn press_refund(&self) -> Outcome {
        let change = self.change().refund_whole();
        let change = if self.order.stock_settled {
            change
        } else {
            change.emit(OrderEvent::Cancelled(self.order.id))
        };
        change.await_settlement().done()
    }

    fn refund_answered(&self, refund: &Refund, answer: RefundAnswer) -> Outcome {
        let open = refund.order_id == self.order.id && refund.state == RefundState::Requested;
        if !open || !matches!(self.order.state, State::Paid | State::Completed) {
            return REPEATED;
        }
        match answer {
            RefundAnswer::Unknown => Outcome::Stay(Stay::Inconclusive),
            _ if refund.amount > self.order.refund_open => CONTRADICTION,
            RefundAnswer::Failed => {
                // An unfinished order keeps its due time, and with it asks again.
                self.change().close_refund(refund, RefundState::Failed).done()
            }
            RefundAnswer::Succeeded => self.refunded(refund),
        }
    }

    fn refunded(&self, refund: &Refund) -> Outcome {
        let Ok(refunded) = self.order.refunded.plus(refund.amount) else {
            return CONTRADICTION;
        };
        let mut change = self.change().close_refund(refund, RefundState::Succeeded);
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
