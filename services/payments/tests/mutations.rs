//! Payments with one of its guards taken out: the checks that it passes must notice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use shopwright_domain::events::{OrderEvent, StockEvent, decode, encode};
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::jobs::Job;
use shopwright_domain::money::{Amount, Money};
use shopwright_domain::order::{ChargeAnswer, Input, Order, Outcome, RefundAnswer, State, decide};
use shopwright_payments::act::{Actor, Happening};
use shopwright_payments::consume::{JobHandler, StockHandler};
use shopwright_payments::provider::{GiveBack, Provider, Simulated};
use shopwright_payments::store::{ADVANCE, Committed};
use shopwright_payments::sweep::sweep;
use shopwright_streams::consume::{BatchHandler, Entry, Handler, Outcome as Delivery};
use support::{Inventory, Running, Shop, eventually, order, patient, placed, reserved, reserving};
use tokio_util::sync::CancellationToken;

/// The script without one of its pieces.
fn without(piece: &str) -> String {
    assert_eq!(ADVANCE.matches(piece).count(), 1, "{piece}");
    ADVANCE.replace(piece, "")
}

/// Races a shopper's cancel with the answers of stock: of two decisions for one version, one is stored.
async fn race(shop: &Shop, script: &str) -> Result<(), String> {
    let racers: Vec<_> = (0..6).map(|_| shop.actor_with(script)).collect();
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
    let mutant = without("if version ~= expected or updated_at ~= changed_last then return 0 end\n");
    let noticed = race(&shop, &mutant).await.unwrap_err();
    println!("noticed: {noticed}");
}

/// A decision that was made before Redis lost its last writes meets the same version, come by in another way.
async fn the_same_version_is_not_the_same_order(shop: &Shop, script: &str) -> Result<(), String> {
    let actor = shop.actor_with(script);
    let pending = placed(&actor, 1).await;
    let id = pending.id;
    let place = shop.keys.order(id);
    let mut harness = shop.harness().await;
    let mut get = redis::cmd("JSON.GET");
    let earlier: String = get.arg(&place).query_async(&mut harness).await.unwrap();
    let held = actor.act(id, &reserving(&pending)).await.unwrap();
    let Ok(Outcome::Advance(late)) = decide(&held, &Input::ChargeStarting, held.updated_at, &patient()) else {
        panic!("what is reserved is charged")
    };
    let mut set = redis::cmd("JSON.SET");
    set.arg(&place).arg("$").arg(earlier);
    set.exec_async(&mut harness).await.unwrap();
    // By the clock of Redis, no crash is over within a millisecond.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let cancelled = actor.act(id, &Happening::Input(Input::Cancel)).await.unwrap();
    assert_eq!(cancelled.version, held.version);
    match actor.store.commit(&late, None).await.unwrap() {
        Committed::Conflict => Ok(()),
        other => Err(format!("{other:?}: {:?}", order(&actor, id).await.state)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mutation_comparing_nothing_but_the_version_is_noticed() {
    let shop = Shop::start().await;
    the_same_version_is_not_the_same_order(&shop, ADVANCE).await.unwrap();
    let mutant = without(" or updated_at ~= changed_last");
    let noticed = the_same_version_is_not_the_same_order(&shop, &mutant)
        .await
        .unwrap_err();
    println!("noticed: {noticed}");
}

/// What inventory told is lost while a consumer holds it, as by a Redis that crashed.
async fn nothing_follows_from_lost_entries(shop: &Shop, script: &str) -> Result<(), String> {
    let actor = shop.actor_with(script);
    let handler = StockHandler::new(actor.clone());
    let pending = placed(&actor, 1).await;
    let told = shop.stock(&reserved(&pending)).await;
    shop.lose(&told).await;
    // Acknowledged, or it would be tried again for ever.
    assert_eq!(handler.handle(&[told]).await, [Delivery::Done]);
    let (after, asked) = (order(&actor, pending.id).await, shop.asked(pending.id).await);
    if after != pending || !asked.is_empty() {
        return Err(format!("{:?}, asked {asked:?}", after.state));
    }
    // Beside others of the same order, which count.
    let paid = placed(&actor, 1).await;
    for happening in [
        reserving(&paid),
        Happening::Input(Input::ChargeStarting),
        Happening::Input(Input::Charge(ChargeAnswer::Charged)),
    ] {
        actor.act(paid.id, &happening).await.unwrap();
    }
    let mut batch = Vec::new();
    for event in [StockEvent::Committed(paid.id), StockEvent::CommitRefused(paid.id)] {
        batch.push(shop.stock(&event).await);
    }
    shop.lose(&batch[0]).await;
    assert_eq!(handler.handle(&batch).await, [Delivery::Done, Delivery::Done]);
    let after = order(&actor, paid.id).await;
    if (after.state, after.open_refunds.len()) != (State::Paid, 1) {
        return Err(format!("{:?} with {} refunds", after.state, after.open_refunds.len()));
    }
    // What was decided upon a lost entry is no alarm either.
    assert_eq!((actor.metrics.lost.get(), actor.metrics.contradictions.get()), (2, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mutation_acting_on_lost_entries_is_noticed() {
    let shop = Shop::start().await;
    nothing_follows_from_lost_entries(&shop, ADVANCE).await.unwrap();
    let mutant = without("if #lost > 0 then return lost end\n");
    let noticed = nothing_follows_from_lost_entries(&shop, &mutant).await.unwrap_err();
    println!("noticed: {noticed}");
}

/// A provider whose charges are held up on their way, until the test lets them pass.
#[derive(Clone)]
struct Held {
    provider: Simulated,
    /// Before their effect.
    arrives: CancellationToken,
    /// With the answer on its way.
    answers: CancellationToken,
    /// The mutation: what is said of a charge that the provider does not know.
    unknown_is: ChargeAnswer,
}

impl Held {
    fn new(shop: &Shop) -> Self {
        Self {
            provider: shop.provider(Duration::ZERO),
            arrives: CancellationToken::new(),
            answers: CancellationToken::new(),
            unknown_is: ChargeAnswer::Unknown,
        }
    }
}

impl Provider for Held {
    async fn charge(&self, key: OrderId, money: Money) -> ChargeAnswer {
        self.arrives.cancelled().await;
        let answer = self.provider.charge(key, money).await;
        self.answers.cancelled().await;
        answer
    }

    async fn stop(&self, key: OrderId) -> ChargeAnswer {
        self.provider.stop(key).await
    }

    async fn lookup(&self, key: OrderId) -> ChargeAnswer {
        match self.provider.lookup(key).await {
            ChargeAnswer::Unknown => self.unknown_is,
            known => known,
        }
    }

    async fn refund(&self, id: RefundId, key: OrderId, what: GiveBack) -> RefundAnswer {
        self.provider.refund(id, key, what).await
    }
}

/// Asks first and writes it down afterwards.
struct RecordsAfterTheCall {
    actor: Actor,
    provider: Held,
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
async fn cancel_during_the_call(
    shop: &Shop,
    actor: &Actor,
    provider: &Held,
    charge: impl AsyncFnOnce(OrderId),
) -> Result<(), String> {
    provider.arrives.cancel();
    let order = placed(actor, 1).await;
    actor.act(order.id, &reserving(&order)).await.unwrap();
    let call_off = async {
        eventually("the provider's effect", || async {
            (shop.book(order.id).await.1 > 0).then_some(())
        })
        .await;
        actor.act(order.id, &Happening::Input(Input::Cancel)).await.unwrap();
        provider.answers.cancel();
    };
    tokio::join!(charge(order.id), call_off);
    let ended = run_to_the_end(shop, actor, order.id).await;
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

async fn run_to_the_end(shop: &Shop, actor: &Actor, id: OrderId) -> Order {
    let mut running = Running::new();
    // It has told that it holds the order, so it knows it, whichever of its entries it reads first.
    let inventory = Arc::<Inventory>::default();
    inventory.answer(&OrderEvent::Placed(shop.asked_for(id).await));
    running.inventory(shop, &inventory);
    running.payments(shop, actor, &shop.provider(Duration::ZERO));
    running.sweeper(actor);
    let ended = eventually("an end", || async {
        let order = order(actor, id).await;
        (order.state.is_terminal() && order.due_at.is_none()).then_some(order)
    })
    .await;
    running.stop().await;
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn mutation_attempt_recorded_after_the_call_is_noticed() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let provider = Held::new(&shop);
    let real = JobHandler::new(actor.clone(), provider.clone());
    let by_the_handler = async |id| {
        real.handle(&job_entry(&shop, Job::Charge(id)).await).await;
    };
    cancel_during_the_call(&shop, &actor, &provider, by_the_handler)
        .await
        .unwrap();

    let mutant = RecordsAfterTheCall {
        actor: actor.clone(),
        provider: Held::new(&shop),
    };
    let by_the_mutant = async |id| mutant.charge(id).await;
    let noticed = cancel_during_the_call(&shop, &actor, &mutant.provider, by_the_mutant)
        .await
        .unwrap_err();
    println!("noticed: {noticed}");
}

async fn job_entry(shop: &Shop, job: Job) -> Entry {
    let jobs = shop.entries(&shop.keys.payments_jobs()).await;
    let is_it = |entry: &Entry| {
        let found = decode::<Job>(|name| entry.fields.text(name)).unwrap().content;
        found == Some(job)
    };
    jobs.into_iter().find(is_it).unwrap()
}

/// The provider does not know a charge that is still on its way: the order stays as it is and the charge is asked for
/// again, until the late one has its effect. In the end money and order agree.
async fn look_up_before_the_charge_arrives(shop: &Shop, provider: &Held) -> Result<(), String> {
    let actor = shop.actor(patient());
    let jobs = JobHandler::new(actor.clone(), provider.clone());
    let id = placed(&actor, 1).await.id;
    actor.act(id, &reserving(&order(&actor, id).await)).await.unwrap();
    let charge = job_entry(shop, Job::Charge(id)).await;
    let meanwhile = async {
        let charging = eventually("the charge on its way", || async {
            let order = order(&actor, id).await;
            (order.state == State::Charging).then_some(order)
        })
        .await;
        let look_up = Entry {
            fields: encode(&Job::Lookup(id), &shopwright_domain::events::Meta::default())
                .into_iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes()))
                .collect(),
            ..charge.clone()
        };
        assert_eq!(jobs.handle(&look_up).await, Delivery::Done);
        let after = order(&actor, id).await;
        // Its time comes, and with it the same question.
        if after == charging {
            eventually("asked again", || async {
                sweep(&actor).await.unwrap();
                (shop.asked(id).await.len() > 1).then_some(())
            })
            .await;
            assert_eq!(shop.asked(id).await, ["charge", "charge"]);
            assert_eq!(shop.told(id).await, ["order.placed"], "nobody was told anything");
        }
        assert_eq!(shop.book(id).await, (None, 0, 0));
        provider.arrives.cancel();
        provider.answers.cancel();
        after == charging
    };
    let (outcome, is_unchanged) = tokio::join!(jobs.handle(&charge), meanwhile);
    if !is_unchanged {
        let (order, taken) = (order(&actor, id).await, shop.book(id).await.1);
        return Err(format!("{:?} by a look-up, {outcome:?}, {taken} taken", order.state));
    }
    let ended = run_to_the_end(shop, &actor, id).await;
    let (_, captured, refunded) = shop.book(id).await;
    assert_eq!(
        (ended.state, captured, refunded),
        (State::Completed, ended.total.unwrap().minor_units(), 0),
        "charged once"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mutation_not_found_taken_for_not_charged_is_noticed() {
    let shop = Shop::start().await;
    look_up_before_the_charge_arrives(&shop, &Held::new(&shop))
        .await
        .unwrap();
    for unknown_is in [ChargeAnswer::Declined, ChargeAnswer::Stopped] {
        let mutant = Held {
            unknown_is,
            ..Held::new(&shop)
        };
        let noticed = look_up_before_the_charge_arrives(&shop, &mutant).await.unwrap_err();
        println!("noticed: {noticed}");
    }
}

/// Redis has forgotten that a part of the money went back, and that the order was ever sold; then it is called off. All of the
/// money is back in the end, whatever the order knows of.
#[tokio::test(flavor = "multi_thread")]
async fn money_of_a_forgotten_refund_is_not_asked_for_again() {
    let shop = Shop::start().await;
    let (actor, provider) = (shop.actor(patient()), shop.provider(Duration::ZERO));
    let pending = placed(&actor, 2).await;
    let id = pending.id;
    actor.act(id, &reserving(&pending)).await.unwrap();
    let charging = actor.act(id, &Happening::Input(Input::ChargeStarting)).await.unwrap();
    let money = |amount| Money {
        amount,
        currency: charging.currency,
    };
    let total = charging.total.unwrap();
    assert_eq!(provider.charge(id, money(total)).await, ChargeAnswer::Charged);
    let part = GiveBack::Amount(money(Amount::new(1).unwrap()));
    let forgotten = provider.refund(RefundId::generate(), id, part).await;
    assert_eq!(forgotten, RefundAnswer::Succeeded);
    actor.act(id, &Happening::Input(Input::Cancel)).await.unwrap();
    let ended = run_to_the_end(&shop, &actor, id).await;
    assert_eq!(
        (ended.state, ended.refunded, ended.refunds.len()),
        (State::Refunded, total, 1)
    );
    let minor = total.minor_units();
    assert_eq!(shop.book(id).await, (Some("charged".into()), minor, minor));
}
