//! A provider that takes a call and never answers it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::money::Money;
use shopwright_domain::order::{ChargeAnswer, Policy, RefundAnswer, State};
use shopwright_payments::consume::JobHandler;
use shopwright_payments::provider::{GiveBack, Provider, Simulated};
use support::{Inventory, Running, Shop, at_rest, order, patient, placed};

/// When a call gets lost on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// Before it had its effect.
    Call,
    /// After it.
    Answer,
}

/// The simulated provider over a line that goes dead, for some orders.
#[derive(Clone)]
struct Mute {
    book: Simulated,
    lost: Arc<Mutex<HashMap<OrderId, Lost>>>,
}

impl Mute {
    async fn over<A>(&self, order: OrderId, call: impl Future<Output = A>) -> A {
        let lost = self.lost.lock().unwrap().get(&order).copied();
        if lost == Some(Lost::Call) {
            std::future::pending::<()>().await;
        }
        let answer = call.await;
        if lost == Some(Lost::Answer) {
            std::future::pending::<()>().await;
        }
        answer
    }
}

impl Provider for Mute {
    async fn charge(&self, key: OrderId, money: Money) -> ChargeAnswer {
        self.over(key, self.book.charge(key, money)).await
    }

    async fn stop(&self, key: OrderId) -> ChargeAnswer {
        self.over(key, self.book.stop(key)).await
    }

    async fn lookup(&self, key: OrderId) -> ChargeAnswer {
        self.over(key, self.book.lookup(key)).await
    }

    async fn refund(&self, id: RefundId, key: OrderId, what: GiveBack) -> RefundAnswer {
        self.over(key, self.book.refund(id, key, what)).await
    }
}

/// Twice as many calls get lost as there may be at once. Those who come after them are served, and when the provider
/// answers again, so are they: under the same key, so that a charge whose answer was lost is no second one.
#[tokio::test(flavor = "multi_thread")]
async fn calls_without_an_answer_hold_up_nobody_and_go_on_later() {
    const AT_ONCE: usize = 2;
    let shop = Shop::start().await;
    // Asked again seldom enough for the others to have their turn.
    let actor = shop.actor(Policy {
        charge_retry: 1_000,
        longest_retry: 2_000,
        ..patient()
    });
    let (mut unheard, mut others) = (Vec::new(), Vec::new());
    for lost in [Lost::Call, Lost::Answer, Lost::Call, Lost::Answer] {
        unheard.push((placed(&actor, 1).await.id, lost));
    }
    for _ in 0..4 {
        others.push(placed(&actor, 1).await.id);
    }
    let provider = Mute {
        book: shop.provider(Duration::ZERO),
        lost: Arc::new(Mutex::new(unheard.iter().copied().collect())),
    };
    let handler = JobHandler::new(actor.clone(), provider.clone()).with_longest_call(Duration::from_millis(200));
    let mut running = Running::new();
    running.inventory(&shop, &Arc::new(Inventory::default()));
    running.stock_as("test", &shop, &actor);
    running.jobs(&shop, handler, AT_ONCE);
    running.sweeper(&actor);

    for id in &others {
        at_rest(&actor, *id, State::Completed).await;
    }
    for (id, _) in &unheard {
        let state = order(&actor, *id).await.state;
        assert!([State::Reserved, State::Charging].contains(&state), "{state:?}");
    }
    provider.lost.lock().unwrap().clear();
    for (id, _) in unheard {
        let ended = at_rest(&actor, id, State::Completed).await;
        let charged = (Some("charged".into()), ended.captured.minor_units(), 0);
        assert_eq!(shop.book(id).await, charged);
    }
    assert_eq!(shop.buried().await, 0);
    running.stop().await;
}
