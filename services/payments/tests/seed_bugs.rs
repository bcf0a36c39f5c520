//! The bugs of the shops that this one follows, one by one, as far as they can be in payments.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::{join_all, poll_fn};
use shopwright_domain::events::StockEvent;
use shopwright_domain::ids::{OrderId, ProductId, RefundId};
use shopwright_domain::lines::{Line, Lines};
use shopwright_domain::money::Amount;
use shopwright_domain::order::{
    ChargeAnswer, Input, Order, Placing, RefundAnswer, RefundRequest, RefundState, State, place,
};
use shopwright_payments::act::{ActError, Actor, Happening};
use shopwright_payments::consume::{JobHandler, StockHandler};
use shopwright_payments::provider::Provider;
use shopwright_payments::store::Committed;
use shopwright_streams::consume::{BatchHandler, Entry, Handler, Outcome};
use support::{
    Inventory, Process, Running, SLOW_CALL, Shop, UNIT_PRICE, at_rest, eventually, order, patient, placed, placing,
    reserved, reserving,
};

const NO_TIME: Duration = Duration::ZERO;

async fn paid(actor: &Actor, quantity: u32) -> Order {
    let placed = placed(actor, quantity).await;
    for happening in [
        reserving(&placed),
        Happening::Input(Input::ChargeStarting),
        Happening::Input(Input::Charge(ChargeAnswer::Charged)),
    ] {
        actor.act(placed.id, &happening).await.unwrap();
    }
    order(actor, placed.id).await
}

async fn completed(actor: &Actor, quantity: u32) -> Order {
    let paid = paid(actor, quantity).await;
    let committed = Happening::Input(Input::StockCommitted);
    actor.act(paid.id, &committed).await.unwrap()
}

fn refund_of(amount: i64) -> RefundRequest {
    RefundRequest {
        id: RefundId::generate(),
        amount: Some(Amount::new(amount).unwrap()),
        reason: None,
    }
}

/// S3: of what one read brought, only the first entry was handled.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s03_only_the_first_entry_of_a_batch() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let mut ids = Vec::new();
    for _ in 0..40 {
        let order = placed(&actor, 1).await;
        shop.stock(&reserved(&order)).await;
        ids.push(order.id);
    }
    let mut running = Running::new();
    running.payments(&shop, &actor, &shop.provider(NO_TIME));
    for id in ids {
        eventually("paid", || async {
            (order(&actor, id).await.state == State::Paid).then_some(())
        })
        .await;
    }
    eventually("all acknowledged", || async {
        (shop.pending().await == 0).then_some(())
    })
    .await;
    running.stop().await;
}

/// S6: read, changed in memory, saved. Here racing refunds of parts, none of which may get lost.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s06_lost_updates() {
    const EACH: usize = 20;
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let before = completed(&actor, 100).await;
    let clients: Vec<_> = (0..4).map(|_| shop.actor(patient())).collect();
    join_all(clients.iter().map(|client| async move {
        for _ in 0..EACH {
            let request = Happening::Input(Input::RefundRequested(refund_of(7)));
            // Who was overtaken too often asks again.
            while let Err(error) = client.act(before.id, &request).await {
                assert!(matches!(error, ActError::Contended), "{error}");
            }
        }
    }))
    .await;
    let opened = EACH * clients.len();
    let after = order(&actor, before.id).await;
    assert_eq!(after.refunds.len(), opened);
    assert_eq!(after.refund_open.minor_units(), 7 * i64::try_from(opened).unwrap());
    assert_eq!(actor.store.refunds(&after.refunds).await.unwrap().len(), opened);
    assert_eq!(shop.asked(before.id).await.len(), 1 + opened);
}

/// What it gives within so many steps; then it is dropped where it stands, as a crash would leave it.
async fn within_steps<T>(mut steps: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if steps == 0 {
            return Poll::Ready(None);
        }
        steps -= 1;
        match work.as_mut().poll(context) {
            Poll::Pending if steps == 0 => Poll::Ready(None),
            other => other.map(Some),
        }
    })
    .await
}

/// S8: the state was saved, then the event was appended: a crash in between lost it. Here a caller vanishes at every step
/// of its way: each request that it sent may be its last. On one thread, so that no answer comes within a step.
#[tokio::test(flavor = "current_thread")]
async fn seed_s08_status_saved_event_lost() {
    let shop = Shop::start().await;
    // Redis knows the script from here on: a decision is sent once.
    placed(&shop.actor(patient()), 1).await;
    for _ in 0..10 {
        let mut left = Vec::new();
        for steps in 0.. {
            let caller = shop.actor(patient());
            let decision = place(placing(1), caller.store.now().await.unwrap(), &caller.policy);
            let id = decision.order.id;
            let lived = within_steps(steps, async {
                caller.store.commit(&decision, None).await.unwrap();
                caller.act(id, &Happening::Input(Input::Cancel)).await.unwrap();
            })
            .await;
            // Behind what may still be under way on the connection of the caller.
            caller.store.now().await.unwrap();
            let found = caller.store.load(id).await.unwrap().map(|loaded| loaded.order.state);
            let expected: &[&str] = match found {
                None => &[],
                Some(State::Pending) => &["order.placed"],
                Some(State::Cancelled) => &["order.placed", "order.cancelled"],
                Some(other) => panic!("{other:?}"),
            };
            assert_eq!(shop.told(id).await, expected, "gone after {steps} steps");
            left.push(found);
            if lived.is_some() {
                break;
            }
        }
        for state in [None, Some(State::Pending), Some(State::Cancelled)] {
            assert!(left.contains(&state), "nobody vanished at {state:?}: {left:?}");
        }
    }
}

/// S9: the payment was a task of the process, and died with it.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s09_payment_dies_with_its_process() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let mut running = Running::new();
    running.inventory(&shop, &Arc::new(Inventory::default()));
    let mut first = Process::consume(&shop, "first", &[("PROVIDER_LATENCY_MILLISECONDS", SLOW_CALL)]);
    let id = placed(&actor, 1).await.id;
    eventually("the payment under way", || async {
        (order(&actor, id).await.state == State::Charging).then_some(())
    })
    .await;
    first.kill();
    let _second = Process::consume(&shop, "second", &[]);
    let ended = at_rest(&actor, id, State::Completed).await;
    assert_eq!(
        shop.book(id).await,
        (Some("charged".into()), ended.captured.minor_units(), 0)
    );
    running.stop().await;
}

/// S10: one call that blocked stalled everything.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s10_one_slow_call_stalls_everything() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let mut running = Running::new();
    running.inventory(&shop, &Arc::new(Inventory::default()));
    let _consumer = Process::consume(
        &shop,
        "only",
        &[("PROVIDER_LATENCY_MILLISECONDS", SLOW_CALL), ("JOB_CONCURRENCY", "4")],
    );
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(placed(&actor, 1).await.id);
    }
    let orders = eventually("every stock answer", || async {
        let orders = actor.store.load_many(&ids).await.unwrap().orders;
        let orders: Vec<_> = orders.into_iter().map(|order| order.unwrap().unwrap()).collect();
        let is_answered = |order: &Order| order.state != State::Pending;
        orders.iter().all(is_answered).then_some(orders)
    })
    .await;
    // Four wait for the provider; stock answers of all the others are applied before any of those calls has ended. Told by
    // the orders' own times, however late this test looks.
    let times = |state| {
        let passages = orders.iter().flat_map(|order: &Order| &order.timeline);
        let of_state = passages.filter(move |passage| passage.state == state);
        of_state.map(|passage| passage.at)
    };
    let last_reserved = times(State::Reserved).max().unwrap();
    assert!(times(State::Paid).all(|paid| paid > last_reserved));
    running.stop().await;
}

/// S12: binary floats, and a fee and a total for one piece whatever the quantity.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s12_totals_ignore_quantity() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let mut running = Running::new();
    running.inventory(&shop, &Arc::new(Inventory::default()));
    running.payments(&shop, &actor, &shop.provider(NO_TIME));
    for quantities in [&[1][..], &[3], &[1, 2, 4], &[17, 1]] {
        let lines: Vec<_> = quantities
            .iter()
            .map(|quantity| Line {
                product_id: ProductId::generate(),
                quantity: *quantity,
                expected_unit_price: None,
            })
            .collect();
        let placing = Placing {
            lines: Lines::new(&lines).unwrap(),
            ..placing(1)
        };
        let decision = place(placing, actor.store.now().await.unwrap(), &actor.policy);
        let committed = actor.store.commit(&decision, None).await.unwrap();
        assert_eq!(committed, Committed::Stored);
        let ended = at_rest(&actor, decision.order.id, State::Completed).await;
        let subtotal = UNIT_PRICE * quantities.iter().map(|quantity| i64::from(*quantity)).sum::<i64>();
        // A fifth, half a minor unit upwards.
        let fee = (subtotal * 2 + 5) / 10;
        let sums = [ended.subtotal, ended.fee, ended.total].map(|sum| sum.unwrap().minor_units());
        assert_eq!(sums, [subtotal, fee, subtotal + fee], "{quantities:?}");
        assert_eq!(shop.book(ended.id).await.1, subtotal + fee);
    }
    running.stop().await;
}

/// S13: a refund looked at no state, a failed one was forgotten, and a replay overwrote whatever had come since.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s13_refund_without_state_check() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let provider = shop.provider(NO_TIME);
    let jobs = JobHandler::new(actor.clone(), provider.clone());
    let request = refund_of(100);
    let asked = Happening::Input(Input::RefundRequested(request.clone()));
    let pending = placed(&actor, 1).await;
    assert!(matches!(actor.act(pending.id, &asked).await, Err(ActError::Refused(_))));

    let sold = completed(&actor, 1).await;
    let money = shopwright_domain::money::Money {
        amount: sold.total.unwrap(),
        currency: sold.currency,
    };
    provider.charge(sold.id, money).await;
    actor.act(sold.id, &asked).await.unwrap();
    let job = shop.entries(&shop.keys.payments_jobs()).await.pop().unwrap();
    // No clear answer: it is not forgotten, and asked for again when its time comes.
    shop.inject("busy").await;
    assert_eq!(jobs.handle(&job).await, Outcome::Done);
    let open = order(&actor, sold.id).await;
    assert!(open.due_at.is_some() && open.open_refunds == [request.id]);
    assert_eq!(jobs.handle(&job).await, Outcome::Done);
    let done = order(&actor, sold.id).await;
    assert_eq!((done.refunded.minor_units(), done.due_at), (100, None));

    // Whatever is said again changes nothing.
    for _ in 0..3 {
        assert_eq!(jobs.handle(&job).await, Outcome::Done);
        for answer in [RefundAnswer::Succeeded, RefundAnswer::Failed] {
            actor
                .act(sold.id, &Happening::Refund(request.id, answer))
                .await
                .unwrap();
        }
        actor.act(sold.id, &asked).await.unwrap();
    }
    assert_eq!(order(&actor, sold.id).await, done);
    let refund = actor.store.refunds(&[request.id]).await.unwrap().remove(0);
    assert_eq!(refund.state, RefundState::Succeeded);
    assert_eq!(shop.book(sold.id).await.2, 100);
}

/// S14: whatever went wrong in the loop, the order before it was refunded.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s14_any_error_refunds_the_last_order() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let handler = StockHandler::new(actor.clone());
    let good = completed(&actor, 1).await;
    let again = shop.stock(&reserved(&good)).await;
    let unknown = Entry {
        fields: std::iter::once(("nothing".into(), "known".into())).collect(),
        ..again.clone()
    };
    let stranger = shop.stock(&StockEvent::CommitRefused(OrderId::generate())).await;
    let outcomes = handler.handle(&[again.clone(), unknown, stranger]).await;
    assert_eq!(outcomes[0], Outcome::Done);
    assert!(
        outcomes[1..]
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Reject(_)))
    );
    // Memory is out when another order is to complete: that one waits, whoever stands beside it is left alone.
    let other = paid(&actor, 1).await;
    let committed = shop.stock(&StockEvent::Committed(other.id)).await;
    let batch = [again, committed];
    set_max_memory(&shop, "1").await;
    let outcomes = handler.handle(&batch).await;
    assert!(
        matches!(outcomes[..], [Outcome::Done, Outcome::RetryAfter(_)]),
        "{outcomes:?}"
    );
    for before in [&good, &other] {
        assert_eq!(order(&actor, before.id).await, *before);
        assert_eq!(shop.asked(before.id).await, ["charge"], "no refund");
    }
    set_max_memory(&shop, "0").await;
    assert_eq!(handler.handle(&batch).await, [Outcome::Done; 2]);
    assert_eq!(order(&actor, other.id).await.state, State::Completed);
    assert_eq!(order(&actor, good.id).await, good);
}

async fn set_max_memory(shop: &Shop, bytes: &str) {
    redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", bytes])
        .exec_async(&mut shop.harness().await)
        .await
        .unwrap();
}

/// S17: a stream was begun with a dummy entry, which took a real order with it.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s17_a_dummy_takes_its_neighbour_with_it() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    for _ in 0..2 {
        redis::cmd("XADD")
            .arg(shop.keys.inventory_events())
            .arg(&["*", "init", "1"])
            .exec_async(&mut shop.harness().await)
            .await
            .unwrap();
    }
    let first = placed(&actor, 1).await;
    shop.stock(&reserved(&first)).await;
    let mut running = Running::new();
    running.payments(&shop, &actor, &shop.provider(NO_TIME));
    eventually("paid", || async {
        (order(&actor, first.id).await.state == State::Paid).then_some(())
    })
    .await;
    eventually("the dead letters", || async {
        (shop.buried().await == 2).then_some(())
    })
    .await;
    running.stop().await;
}
