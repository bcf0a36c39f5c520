//! Asks the provider, and applies its answers to orders. What is about to be asked is on record before it is asked; an
//! answer that never came is asked for again under the same key, when the order's time comes.

use shopwright_domain::ids::OrderId;
use shopwright_domain::jobs::{Job, RefundJob};
use shopwright_domain::money::{Amount, Money};
use shopwright_domain::order::{ChargeAnswer, Input, Order, RefundAnswer, RefundState, State};
use shopwright_streams::consume::{Entry, Handler, Outcome};
use tracing::Instrument;

use super::{after, read, report_unknown};
use crate::act::{ActError, Actor, Happening};
use crate::provider::Provider;

/// Handles `{NAME-payments}:jobs`.
#[derive(Debug)]
pub struct JobHandler<P> {
    actor: Actor,
    provider: P,
}

impl<P: Provider> JobHandler<P> {
    /// Acts by the rules, and asks this provider.
    pub fn new(actor: Actor, provider: P) -> Self {
        Self { actor, provider }
    }

    async fn work(&self, job: Job) -> Result<(), ActError> {
        match job {
            Job::Charge(id) => self.charge(id).await,
            Job::Void(id) => self.void(id).await,
            Job::Lookup(id) => self.answer(id, self.provider.lookup(id).await).await,
            Job::Refund(refund) => self.refund(refund).await,
        }
    }

    async fn charge(&self, id: OrderId) -> Result<(), ActError> {
        let order = self.actor.act(id, &Happening::Input(Input::ChargeStarting)).await?;
        // Only what stands on record as charging may be charged: not what was called off before this job came.
        if !order.may_charge() {
            return Ok(());
        }
        let answer = self.provider.charge(id, total(&order)).await;
        self.answer(id, answer).await
    }

    async fn void(&self, id: OrderId) -> Result<(), ActError> {
        let order = self.load(id).await?;
        // Nothing else has a charge that could still be on its way.
        if order.state != State::Charging || !order.stop {
            return Ok(());
        }
        let answer = self.provider.stop(id).await;
        self.answer(id, answer).await
    }

    async fn refund(&self, RefundJob { order_id, refund_id }: RefundJob) -> Result<(), ActError> {
        let order = self.load(order_id).await?;
        let refund = self
            .actor
            .store
            .load_refund(refund_id)
            .await?
            .ok_or(ActError::Missing)?;
        if refund.state != RefundState::Requested {
            return Ok(());
        }
        let money = Money {
            amount: refund.amount,
            currency: order.currency,
        };
        let answer = self.provider.refund(refund_id, order_id, money).await;
        if answer == RefundAnswer::Failed {
            self.actor.metrics.refunds_refused.inc();
            tracing::error!(order = %order_id, refund = %refund_id, "the provider refused to give the money back");
        }
        if answer != RefundAnswer::Unknown {
            self.actor.act(order_id, &Happening::Refund(refund_id, answer)).await?;
        }
        Ok(())
    }

    async fn answer(&self, id: OrderId, answer: ChargeAnswer) -> Result<(), ActError> {
        if answer != ChargeAnswer::Unknown {
            self.actor.act(id, &Happening::Input(Input::Charge(answer))).await?;
        }
        Ok(())
    }

    async fn load(&self, id: OrderId) -> Result<Order, ActError> {
        Ok(self.actor.store.load(id).await?.ok_or(ActError::Missing)?.order)
    }
}

fn total(order: &Order) -> Money {
    // A charging order has a total: prices are taken on the way into `reserved`.
    Money {
        amount: order.total.unwrap_or(Amount::ZERO),
        currency: order.currency,
    }
}

impl<P: Provider> Handler for JobHandler<P> {
    async fn handle(&self, entry: &Entry) -> Outcome {
        let received = match read::<Job>(entry, &self.actor.metrics) {
            Ok(received) => received,
            Err(outcome) => return outcome,
        };
        let Some(job) = received.content else {
            return report_unknown(entry, &received.kind, &self.actor.metrics);
        };
        let span = tracing::info_span!(
            "job",
            kind = received.kind,
            request_id = received.meta.request_id,
            traceparent = received.meta.traceparent
        );
        match self.work(job).instrument(span).await {
            Ok(()) => Outcome::Done,
            Err(error) => after(&error),
        }
    }
}
