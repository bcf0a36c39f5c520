//! Orders from beginning to end, with consumers, sweeper, provider and a small inventory, on a real Redis under the real
//! ACL users.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shopwright_domain::order::{Input, Policy, Reason, RefundState, State};
use shopwright_domain::reservation::Reservation;
use shopwright_payments::act::Happening;
use shopwright_payments::provider::Provider;
use support::{Inventory, Running, Shop, at_rest, eventually, order, patient, placed};

const NO_TIME: Duration = Duration::ZERO;

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_completed_declined_and_rejected() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let inventory = Arc::new(Inventory::default());
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    running.payments(&shop, &actor, &shop.provider(NO_TIME));
    running.sweeper(&actor);

    let good = placed(&actor, 3).await;
    let dear = placed(&actor, 1_000).await;
    let many = placed(&actor, 5_000).await;

    let good = at_rest(&actor, good.id, State::Completed).await;
    // 3 x 333, and 20 % of it half up.
    assert_eq!(
        (good.total.unwrap().minor_units(), good.captured.minor_units()),
        (1_199, 1_199)
    );
    assert_eq!(shop.book(good.id).await, (Some("charged".into()), 1_199, 0));
    assert_eq!(inventory.reservation(good.id), Reservation::Committed);

    let dear = at_rest(&actor, dear.id, State::Declined).await;
    assert_eq!((dear.reason, dear.captured.minor_units()), (Some(Reason::Declined), 0));
    assert_eq!(shop.book(dear.id).await, (Some("declined".into()), 0, 0));
    assert_eq!(inventory.reservation(dear.id), Reservation::Released);

    let many = at_rest(&actor, many.id, State::Rejected).await;
    assert_eq!(many.reason, Some(Reason::InsufficientStock));
    assert_eq!(shop.book(many.id).await, (None, 0, 0));

    for entry in shop.entries(&shop.keys.payments_events()).await {
        assert_eq!(entry.fields.text("request_id"), Some("request-1"));
        assert!(
            entry
                .fields
                .text("traceparent")
                .unwrap()
                .starts_with("00-0af7651916cd43dd")
        );
        assert!(entry.fields.text("time").unwrap().ends_with('Z'));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_provider_does_one_charge_is_concluded() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let inventory = Arc::new(Inventory::default());
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    running.payments(&shop, &actor, &shop.provider(NO_TIME));
    running.sweeper(&actor);
    for fault in ["effect_then_timeout", "busy"] {
        shop.inject(fault).await;
        shop.inject(fault).await;
        let id = placed(&actor, 1).await.id;
        let done = at_rest(&actor, id, State::Completed).await;
        assert_eq!(
            shop.book(id).await,
            (Some("charged".into()), done.captured.minor_units(), 0),
            "{fault}"
        );
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_repeats_its_failure_for_ever_is_stopped_at_the_deadline() {
    let shop = Shop::start().await;
    let actor = shop.actor(Policy {
        order_deadline: 1_500,
        ..patient()
    });
    let inventory = Arc::new(Inventory::default());
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    running.payments(&shop, &actor, &shop.provider(NO_TIME));
    shop.inject("stored_error").await;
    let id = placed(&actor, 1).await.id;
    // Only now, so that the deadline cannot pass before the charge.
    eventually("charging", || async {
        (order(&actor, id).await.state == State::Charging).then_some(())
    })
    .await;
    running.sweeper(&actor);
    let ended = at_rest(&actor, id, State::Cancelled).await;
    assert_eq!((ended.reason, ended.stop), (Some(Reason::Deadline), true));
    assert_eq!(shop.book(id).await, (Some("stopped".into()), 0, 0));
    assert_eq!(inventory.reservation(id), Reservation::Released);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_commit_is_refunded_in_full() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let inventory = Arc::new(Inventory::default());
    inventory.forgets.store(true, Ordering::Relaxed);
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    running.payments(&shop, &actor, &shop.provider(NO_TIME));
    running.sweeper(&actor);
    for faults in [&[][..], &["", "effect_then_timeout"], &["", "busy", "stored_error"]] {
        for fault in faults {
            shop.inject(fault).await;
        }
        let id = placed(&actor, 2).await.id;
        let ended = at_rest(&actor, id, State::Refunded).await;
        assert_eq!((ended.refunded, ended.refund_open.minor_units()), (ended.captured, 0));
        let captured = ended.captured.minor_units();
        assert_eq!(
            shop.book(id).await,
            (Some("charged".into()), captured, captured),
            "{faults:?}"
        );
        let refunds = actor.store.refunds(&ended.refunds).await.unwrap();
        assert_eq!(refunds.len(), 1);
        assert_eq!(
            (refunds[0].state, refunds[0].amount),
            (RefundState::Succeeded, ended.captured)
        );
    }
    running.stop().await;
}

/// A refusal is for ever under its key, so what the shopper is owed is asked for again under another.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_refused_refund_another_one_gives_the_money_back() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let inventory = Arc::new(Inventory::default());
    inventory.forgets.store(true, Ordering::Relaxed);
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    running.payments(&shop, &actor, &shop.provider(NO_TIME));
    running.sweeper(&actor);
    for fault in ["", "refused", "refused"] {
        shop.inject(fault).await;
    }
    let id = placed(&actor, 2).await.id;
    let ended = at_rest(&actor, id, State::Refunded).await;
    let refunds = actor.store.refunds(&ended.refunds).await.unwrap();
    let states: Vec<_> = refunds.iter().map(|refund| refund.state).collect();
    assert_eq!(
        states,
        [RefundState::Failed, RefundState::Failed, RefundState::Succeeded]
    );
    let captured = ended.captured.minor_units();
    assert_eq!(shop.book(id).await, (Some("charged".into()), captured, captured));
    assert_eq!(actor.metrics.refunds_refused.get(), 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn called_off_while_being_charged_it_ends_stopped_or_refunded() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let inventory = Arc::new(Inventory::default());
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    running.payments(&shop, &actor, &shop.provider(Duration::from_millis(60)));
    running.sweeper(&actor);
    let (mut cancelled, mut refunded) = (0, 0);
    for delay in 0..12 {
        let id = placed(&actor, 1).await.id;
        let charging = || async { (order(&actor, id).await.state != State::Pending).then_some(()) };
        eventually("no longer pending", charging).await;
        tokio::time::sleep(Duration::from_millis(delay * 8)).await;
        let cancelled_in_time = actor.act(id, &Happening::Input(Input::Cancel)).await.is_ok();
        let ended = eventually("an end", || async {
            let order = order(&actor, id).await;
            (order.state.is_terminal() && order.due_at.is_none()).then_some(order)
        })
        .await;
        let (state, captured, back) = shop.book(id).await;
        match ended.state {
            State::Cancelled => {
                assert!(matches!(state.as_deref(), None | Some("stopped")) && captured == 0);
                assert!(matches!(
                    inventory.reservation(id),
                    Reservation::Released | Reservation::Tombstone
                ));
                cancelled += 1;
            }
            State::Refunded => {
                assert!(captured > 0 && captured == back);
                assert_eq!(inventory.reservation(id), Reservation::Released);
                refunded += 1;
            }
            State::Completed => assert!(!cancelled_in_time && captured > 0 && back == 0),
            other => panic!("{other:?}"),
        }
    }
    println!("cancelled {cancelled}, refunded {refunded} of 12");
    running.stop().await;
}

/// Both ways of the race, without leaving it to time.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_comes_after_the_charge_finds_it_charged() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let provider = shop.provider(NO_TIME);
    let inventory = Arc::new(Inventory::default());
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    for charged_first in [true, false] {
        let order = placed(&actor, 1).await;
        actor.act(order.id, &support::reserving(&order)).await.unwrap();
        let order = actor
            .act(order.id, &Happening::Input(Input::ChargeStarting))
            .await
            .unwrap();
        assert!(order.may_charge());
        let money = shopwright_domain::money::Money {
            amount: order.total.unwrap(),
            currency: order.currency,
        };
        if charged_first {
            provider.charge(order.id, money).await;
        }
        let order = actor.act(order.id, &Happening::Input(Input::Cancel)).await.unwrap();
        assert!(order.stop && !order.may_charge());
        let answer = provider.stop(order.id).await;
        actor
            .act(order.id, &Happening::Input(Input::Charge(answer)))
            .await
            .unwrap();
        // The charge that was under way arrives at last, and is refused.
        let late = provider.charge(order.id, money).await;
        assert_eq!(late, answer);
        actor
            .act(order.id, &Happening::Input(Input::Charge(late)))
            .await
            .unwrap();
        let mut consumers = Running::new();
        consumers.payments(&shop, &actor, &provider);
        consumers.sweeper(&actor);
        let end = if charged_first {
            State::Refunded
        } else {
            State::Cancelled
        };
        at_rest(&actor, order.id, end).await;
        let (_, captured, back) = shop.book(order.id).await;
        assert_eq!((captured, back), if charged_first { (400, 400) } else { (0, 0) });
        consumers.stop().await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_consumers_at_zero_the_sweeper_ends_orders_and_wakes_consumers() {
    let shop = Shop::start().await;
    let actor = shop.actor(Policy {
        order_deadline: 200,
        ..patient()
    });
    let mut sweepers = Running::new();
    for _ in 0..3 {
        sweepers.sweeper(&actor);
    }
    let mut orders = Vec::new();
    for _ in 0..20 {
        orders.push(placed(&actor, 1).await.id);
    }
    for id in &orders {
        eventually("cancelled", || async {
            (order(&actor, *id).await.state == State::Cancelled).then_some(())
        })
        .await;
    }
    // Three sweepers, and still one change: placed, cancelled, and reminders of it.
    for id in &orders {
        let order = order(&actor, *id).await;
        assert_eq!(order.timeline.len(), 2);
    }
    let inventory = Arc::new(Inventory::default());
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    running.payments(&shop, &actor, &shop.provider(NO_TIME));
    for id in orders {
        at_rest(&actor, id, State::Cancelled).await;
        assert_ne!(inventory.reservation(id), Reservation::Reserved);
    }
    running.stop().await;
    sweepers.stop().await;
}
