//! A change of an order under construction: what every transition has in common.

use serde_json::Value;

use super::{
    Decision, MAX_REFUNDS, Order, Outcome, Passage, Policy, Posting, PostingKind, Reason, Refund, RefundState, State,
    merge_patch,
};
use crate::UnixMilliseconds;
use crate::events::OrderEvent;
use crate::ids::RefundId;
use crate::jobs::{Job, RefundJob};
use crate::money::Amount;

/// The order as JSON. Optional members are left out, so there is no null in it.
pub(super) fn document(order: &Order) -> Value {
    // A struct of text, numbers and lists: there is nothing in it that cannot be written.
    serde_json::to_value(order).unwrap_or_default()
}

pub(super) struct Transition<'a> {
    old: &'a Order,
    pub(super) order: Order,
    now: UnixMilliseconds,
    policy: &'a Policy,
    events: Vec<OrderEvent>,
    jobs: Vec<Job>,
    refund: Option<Refund>,
}

impl<'a> Transition<'a> {
    pub(super) fn of(old: &'a Order, now: UnixMilliseconds, policy: &'a Policy) -> Self {
        Self {
            old,
            order: old.clone(),
            now,
            policy,
            events: Vec::new(),
            jobs: Vec::new(),
            refund: None,
        }
    }

    /// Into a state, where counting begins anew.
    pub(super) fn to(mut self, state: State) -> Self {
        self.order.state = state;
        self.order.attempts = 0;
        self.order.due_at = None;
        self.order.timeline.push(Passage { state, at: self.now });
        self
    }

    pub(super) fn because(mut self, reason: impl Into<Option<Reason>>) -> Self {
        self.order.reason = reason.into();
        self
    }

    pub(super) fn emit(mut self, event: OrderEvent) -> Self {
        self.events.push(event);
        self
    }

    pub(super) fn ask(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// Inventory holds nothing (any more).
    pub(super) fn settled(mut self) -> Self {
        self.order.stock_settled = true;
        self
    }

    /// Something new is asked for: the first wait is the shortest again.
    pub(super) fn anew(mut self) -> Self {
        self.order.attempts = 0;
        self
    }

    /// A movement of money.
    pub(super) fn post(mut self, kind: PostingKind, amount: Amount, refund_id: Option<RefundId>) -> Self {
        self.order.ledger.push(Posting {
            kind,
            amount,
            refund_id,
            at: self.now,
        });
        self
    }

    /// Nothing has to happen any more.
    pub(super) fn at_rest(mut self) -> Self {
        self.order.due_at = None;
        self
    }

    /// A new span of patience.
    pub(super) fn with_deadline(mut self) -> Self {
        self.order.deadline_at = self.now + self.policy.order_deadline;
        self.order.due_at = Some(self.order.deadline_at);
        self
    }

    /// One more wait for the provider, doubled each time; while nobody has called it off, not beyond the deadline.
    pub(super) fn await_provider(mut self) -> Self {
        let retry = self.now + self.backoff(self.policy.charge_retry);
        let end = if self.order.stop {
            retry
        } else {
            retry.min(self.order.deadline_at)
        };
        self.order.due_at = Some(end);
        self.order.attempts = self.order.attempts.saturating_add(1);
        self
    }

    /// One more wait for inventory or for a refund, doubled each time.
    pub(super) fn await_settlement(mut self) -> Self {
        self.order.due_at = Some(self.now + self.backoff(self.policy.release_retry));
        self.order.attempts = self.order.attempts.saturating_add(1);
        self
    }

    fn backoff(&self, first: i64) -> i64 {
        let factor = 1_i64 << self.order.attempts.min(20);
        first.saturating_mul(factor).min(self.policy.longest_retry)
    }

    /// All that is left of the captured money goes back. What is on its way already is asked for again, under its own id.
    pub(super) fn refund_whole(self) -> Self {
        let amount = self.order.refundable();
        if amount.is_zero() {
            return self.ask_open_refunds();
        }
        // A full list drops its oldest and stays as long; the version is beyond its length by then, so no id comes twice.
        let refunds = match self.order.refunds.len() {
            MAX_REFUNDS.. => self.old.version,
            refunds => refunds as u64,
        };
        let id = RefundId::of_whole(self.order.id, refunds);
        self.open_refund(id, amount, None)
    }

    /// So much is on its way back, and the provider is to be asked.
    pub(super) fn open_refund(mut self, id: RefundId, amount: Amount, reason: Option<String>) -> Self {
        let order = &mut self.order;
        // Only ever called with what is refundable, so the sum stays within the captured amount.
        order.refund_open = order.refund_open.plus(amount).unwrap_or(order.captured);
        if order.refunds.len() >= MAX_REFUNDS {
            // Only after as many refusals, which a whole refund outlives; the oldest is let go of.
            order.refunds.remove(0);
        }
        order.open_refunds.push(id);
        order.refunds.push(id);
        self.refund = Some(Refund {
            id,
            order_id: order.id,
            amount,
            currency: order.currency,
            state: RefundState::Requested,
            reason,
            created_at: self.now,
            updated_at: self.now,
        });
        let order_id = order.id;
        self.ask(Job::Refund(RefundJob {
            order_id,
            refund_id: id,
        }))
    }

    /// The provider is to be asked again for everything that is on its way back.
    pub(super) fn ask_open_refunds(mut self) -> Self {
        let order_id = self.order.id;
        let jobs = self.order.open_refunds.iter();
        self.jobs
            .extend(jobs.map(|&refund_id| Job::Refund(RefundJob { order_id, refund_id })));
        self
    }

    /// The refund's document ends. A sold order has nothing more to wait for when it was the last one.
    pub(super) fn close_refund(mut self, refund: &Refund, state: RefundState) -> Self {
        let order = &mut self.order;
        order.refund_open = order.refund_open.minus(refund.amount).unwrap_or(Amount::ZERO);
        order.open_refunds.retain(|id| *id != refund.id);
        if order.state == State::Completed && order.open_refunds.is_empty() {
            order.due_at = None;
        }
        self.refund = Some(Refund {
            state,
            updated_at: self.now,
            ..refund.clone()
        });
        self
    }

    pub(super) fn done(mut self) -> Outcome {
        self.order.version = self.old.version + 1;
        self.order.updated_at = self.now;
        Outcome::Advance(Box::new(Decision {
            expected_version: self.old.version,
            expected_updated_at: self.old.updated_at,
            merge: merge_patch(&document(self.old), &document(&self.order)),
            due: self.order.due_at,
            events: self.events,
            jobs: self.jobs,
            refund: self.refund,
            order: self.order,
        }))
    }
}
