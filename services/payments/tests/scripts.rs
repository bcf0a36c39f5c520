//! Every script of payments and of the simulated provider, with racing clients, wrong calls and no memory left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use redis::Value;
use shopwright_domain::access::User;
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::lines::PricedLine;
use shopwright_domain::money::{Amount, Money};
use shopwright_domain::order::{ChargeAnswer, Input, Outcome, RefundAnswer, State, decide, place};
use shopwright_payments::act::Happening;
use shopwright_payments::provider::{GiveBack, Provider};
use shopwright_payments::store::{ADVANCE, Committed, StoreError};
use support::{Shop, order, patient, placed, placing, reserved};

fn money(amount: i64) -> Money {
    Money {
        amount: Amount::new(amount).unwrap(),
        currency: "EUR".parse().unwrap(),
    }
}

fn part(amount: i64) -> GiveBack {
    GiveBack::Amount(money(amount))
}

/// Everything in Redis, whatever its type.
async fn contents(shop: &Shop) -> BTreeMap<String, Vec<u8>> {
    let mut connection = shop.harness().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let mut contents = BTreeMap::new();
    for key in keys {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.unwrap();
        contents.insert(key, dump);
    }
    contents
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_changes_exactly_one_is_stored() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    for _ in 0..20 {
        let before = placed(&actor, 1).await;
        let Ok(Outcome::Advance(decision)) = decide(&before, &Input::Cancel, before.created_at, &patient()) else {
            panic!("a pending order can be called off")
        };
        let racers: Vec<_> = (0..12).map(|_| shop.actor(patient())).collect();
        let results = join_all(racers.iter().map(|racer| racer.store.commit(&decision, None))).await;
        let stored = results
            .into_iter()
            .filter(|result| *result.as_ref().unwrap() == Committed::Stored)
            .count();
        assert_eq!(stored, 1);
        assert_eq!(order(&actor, before.id).await, decision.order);
        let events = shop.entries(&shop.keys.payments_events()).await;
        let subject = before.id.to_string();
        let kinds: Vec<_> = events
            .iter()
            .filter(|entry| entry.fields.text("subject") == Some(&subject))
            .map(|entry| entry.fields.text("type").unwrap().to_owned())
            .collect();
        assert_eq!(kinds, ["order.placed", "order.cancelled"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_sent_twice_is_stored_once() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let decision = place(placing(1), actor.store.now().await.unwrap(), &patient());
    let racers: Vec<_> = (0..12).map(|_| shop.actor(patient())).collect();
    let results = join_all(racers.iter().map(|racer| racer.store.commit(&decision, None))).await;
    assert_eq!(
        results
            .into_iter()
            .filter(|result| *result.as_ref().unwrap() == Committed::Stored)
            .count(),
        1
    );
    assert_eq!(shop.entries(&shop.keys.payments_events()).await.len(), 1);
}

/// What the server's merge makes of our patch is the order that was decided.
#[tokio::test(flavor = "multi_thread")]
async fn the_stored_document_is_the_decided_one() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let order = placed(&actor, 3).await;
    let line = order.lines[0];
    let unit_price = Amount::new(333).unwrap();
    let priced = vec![PricedLine {
        product_id: line.product_id,
        quantity: 3,
        unit_price,
    }];
    // Charged too late: its first refund.
    let refund = RefundId::of_whole(order.id, 0);
    for happening in [
        Happening::Input(Input::StockReserved(priced)),
        Happening::Input(Input::ChargeStarting),
        Happening::Input(Input::Cancel),
        Happening::Input(Input::Charge(ChargeAnswer::Charged)),
        Happening::Refund(refund, RefundAnswer::Succeeded),
        Happening::Input(Input::StockReleased),
    ] {
        let decided = actor.act(order.id, &happening).await.unwrap();
        assert_eq!(support::order(&actor, order.id).await, decided);
        let score: Option<i64> = redis::cmd("ZSCORE")
            .arg(shop.keys.due())
            .arg(order.id.to_string())
            .query_async(&mut shop.harness().await)
            .await
            .unwrap();
        assert_eq!(score, decided.due_at, "{happening:?}");
    }
    assert_eq!(support::order(&actor, order.id).await.state, State::Refunded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_call_writes_nothing() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let order = placed(&actor, 1).await;
    let id = order.id.to_string();
    let keys = [
        shop.keys.order(order.id),
        shop.keys.due(),
        shop.keys.payments_events(),
        shop.keys.payments_jobs(),
        shop.keys.refund(RefundId::of_whole(order.id, 1)),
        shop.keys.inventory_events(),
        shop.keys.payments_idempotency("00ff"),
    ];
    let told = shop.stock(&reserved(&order)).await.id.to_string();
    let (updated_at, told) = (order.updated_at.to_string(), format!("{told} {told}"));
    let good = [
        "1",
        &id,
        r#"{"version":2}"#,
        r#"{"state":"requested"}"#,
        "1",
        &shop.keys.payments_changes(),
        "2",
        r#"{"status":202}"#,
        "60000",
        &updated_at,
        &told,
        "1",
        "2",
        "a",
        "b",
        "2",
        "c",
        "d",
    ];
    let mut wrong: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    for (position, value) in [
        (0, "one"),
        (2, "{"),
        (2, "7"),
        (3, "{"),
        (4, "soon"),
        (6, "next"),
        (7, ""),
        (7, "{"),
        (8, ""),
        (8, "0"),
        (8, "-1"),
        (8, "1.5"),
        (8, "9999999999999999"),
        (9, "now"),
        (9, ""),
        (10, "first"),
        (11, "many"),
        (11, "3"),
        (12, "3"),
        (12, "0"),
        (15, "4"),
        (15, "-2"),
    ] {
        let mut arguments = owned(&good);
        arguments[position] = value.to_owned();
        wrong.push((keys.to_vec(), arguments));
    }
    for (position, other) in [(0, 1), (1, 2), (2, 1), (3, 0), (4, 2), (5, 0), (6, 0)] {
        let mut swapped = keys.to_vec();
        swapped[position] = keys[other].clone();
        wrong.push((swapped, owned(&good)));
    }
    let before = contents(&shop).await;
    let mut connection = shop.connection(User::Payments).await;
    for (keys, arguments) in wrong {
        let mut command = redis::cmd("EVAL");
        command.arg(ADVANCE).arg(keys.len()).arg(&keys).arg(&arguments);
        let result: Result<Value, _> = command.query_async(&mut connection).await;
        assert!(result.is_err(), "{arguments:?}");
        assert!(contents(&shop).await == before, "{arguments:?} left something behind");
    }
    let mut command = redis::cmd("EVAL");
    command.arg(ADVANCE).arg(keys.len()).arg(&keys).arg(&good);
    assert_eq!(command.query_async::<i64>(&mut connection).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_nothing_is_written() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let known = placed(&actor, 1).await;
    let before = contents(&shop).await;
    let mut harness = shop.harness().await;
    redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1"])
        .exec_async(&mut harness)
        .await
        .unwrap();
    let decision = place(placing(1), actor.store.now().await.unwrap(), &patient());
    match actor.store.commit(&decision, None).await {
        Err(StoreError::Redis(error)) => assert_eq!(error.code(), Some("OOM")),
        other => panic!("{other:?}"),
    }
    assert!(actor.act(known.id, &Happening::Input(Input::Cancel)).await.is_err());
    redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "0"])
        .exec_async(&mut harness)
        .await
        .unwrap();
    assert!(contents(&shop).await == before);
    actor.act(known.id, &Happening::Input(Input::Cancel)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_order_is_leased_to_one_sweeper_and_comes_again() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let mut harness = shop.harness().await;
    let mut ids = BTreeSet::new();
    for _ in 0..200 {
        let id = OrderId::generate().to_string();
        redis::cmd("ZADD")
            .arg(shop.keys.due())
            .arg(1)
            .arg(&id)
            .exec_async(&mut harness)
            .await
            .unwrap();
        ids.insert(id);
    }
    let lease = Duration::from_secs(3_600);
    let sweepers: Vec<_> = (0..8).map(|_| shop.actor(patient())).collect();
    let taken = join_all(sweepers.iter().map(|sweeper| async move {
        let mut taken = Vec::new();
        loop {
            let batch = sweeper.store.take_due(lease, 7).await.unwrap();
            if batch.is_empty() {
                return taken;
            }
            taken.extend(batch);
        }
    }))
    .await;
    let taken: Vec<String> = taken.into_iter().flatten().collect();
    assert_eq!(taken.len(), 200, "each once");
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), ids);

    let one = ids.first().unwrap();
    redis::cmd("ZADD")
        .arg(shop.keys.due())
        .arg(1)
        .arg(one)
        .exec_async(&mut harness)
        .await
        .unwrap();
    assert_eq!(
        actor.store.take_due(Duration::ZERO, 7).await.unwrap(),
        std::slice::from_ref(one)
    );
    let again = support::eventually("the end of the lease", || async {
        actor.store.take_due(lease, 7).await.unwrap().into_iter().next()
    })
    .await;
    assert_eq!(&again, one);

    // A due time without an order goes, one with an order stays.
    let order = placed(&actor, 1).await;
    actor.store.forget_due(order.id).await.unwrap();
    actor.store.forget_due(one.parse().unwrap()).await.unwrap();
    let left: usize = redis::cmd("ZCARD")
        .arg(shop.keys.due())
        .query_async(&mut harness)
        .await
        .unwrap();
    assert_eq!(left, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_charges_and_stops_agree_on_one_end() {
    let shop = Shop::start().await;
    let money = money(500);
    let mut ends = BTreeMap::new();
    for round in 0..40_u32 {
        let key = OrderId::generate();
        let callers: Vec<_> = (0..8).map(|_| shop.provider(Duration::ZERO)).collect();
        let calls = callers.iter().enumerate().map(|(index, provider)| async move {
            let stops = (u32::try_from(index).unwrap() + round).is_multiple_of(2);
            if stops {
                provider.stop(key).await
            } else {
                provider.charge(key, money).await
            }
        });
        let answers = join_all(calls).await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        let (state, captured, _) = shop.book(key).await;
        assert_eq!(captured, if answers[0] == ChargeAnswer::Charged { 500 } else { 0 });
        *ends.entry(state).or_insert(0) += 1;
        assert_eq!(callers[0].lookup(key).await, answers[0]);
    }
    println!("{ends:?}");
    assert_eq!(
        shop.provider(Duration::ZERO).lookup(OrderId::generate()).await,
        ChargeAnswer::Unknown
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_refunds_never_give_back_more_than_was_taken() {
    let shop = Shop::start().await;
    let key = OrderId::generate();
    let providers: Vec<_> = (0..8).map(|_| shop.provider(Duration::ZERO)).collect();
    assert_eq!(providers[0].charge(key, money(500)).await, ChargeAnswer::Charged);
    assert_eq!(
        providers[0].charge(key, money(501)).await,
        ChargeAnswer::Unknown,
        "another amount under the same key"
    );
    let id = RefundId::of_whole(key, 1);
    let answers = join_all(providers.iter().map(|provider| provider.refund(id, key, part(200)))).await;
    assert!(answers.iter().all(|answer| *answer == RefundAnswer::Succeeded));
    assert_eq!(shop.book(key).await.2, 200, "once for this refund");
    let others = join_all(
        providers
            .iter()
            .map(|provider| provider.refund(RefundId::generate(), key, part(200))),
    )
    .await;
    assert_eq!(
        others
            .iter()
            .filter(|answer| **answer == RefundAnswer::Succeeded)
            .count(),
        1
    );
    assert_eq!(shop.book(key).await.2, 400);
    assert_eq!(
        providers[0]
            .refund(RefundId::generate(), OrderId::generate(), part(1))
            .await,
        RefundAnswer::Failed
    );
}

/// A provider's refusal stands for its key, whatever comes later; another key may succeed.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_refund_is_refused_for_ever_under_its_key() {
    let shop = Shop::start().await;
    let provider = shop.provider(Duration::ZERO);
    let (key, early) = (OrderId::generate(), RefundId::generate());
    assert_eq!(provider.refund(early, key, part(200)).await, RefundAnswer::Failed);
    assert_eq!(provider.charge(key, money(500)).await, ChargeAnswer::Charged);
    for _ in 0..2 {
        assert_eq!(provider.refund(early, key, part(200)).await, RefundAnswer::Failed);
    }
    let refused = RefundId::generate();
    shop.inject("refused").await;
    for _ in 0..2 {
        assert_eq!(provider.refund(refused, key, part(200)).await, RefundAnswer::Failed);
    }
    let other = RefundId::generate();
    for _ in 0..2 {
        assert_eq!(provider.refund(other, key, part(200)).await, RefundAnswer::Succeeded);
    }
    // Another amount under the same key is another question.
    assert_eq!(provider.refund(other, key, part(100)).await, RefundAnswer::Unknown);
    assert_eq!(shop.book(key).await, (Some("charged".into()), 500, 200));
}

/// All that is left, however much of it went back before, and once for its key.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_is_what_is_left_of_the_charge() {
    let shop = Shop::start().await;
    let provider = shop.provider(Duration::ZERO);
    let nothing = OrderId::generate();
    let answer = provider.refund(RefundId::generate(), nothing, GiveBack::Rest).await;
    assert_eq!(answer, RefundAnswer::Failed, "nothing was charged");

    let key = OrderId::generate();
    assert_eq!(provider.charge(key, money(500)).await, ChargeAnswer::Charged);
    assert_eq!(
        provider.refund(RefundId::generate(), key, part(200)).await,
        RefundAnswer::Succeeded
    );
    let whole = RefundId::of_whole(key, 0);
    shop.inject("refused").await;
    let providers: Vec<_> = (0..8).map(|_| shop.provider(Duration::ZERO)).collect();
    let all_ask = |id| {
        providers
            .iter()
            .map(move |provider| provider.refund(id, key, GiveBack::Rest))
    };
    let answers = join_all(all_ask(whole)).await;
    assert!(
        answers.iter().all(|answer| *answer == RefundAnswer::Failed),
        "a refusal stands"
    );
    assert_eq!(shop.book(key).await.2, 200);
    for refunds in [1, 1, 2] {
        let whole = RefundId::of_whole(key, refunds);
        let answers = join_all(all_ask(whole)).await;
        assert!(answers.iter().all(|answer| *answer == RefundAnswer::Succeeded));
        assert_eq!(shop.book(key).await, (Some("charged".into()), 500, 500));
    }
    assert_eq!(
        provider.refund(RefundId::of_whole(key, 1), key, part(200)).await,
        RefundAnswer::Unknown,
        "another question under the same key"
    );
}
