//! Asks the provider, and applies its answers to orders. What is about to be asked is on record before it is asked; an
//! answer that does not come in time is `Unknown`, and is asked for again under the same key when the order's time comes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use shopwright_domain::ids::OrderId;
use shopwright_domain::jobs::{Job, RefundJob};
use shopwright_domain::money::{Amount, Money};
use shopwright_domain::order::{ChargeAnswer, Input, Order, RefundAnswer, RefundState, State};
use shopwright_kit::crash;
use shopwright_streams::consume::{Entry, Handler, Outcome};
use tracing::Instrument;

use super::{after, read, report, report_unknown};
use crate::act::{ActError, Actor, Happening};
use crate::provider::{GiveBack, LONGEST_CALL, Provider};

/// Handles `{NAME-payments}:jobs`.
#[derive(Debug)]
pub struct JobHandler<P> {
    actor: Actor,
    provider: P,
    longest_call: Duration,
}

impl<P: Provider> JobHandler<P> {
    /// Acts by the rules, and asks this provider.
    pub fn new(actor: Actor, provider: P) -> Self {
        Self {
            actor,
            provider,
            longest_call: LONGEST_CALL,
        }
    }

    /// The same with another patience than [`LONGEST_CALL`], for tests that cannot wait as long.
    #[must_use]
    pub fn with_longest_call(self, longest_call: Duration) -> Self {
        Self { longest_call, ..self }
    }

    async fn work(&self, job: Job) -> Result<(), ActError> {
        match job {
            Job::Charge(id) => self.charge(id).await,
            Job::Void(id) => self.void(id).await,
            Job::Lookup(id) => {
                let answer = self.ask("lookup", id, self.provider.lookup(id), ChargeAnswer::Unknown);
                self.answer(id, answer.await).await
            }
            Job::Refund(refund) => self.refund(refund).await,
        }
    }

    async fn charge(&self, id: OrderId) -> Result<(), ActError> {
        crash::point("payments.job.before_record");
        let order = self.actor.act(id, &Happening::Input(Input::ChargeStarting)).await?;
        crash::point("payments.job.after_record");
        // Only what stands on record as charging may be charged: not what was called off before this job came.
        if !order.may_charge() {
            return Ok(());
        }
        let question = self.provider.charge(id, total(&order));
        let answer = self.ask("charge", id, question, ChargeAnswer::Unknown);
        self.answer(id, answer.await).await
    }

    async fn void(&self, id: OrderId) -> Result<(), ActError> {
        let order = self.actor.store.load(id).await?.ok_or(ActError::Missing)?.order;
        // Nothing else has a charge that could still be on its way.
        if order.state != State::Charging || !order.stop {
            return Ok(());
        }
        let answer = self.ask("stop", id, self.provider.stop(id), ChargeAnswer::Unknown);
        self.answer(id, answer.await).await
    }

    async fn refund(&self, RefundJob { order_id, refund_id }: RefundJob) -> Result<(), ActError> {
        let grounds = self.actor.store.grounds(order_id, Some(refund_id), None).await?;
        let refund = grounds.refund.ok_or(ActError::Missing)?;
        if refund.state != RefundState::Requested {
            return Ok(());
        }
        let what = if grounds.order.ok_or(ActError::Missing)?.returns_all() {
            GiveBack::Rest
        } else {
            GiveBack::Amount(Money {
                amount: refund.amount,
                currency: refund.currency,
            })
        };
        let question = self.provider.refund(refund_id, order_id, what);
        let answer = self.ask("refund", order_id, question, RefundAnswer::Unknown).await;
        if answer == RefundAnswer::Failed {
            self.actor.metrics.refunds_refused.inc();
            tracing::error!(order = %order_id, refund = %refund_id, "the provider refused to give the money back");
        }
        if answer != RefundAnswer::Unknown {
            self.actor.act(order_id, &Happening::Refund(refund_id, answer)).await?;
            crash::point("payments.job.after_store");
        }
        Ok(())
    }

    async fn answer(&self, id: OrderId, answer: ChargeAnswer) -> Result<(), ActError> {
        if answer != ChargeAnswer::Unknown {
            self.actor.act(id, &Happening::Input(Input::Charge(answer))).await?;
            crash::point("payments.job.after_store");
        }
        Ok(())
    }

    /// One question to the provider. Its effect may come although it was given up, so nothing is concluded from that.
    async fn ask<A>(&self, call: &'static str, order: OrderId, question: impl Future<Output = A>, unknown: A) -> A {
        crash::point("payments.job.before_call");
        let answer = tokio::time::timeout(self.longest_call, question).await;
        crash::point("payments.job.after_call");
        answer.unwrap_or_else(|_| {
            tracing::warn!(%order, call, "the provider did not answer in time");
            self.actor.metrics.called(call, "no_answer");
            unknown
        })
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
            Err(error) => {
                let outcome = after(&error);
                report(&[(entry, Arc::new(error))], &self.actor.metrics);
                outcome
            }
        }
    }
}
