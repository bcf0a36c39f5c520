//! Marks of requests: stored with the effect by one script, found by whoever repeats the request.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shopwright_domain::access::User;
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::money::Amount;
use shopwright_domain::order::{ChargeAnswer, Input, Order, RefundRequest, place};
use shopwright_payments::act::{ActError, Acted, Actor, Happening};
use shopwright_payments::store::{Committed, Mark};
use support::{Shop, eventually, mark, order, patient, placed, placing, reserving};

async fn orders(shop: &Shop) -> BTreeSet<String> {
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{}*", shop.keys.order_prefix()))
        .query_async(&mut shop.harness().await)
        .await
        .unwrap();
    keys.into_iter().collect()
}

async fn completed(actor: &Actor) -> Order {
    let order = placed(actor, 3).await;
    for happening in [
        reserving(&order),
        Happening::Input(Input::ChargeStarting),
        Happening::Input(Input::Charge(ChargeAnswer::Charged)),
        Happening::Input(Input::StockCommitted),
    ] {
        actor.act(order.id, &happening).await.unwrap();
    }
    support::order(actor, order.id).await
}

fn refund(amount: Option<i64>) -> Happening {
    Happening::Input(Input::RefundRequested(RefundRequest {
        id: RefundId::generate(),
        amount: amount.map(|amount| Amount::new(amount).unwrap()),
        reason: None,
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_requests_at_once_one_places_an_order() {
    let shop = Shop::start().await;
    let racers: Vec<_> = (0..16).map(|_| shop.actor(patient())).collect();
    for round in 1..=10 {
        let now = racers[0].store.now().await.unwrap();
        let results = join_all(racers.iter().map(|racer| async move {
            let decision = place(placing(1), now, &racer.policy);
            let mark = Mark {
                record: format!(r#"{{"id":"{}"}}"#, decision.order.id),
                ..mark(&format!("round {round}"))
            };
            (
                mark.record.clone(),
                racer.store.commit(&decision, Some(&mark)).await.unwrap(),
            )
        }))
        .await;
        let stored: Vec<_> = results
            .iter()
            .filter(|(_, committed)| *committed == Committed::Stored)
            .map(|(record, _)| record.clone())
            .collect();
        let [winner] = stored.as_slice() else {
            panic!("{stored:?}")
        };
        for (_, committed) in results.iter().filter(|(_, committed)| *committed != Committed::Stored) {
            assert_eq!(committed, &Committed::Known(winner.clone()));
        }
        assert_eq!(orders(&shop).await.len(), round);
        assert_eq!(shop.entries(&shop.keys.payments_events()).await.len(), round);
        let mark = mark(&format!("round {round}"));
        assert_eq!(racers[0].store.mark(&mark.id).await.unwrap().as_ref(), Some(winner));
    }
}

/// The caller gives up at any moment, and repeats the request: whichever attempt arrived, there is one order.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_found_again() {
    let shop = Shop::start().await;
    let mut random = StdRng::seed_from_u64(5);
    let mut lost = 0;
    for round in 0..60 {
        let mark = mark(&format!("round {round}"));
        let caller = shop.actor(patient());
        let now = caller.store.now().await.unwrap();
        let first = place(placing(1), now, &caller.policy);
        let patience = Duration::from_micros(random.random_range(0..1_500));
        let heard = tokio::time::timeout(patience, caller.store.commit(&first, Some(&mark))).await;
        // Another process, with another connection and another id.
        let other = shop.actor(patient());
        let again = place(placing(1), now, &other.policy);
        match (heard, other.store.commit(&again, Some(&mark)).await.unwrap()) {
            (Ok(Ok(Committed::Stored)) | Err(_), Committed::Known(record)) => assert_eq!(record, mark.record),
            (Err(_), Committed::Stored) => lost += 1,
            other => panic!("{other:?}"),
        }
        // Should the first one still be under way, it finds the mark.
        let first = caller.store.commit(&first, Some(&mark)).await.unwrap();
        assert_eq!(first, Committed::Known(mark.record));
        assert_eq!(orders(&shop).await.len(), round + 1);
        assert_eq!(shop.entries(&shop.keys.payments_events()).await.len(), round + 1);
    }
    println!("{lost} of 60 first requests never arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_known_however_far_its_order_has_moved() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let order = completed(&actor).await;
    let (request, mark) = (refund(None), mark("whole"));
    let Acted::Changed { order: changed, .. } = actor.act_marked(order.id, &request, &mark).await.unwrap() else {
        panic!("a completed order can be refunded")
    };
    assert_eq!(changed.refund_open, order.captured);
    let known = Acted::Known(mark.record.clone());
    assert_eq!(actor.act_marked(order.id, &request, &mark).await.unwrap(), known);
    // A request that names its refund anew would be refused by now; the mark says that it had its effect.
    assert_eq!(actor.act_marked(order.id, &refund(None), &mark).await.unwrap(), known);
    assert!(matches!(
        actor.act(order.id, &refund(None)).await,
        Err(ActError::Refused(_))
    ));
    assert_eq!(support::order(&actor, order.id).await, changed);
}

/// What is refused leaves no mark: a repetition is judged anew. What is granted leaves one, although nothing had to change.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_leaves_a_mark_and_what_was_refused_does_not() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let order = completed(&actor).await;
    let cancel = Happening::Input(Input::Cancel);
    let refused = actor.act_marked(order.id, &cancel, &mark("refused")).await;
    assert!(matches!(refused, Err(ActError::Refused(_))));
    let pending = placed(&actor, 1).await;
    actor.act(pending.id, &cancel).await.unwrap();
    let unchanged = actor.act_marked(pending.id, &cancel, &mark("unchanged")).await.unwrap();
    assert!(matches!(unchanged, Acted::Unchanged(_)));
    let again = actor.act_marked(pending.id, &cancel, &mark("unchanged")).await.unwrap();
    assert_eq!(again, Acted::Known(mark("unchanged").record));
    let missing = actor.act_marked(OrderId::generate(), &cancel, &mark("missing")).await;
    assert!(matches!(missing, Err(ActError::Missing)));
    for key in ["refused", "missing"] {
        assert_eq!(actor.store.mark(&mark(key).id).await.unwrap(), None, "{key}");
    }
}

/// Each of many different requests on one order has its effect and its mark, or neither; equal ones have one together.
#[tokio::test(flavor = "multi_thread")]
async fn racing_refunds_have_their_effect_and_their_mark_or_neither() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    for round in 0..8 {
        let before = completed(&actor).await;
        // Six keys, each used twice at once.
        let racers: Vec<_> = (0..12).map(|_| shop.actor(patient())).collect();
        let results = join_all(racers.iter().enumerate().map(|(index, racer)| async move {
            let mark = mark(&format!("{round} {}", index % 6));
            (
                mark.id.clone(),
                racer.act_marked(before.id, &refund(Some(100)), &mark).await,
            )
        }))
        .await;
        let after = order(&actor, before.id).await;
        let mut changed = 0;
        for (id, result) in &results {
            let is_marked = actor.store.mark(id).await.unwrap().is_some();
            match result {
                Ok(Acted::Changed { .. }) => changed += 1,
                Ok(Acted::Known(_)) => {}
                Err(ActError::Contended) => continue,
                other => panic!("{other:?}"),
            }
            assert!(is_marked);
        }
        let marked: BTreeSet<_> = results.iter().map(|(id, _)| id).collect();
        let marked = join_all(marked.into_iter().map(|id| actor.store.mark(id))).await;
        let marked = marked
            .into_iter()
            .filter(|record| record.as_ref().unwrap().is_some())
            .count();
        assert_eq!((changed, marked), (after.refunds.len(), after.refunds.len()));
        assert_eq!(after.refund_open.minor_units(), 100 * i64::try_from(changed).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_goes_after_its_time_and_the_request_is_new() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let now = actor.store.now().await.unwrap();
    let kept = mark("kept");
    let short = Mark {
        retention: Duration::from_millis(300),
        ..mark("short")
    };
    for mark in [&kept, &short] {
        let decision = place(placing(1), now, &actor.policy);
        assert_eq!(
            actor.store.commit(&decision, Some(mark)).await.unwrap(),
            Committed::Stored
        );
    }
    let left: i64 = redis::cmd("PTTL")
        .arg(shop.keys.payments_idempotency(&kept.id))
        .query_async(&mut shop.harness().await)
        .await
        .unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    eventually("the end of the mark", || async {
        actor.store.mark(&short.id).await.unwrap().is_none().then_some(())
    })
    .await;
    let decision = place(placing(1), now, &actor.policy);
    assert_eq!(
        actor.store.commit(&decision, Some(&short)).await.unwrap(),
        Committed::Stored
    );
    assert!(actor.store.mark(&kept.id).await.unwrap().is_some());
}

/// Whoever watches is told of each stored change, by order and version, and of nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn every_stored_change_is_published() {
    use futures::StreamExt;
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let client = shop.settings(User::Payments).client().unwrap();
    let (mut sink, mut messages) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe(shop.keys.payments_changes()).await.unwrap();
    let order = completed(&actor).await;
    assert!(actor.act(order.id, &Happening::Input(Input::Cancel)).await.is_err());
    let last = actor.act(order.id, &refund(None)).await.unwrap();
    for version in 1..=last.version {
        let message: String = messages.next().await.unwrap().get_payload().unwrap();
        assert_eq!(message, format!("{} {version}", order.id));
    }
}
