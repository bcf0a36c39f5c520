//! Payments with one of its guards taken out: the checks that it passes must notice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::time::Duration;

use futures::future::join_all;
use shopwright_domain::access::User;
use shopwright_domain::ids::OrderId;
use shopwright_domain::jobs::Job;
use shopwright_domain::money::Money;
use shopwright_domain::order::{ChargeAnswer, Input, Outcome, State, decide};
use shopwright_payments::act::{Actor, Happening};
use shopwright_payments::consume::JobHandler;
use shopwright_payments::metrics::Metrics;
use shopwright_payments::provider::{Provider, Simulated};
use shopwright_payments::store::{ADVANCE, Committed, Store};
use shopwright_streams::consume::{Entry, Handler};
use support::{Running, Shop, eventually, order, patient, placed, reserving};

/// Races a shopper's cancel with the answers of stock: of two decisions for one version, one is stored.
async fn race(shop: &Shop, script: &str) -> Result<(), String> {
    let racer = || Actor {
        store: Store::with_advance(shop.redis(User::Payments), shop.keys.clone(), script),
        policy: patient(),
        metrics: Metrics::default(),
    };
    let racers: Vec<_> = (0..6).map(|_| racer()).collect();
    for _ in 0..10 {
        let before = placed(&racers[0], 1).await;
        let Happening::Input(reserved) = reserving(&before) else {
            unreachable!()
        };
        let decisions = [Input::Cancel, reserved].map(|input| {
            let Ok(Outcome::Advance(decision)) = decide(&before, &input, before.created_at, &patient()) else {
                panic!("a pending order moves")
            };
            decision
        });
        let results = join_all(racers.iter().enumerate().map(|(index, racer)| {
            let decision = &decisions[index % 2];
            racer.store.commit(decision, None)
        }))
        .await;
        let stored = results
            .iter()
            .filter(|result| *result.as_ref().unwrap() == Committed::Stored)
            .count();
        if stored != 1 {
            return Err(format!("{stored} decisions were stored for one version"));
        }
        let (after, told, asked) = (
            order(&racers[0], before.id).await,
            shop.told(before.id).await,
            shop.asked(before.id).await,
        );
        let whole = match after.state {
            State::Cancelled => told == ["order.placed", "order.cancelled"] && asked.is_empty(),
            _ => told == ["order.placed"] && asked == ["charge"],
        };
        if !whole {
            return Err(format!("{:?}: {told:?} {asked:?}", after.state));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mutation_version_compare_removed_is_noticed() {
    let shop = Shop::start().await;
    race(&shop, ADVANCE).await.unwrap();
    let mutant = ADVANCE.replace("if version ~= expected then return 0 end\n", "");
    assert_ne!(mutant, ADVANCE);
    let noticed = race(&shop, &mutant).await.unwrap_err();
    println!("noticed: {noticed}");
}

/// Asks first and writes it down afterwards.
struct RecordsAfterTheCall {
    actor: Actor,
    provider: Simulated,
}

impl RecordsAfterTheCall {
    async fn charge(&self, id: OrderId) {
        let order = order(&self.actor, id).await;
        let money = Money {
            amount: order.total.unwrap(),
            currency: order.currency,
        };
        let answer = self.provider.charge(id, money).await;
        let started = Happening::Input(Input::ChargeStarting);
        self.actor.act(id, &started).await.unwrap();
        if answer != ChargeAnswer::Unknown {
            self.actor
                .act(id, &Happening::Input(Input::Charge(answer)))
                .await
                .unwrap();
        }
    }
}

/// The shopper calls an order off while the provider is at work on its charge. In the end money and order agree.
async fn cancel_during_the_call(shop: &Shop, actor: &Actor, charge: impl AsyncFnOnce(OrderId)) -> Result<(), String> {
    let order = placed(actor, 1).await;
    actor.act(order.id, &reserving(&order)).await.unwrap();
    let call_off = async {
        eventually("the provider's effect", || async {
            (shop.book(order.id).await.1 > 0).then_some(())
        })
        .await;
        actor.act(order.id, &Happening::Input(Input::Cancel)).await.unwrap();
    };
    tokio::join!(charge(order.id), call_off);
    let mut running = Running::new();
    running.inventory(shop, &std::sync::Arc::default());
    running.payments(shop, actor, &shop.provider(Duration::ZERO));
    running.sweeper(actor);
    let ended = eventually("an end", || async {
        let order = support::order(actor, order.id).await;
        (order.state.is_terminal() && order.due_at.is_none()).then_some(order)
    })
    .await;
    running.stop().await;
    let (_, captured, refunded) = shop.book(order.id).await;
    if ended.state == State::Refunded && captured == refunded {
        Ok(())
    } else {
        Err(format!(
            "{:?} with {captured} taken and {refunded} given back",
            ended.state
        ))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mutation_attempt_recorded_after_the_call_is_noticed() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    // The effect comes after half of it, the answer after all of it.
    let provider = shop.provider(Duration::from_secs(3));
    let real = JobHandler::new(actor.clone(), provider.clone());
    let by_the_handler = async |id| {
        real.handle(&charge_job(&shop, id).await).await;
    };
    cancel_during_the_call(&shop, &actor, by_the_handler).await.unwrap();

    let mutant = RecordsAfterTheCall {
        actor: actor.clone(),
        provider,
    };
    let by_the_mutant = async |id| mutant.charge(id).await;
    let noticed = cancel_during_the_call(&shop, &actor, by_the_mutant).await.unwrap_err();
    println!("noticed: {noticed}");
}

async fn charge_job(shop: &Shop, id: OrderId) -> Entry {
    use shopwright_domain::events::decode;
    let jobs = shop.entries(&shop.keys.payments_jobs()).await;
    let is_it = |entry: &Entry| {
        let job = decode::<Job>(|name| entry.fields.text(name)).unwrap().content;
        job == Some(Job::Charge(id))
    };
    jobs.into_iter().find(is_it).unwrap()
}
