//! One accepted order from its acceptance to its end: called off or refunded as planned, and read until it is at rest.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use shopwright_domain::order::State;
use tokio::time::Instant;
use uuid::Uuid;

use super::twice;
use crate::api::{OrderView, RefundView};
use crate::call::Call;
use crate::client::{Caller, Get, Post, Read};
use crate::journal::Fact;
use crate::observe::{Expect, Seen, money_fault, share};
use crate::plan::{Repeat, Share, Then};
use crate::report::Requested;
use crate::run::{Order, Run};
use crate::violation::ViolationKind;

const FIRST_POLL: Duration = Duration::from_millis(100);
const LONGEST_POLL: Duration = Duration::from_secs(1);
/// An accepted order that is not there is looked for again, for a single wrong answer proves no loss.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// How following an order ended.
enum End {
    /// It is where it was awaited.
    Reached(OrderView),
    /// It is not there.
    Lost,
    /// The run is over.
    Over,
}

struct Life {
    run: Arc<Run>,
    order: Arc<Order>,
    repeat: Repeat,
    seen: Option<Seen>,
}

/// Does what is planned for an order, and follows it.
pub(super) async fn live(run: Arc<Run>, order: Arc<Order>, repeat: Repeat, then: Then) {
    let mut life = Life {
        run: run.clone(),
        order,
        repeat,
        seen: None,
    };
    let mut is_cancelled = false;
    if let Then::Cancel(after) = then {
        is_cancelled = life.cancel(after).await;
    }
    let slot = tokio::select! {
        slot = run.followers.acquire() => slot.ok(),
        () = run.over.cancelled() => None,
    };
    let end = match slot {
        Some(_) => life.follow(|view| view.state.is_terminal()).await,
        None => End::Over,
    };
    let end = match (end, then) {
        (End::Reached(view), Then::Refund(shares)) if view.state == State::Completed => {
            life.placed_to_terminal(&view);
            life.refund(view, &shares).await
        }
        (End::Reached(view), _) => {
            life.placed_to_terminal(&view);
            if is_cancelled && view.state == State::Completed {
                let detail = "its cancellation was accepted, and it completed";
                run.recorder
                    .violation(ViolationKind::CancelIgnored, &life.order.id, detail);
            }
            End::Reached(view)
        }
        (end, _) => end,
    };
    let last = life.seen.map(|seen| seen.state);
    run.recorder.count(|counts| match end {
        End::Reached(view) => *counts.ended.entry(view.state).or_default() += 1,
        End::Lost => {}
        End::Over => *counts.unfinished.entry(last).or_default() += 1,
    });
}

impl Life {
    fn placed_to_terminal(&self, view: &OrderView) {
        if let Some(took) = view.placed_to_terminal() {
            self.run.recorder.count(|counts| counts.placed_to_terminal.record(took));
        }
    }

    /// Calls the order off at its time; tells whether that was accepted.
    async fn cancel(&self, after: Duration) -> bool {
        let intended = self.order.accepted_at + after;
        tokio::select! {
            () = tokio::time::sleep_until(intended) => {}
            () = self.run.over.cancelled() => return false,
        }
        let Some(_room) = self.run.room().await else {
            return false;
        };
        let path = format!("/orders/{}/cancel", self.order.id);
        let post = Post {
            call: Call::CancelOrder,
            path: &path,
            caller: Caller::Shopper(&self.order.token),
            key: Uuid::new_v4(),
            body: b"{}".to_vec(),
        };
        let answers = twice::post(&self.run, &post, self.repeat, intended, |view: &OrderView| view.id).await;
        let is_accepted = !answers.accepted.is_empty();
        self.run
            .recorder
            .count(|counts| tally(&mut counts.cancels, is_accepted, answers.is_refused));
        for (_, when) in answers.accepted {
            self.run.write(when, Fact::CancelAccepted { id: self.order.id });
        }
        is_accepted
    }

    /// Refunds part after part, then waits until no refund is open.
    async fn refund(&mut self, completed: OrderView, shares: &[Share]) -> End {
        for share in shares {
            self.refund_once(&completed, *share).await;
        }
        let end = self.follow(|view| !view.has_open_refund()).await;
        if let End::Over = end {
            self.run.recorder.count(|counts| counts.refunds_unsettled += 1);
            // Its own end was seen; what is open is only the money's way back.
            return End::Reached(completed);
        }
        end
    }

    async fn refund_once(&self, completed: &OrderView, part: Share) {
        let intended = Instant::now();
        let Some(_room) = self.run.room().await else {
            return;
        };
        let body = match (part, completed.captured) {
            (Share::Percent(percent), Some(mut captured)) => {
                captured.amount = share(captured.amount, percent);
                json!({"amount": captured, "reason": "load"})
            }
            _ => json!({"reason": "load"}),
        };
        let path = format!("/orders/{}/refunds", self.order.id);
        let post = Post {
            call: Call::RefundOrder,
            path: &path,
            caller: Caller::Staff,
            key: Uuid::new_v4(),
            body: body.to_string().into_bytes(),
        };
        let answers = twice::post(&self.run, &post, self.repeat, intended, |view: &RefundView| view.id).await;
        let is_accepted = !answers.accepted.is_empty();
        self.run
            .recorder
            .count(|counts| tally(&mut counts.refunds, is_accepted, answers.is_refused));
        for (refund, when) in answers.accepted {
            let fact = Fact::RefundAccepted {
                id: refund.id,
                order_id: self.order.id,
                amount: refund.amount,
            };
            self.run.write(when, fact);
        }
    }

    /// Reads the order, ever less often, until it is as awaited.
    async fn follow(&mut self, is_reached: impl Fn(&OrderView) -> bool) -> End {
        let path = format!("/orders/{}", self.order.id);
        let (run, order) = (self.run.clone(), self.order.clone());
        let get = Get {
            call: Call::ReadOrder,
            path: &path,
            caller: Caller::Shopper(&order.token),
        };
        let (mut wait, mut missing, mut at_least) = (FIRST_POLL, 0, Duration::ZERO);
        loop {
            let due = Instant::now() + wait.max(at_least);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = run.over.cancelled() => return End::Over,
            }
            wait = wait.mul_f64(1.5).min(LONGEST_POLL);
            at_least = Duration::ZERO;
            match super::ask::<OrderView>(&run, get, due).await {
                None => return End::Over,
                Some(Read::Found(view)) => {
                    missing = 0;
                    self.see(&view);
                    if is_reached(&view) {
                        return End::Reached(view);
                    }
                }
                Some(Read::Missing) => {
                    missing += 1;
                    if missing == LOOKS {
                        run.recorder
                            .violation(ViolationKind::Lost, &order.id, "accepted, and not there");
                        return End::Lost;
                    }
                    at_least = BETWEEN_LOOKS;
                }
                Some(Read::Failed(retry_after)) => at_least = retry_after.unwrap_or_default(),
            }
        }
    }

    fn see(&mut self, view: &OrderView) {
        let next = Seen::from(view);
        let fault = self.seen.and_then(|seen| seen.then(next, Expect::NotOlder).err());
        let fault = fault.or_else(|| money_fault(view).map(|detail| (ViolationKind::Money, detail)));
        if let Some((kind, detail)) = fault {
            self.run.recorder.violation(kind, &self.order.id, detail);
        }
        self.seen = Some(next);
    }
}

fn tally(requested: &mut Requested, is_accepted: bool, is_refused: bool) {
    if is_accepted {
        requested.accepted += 1;
    } else if is_refused {
        requested.refused += 1;
    } else {
        requested.failed += 1;
    }
}
