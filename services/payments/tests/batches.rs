//! Batches: one round trip to read, one to store, and an answer for each entry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use shopwright_domain::events::StockEvent;
use shopwright_domain::ids::OrderId;
use shopwright_domain::order::{ChargeAnswer, Input, Order, RefundAnswer, State};
use shopwright_payments::act::{Actor, Happening};
use shopwright_payments::consume::StockHandler;
use shopwright_payments::store::ADVANCE;
use shopwright_payments::sweep::sweep;
use shopwright_streams::consume::{BatchHandler, Entry, Outcome};
use support::{Shop, order, patient, placed, reserved, reserving};

/// A script in which somebody else is faster, as often as the counter `{demo-payments}:faster` of the order says.
fn with_an_intruder(shop: &Shop) -> String {
    let intruder = format!(
        "local faster = tonumber(redis.call('HMGET', '{}faster', ARGV[2])[1] or 0)
if faster > 0 then
  redis.call('HINCRBY', '{0}faster', ARGV[2], -1)
  redis.call('JSON.MERGE', KEYS[1], '$', string.format('{{\"version\":%d}}', version + 1))
  version = version + 1
end
if version ~= expected or updated_at ~= changed_last then return 0 end",
        shop.keys.payments_prefix()
    );
    let compared = "if version ~= expected or updated_at ~= changed_last then return 0 end";
    let script = ADVANCE.replace(compared, &intruder);
    assert_ne!(script, ADVANCE);
    script
}

async fn be_faster(shop: &Shop, id: OrderId, times: u32) {
    redis::cmd("HSET")
        .arg(format!("{}faster", shop.keys.payments_prefix()))
        .arg(id.to_string())
        .arg(times)
        .exec_async(&mut shop.harness().await)
        .await
        .unwrap();
}

async fn too_late(actor: &Actor) -> Order {
    let order = placed(actor, 2).await;
    for happening in [
        reserving(&order),
        Happening::Input(Input::ChargeStarting),
        Happening::Input(Input::Cancel),
        Happening::Input(Input::Charge(ChargeAnswer::Charged)),
    ] {
        actor.act(order.id, &happening).await.unwrap();
    }
    support::order(actor, order.id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_in_the_middle_of_a_batch_is_decided_again() {
    let shop = Shop::start().await;
    let actor = shop.actor_with(&with_an_intruder(&shop));
    let handler = StockHandler::new(actor.clone());
    let (mut ids, mut entries) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let order = placed(&actor, 1).await;
        entries.push(shop.stock(&reserved(&order)).await);
        ids.push(order.id);
    }
    be_faster(&shop, ids[2], 1).await;
    be_faster(&shop, ids[4], 2).await;
    // Every time: nothing is done about it, and it is tried again later.
    be_faster(&shop, ids[5], 3).await;
    let outcomes = handler.handle(&entries).await;
    for (index, (id, outcome)) in ids.iter().zip(&outcomes).enumerate() {
        let order = order(&actor, *id).await;
        let (state, asked) = if index == 5 {
            assert!(matches!(outcome, Outcome::RetryAfter(_)), "{outcome:?}");
            (State::Pending, vec![])
        } else {
            assert_eq!(*outcome, Outcome::Done);
            (State::Reserved, vec!["charge".to_owned()])
        };
        assert_eq!((order.state, shop.asked(*id).await), (state, asked), "{index}");
    }
    assert_eq!(actor.metrics.conflicts.get(), 6);
    assert_eq!(handler.handle(&entries).await, vec![Outcome::Done; 7]);
    assert_eq!(order(&actor, ids[5]).await.state, State::Reserved);
    for id in ids {
        assert_eq!(shop.asked(id).await, ["charge"]);
    }
}

/// What several entries do to one order in one batch is what they do one by one, events and jobs included.
#[tokio::test(flavor = "multi_thread")]
async fn entries_of_one_order_are_taken_in_one_after_the_other() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let handler = StockHandler::new(actor.clone());
    let told: [fn(OrderId) -> StockEvent; 4] = [
        StockEvent::Released,
        StockEvent::CommitRefused,
        StockEvent::Released,
        StockEvent::CommitRefused,
    ];
    let (together, singly) = (too_late(&actor).await, too_late(&actor).await);
    let bystander = placed(&actor, 1).await;
    let mut batch = Vec::new();
    for event in told {
        batch.push(shop.stock(&event(together.id)).await);
        batch.push(shop.stock(&reserved(&bystander)).await);
        let alone = shop.stock(&event(singly.id)).await;
        assert_eq!(handler.handle(&[alone]).await, [Outcome::Done]);
    }
    assert_eq!(handler.handle(&batch).await, vec![Outcome::Done; 8]);
    let (left, right) = (order(&actor, together.id).await, order(&actor, singly.id).await);
    let what_matters = |order: &Order| {
        (
            order.state,
            order.version,
            order.reason,
            order.stock_settled,
            order.refunded,
            order.refund_open,
            order.refunds.len(),
            order.attempts,
        )
    };
    assert_eq!(what_matters(&left), what_matters(&right));
    assert_eq!(shop.told(together.id).await, shop.told(singly.id).await);
    assert_eq!(shop.asked(together.id).await, shop.asked(singly.id).await);
    assert_eq!(shop.asked(bystander.id).await, ["charge"]);
    for id in [together.id, singly.id] {
        let order = order(&actor, id).await;
        let refund = order.refunds[0];
        actor
            .act(id, &Happening::Refund(refund, RefundAnswer::Succeeded))
            .await
            .unwrap();
        assert_eq!(support::order(&actor, id).await.state, State::Refunded);
    }
}

/// Two changes of one order become one: when somebody else is faster, neither is half there.
#[tokio::test(flavor = "multi_thread")]
async fn two_changes_of_one_order_meet_a_conflict_together() {
    let shop = Shop::start().await;
    let actor = shop.actor_with(&with_an_intruder(&shop));
    let handler = StockHandler::new(actor.clone());
    let order = too_late(&actor).await;
    // Too late, and nothing settled yet: the one notes it, the other asks for the money again.
    let entries = [
        shop.stock(&StockEvent::CommitRefused(order.id)).await,
        shop.stock(&StockEvent::Released(order.id)).await,
    ];
    be_faster(&shop, order.id, 3).await;
    let outcomes = handler.handle(&entries).await;
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Outcome::RetryAfter(_))),
        "{outcomes:?}"
    );
    let unchanged = support::order(&actor, order.id).await;
    assert_eq!(unchanged.version, order.version + 3);
    assert_eq!(
        Order {
            version: order.version,
            ..unchanged
        },
        order
    );
    assert_eq!(handler.handle(&entries).await, [Outcome::Done, Outcome::Done]);
    assert!(support::order(&actor, order.id).await.stock_settled);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_entry_has_its_own_outcome() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let handler = StockHandler::new(actor.clone());
    let (good, broken, other) = (
        placed(&actor, 1).await,
        placed(&actor, 2).await,
        placed(&actor, 3).await,
    );
    redis::cmd("JSON.SET")
        .arg(shop.keys.order(broken.id))
        .arg("$.state")
        .arg("\"lost\"")
        .exec_async(&mut shop.harness().await)
        .await
        .unwrap();
    let good_entry = shop.stock(&reserved(&good)).await;
    // Other lines than the order's.
    let StockEvent::Reserved(mut foreign) = reserved(&good) else {
        unreachable!()
    };
    foreign.order_id = other.id;
    let entries = [
        Entry {
            fields: [("type", "stock.admired"), ("id", "1"), ("data", "{}")]
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            ..good_entry.clone()
        },
        Entry {
            fields: std::iter::empty().collect(),
            ..good_entry.clone()
        },
        shop.stock(&StockEvent::Committed(OrderId::generate())).await,
        shop.stock(&StockEvent::Committed(broken.id)).await,
        shop.stock(&StockEvent::Reserved(foreign)).await,
        good_entry,
        shop.stock(&reserved(&other)).await,
    ];
    assert_eq!(
        handler.handle(&entries).await,
        [
            Outcome::Reject("unknown-type"),
            Outcome::Reject("malformed"),
            Outcome::Reject("no-such-document"),
            Outcome::Retry,
            Outcome::Reject("refused"),
            Outcome::Done,
            Outcome::Done,
        ]
    );
    assert_eq!(order(&actor, good.id).await.state, State::Reserved);
    assert_eq!(order(&actor, other.id).await.state, State::Reserved);
}

/// A Redis that forgot the scripts, by a restart, is sent them again in the middle of a batch.
#[tokio::test(flavor = "multi_thread")]
async fn forgotten_scripts_are_sent_again() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let handler = StockHandler::new(actor.clone());
    let mut entries = Vec::new();
    for _ in 0..5 {
        entries.push(shop.stock(&reserved(&placed(&actor, 1).await)).await);
    }
    redis::cmd("SCRIPT")
        .arg("FLUSH")
        .exec_async(&mut shop.harness().await)
        .await
        .unwrap();
    assert_eq!(handler.handle(&entries).await, vec![Outcome::Done; 5]);
    assert_eq!(shop.entries(&shop.keys.payments_jobs()).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_due_orders_take_a_few_round_trips() {
    let shop = Shop::start().await;
    let actor = shop.actor(shopwright_domain::order::Policy {
        order_deadline: 0,
        ..patient()
    });
    for _ in 0..60 {
        placed(&actor, 1).await;
    }
    let calls = || async {
        let text: String = redis::cmd("INFO")
            .arg("stats")
            .query_async(&mut shop.harness().await)
            .await
            .unwrap();
        let reads = text
            .lines()
            .find_map(|line| line.strip_prefix("total_reads_processed:"));
        reads.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = calls().await;
    assert_eq!(sweep(&actor).await.unwrap(), 60);
    let after = calls().await;
    // Three, unless a reply or a request comes in pieces; one by one they would be more than 120.
    assert!(after - before < 30, "{}", after - before);
    for event in shop.entries(&shop.keys.payments_events()).await.iter().skip(60) {
        assert_eq!(event.fields.text("type"), Some("order.cancelled"));
    }
    assert_eq!(shop.entries(&shop.keys.payments_events()).await.len(), 120);
}
