//! Calling an order off.

use serde_json::{Value, json};
use shopwright_domain::order::{ChargeAnswer, Input, State};

use crate::api::{ADMIN_KEY, Api, Placed, new_key, problem};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_called_off_where_no_money_moved() {
    let api = Api::start().await;
    for is_reserved in [false, true] {
        let placed = api.caller.place().await;
        if is_reserved {
            api.reserve(placed.id).await;
        }
        let response = api.caller.cancel(&placed).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["cache-control"]),
            (202, &"no-store".parse().unwrap())
        );
        let order: Value = response.json().await.unwrap();
        assert_eq!(
            (&order["state"], &order["reason"]),
            (&json!("cancelled"), &json!("shopper"))
        );
        let event = api.shop.entries(&api.shop.keys.payments_events()).await.pop().unwrap();
        assert_eq!(event.fields.text("type"), Some("order.cancelled"));

        // Once more, under another key: nothing to do, and nothing done.
        let again = api.caller.cancel(&placed).await;
        assert_eq!(again.status(), 202);
        assert_eq!(again.json::<Value>().await.unwrap(), order);
    }
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_charged_an_order_is_stopped_and_its_end_tells() {
    let api = Api::start().await;
    for (answer, end) in [
        (ChargeAnswer::Stopped, State::Cancelled),
        (ChargeAnswer::Declined, State::Declined),
        (ChargeAnswer::Charged, State::Paid),
    ] {
        let placed = api.caller.place().await;
        api.start_charging(placed.id).await;
        let order: Value = api.caller.cancel(&placed).await.json().await.unwrap();
        assert_eq!(order["state"], "charging");
        let again = api.caller.cancel(&placed).await;
        assert_eq!(again.json::<Value>().await.unwrap()["version"], order["version"]);
        let ended = api.act(placed.id, Input::Charge(answer)).await;
        assert_eq!(ended.state, end);
        let view = api.caller.read(&placed).await;
        if end == State::Paid {
            assert_eq!(view["refund_open"], view["captured"]);
        }
    }
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paid_or_over_is_not_called_off() {
    let api = Api::start().await;
    let (paid, sold, rejected) = (
        api.caller.place().await,
        api.completed().await,
        api.caller.place().await,
    );
    api.pay(paid.id).await;
    let reason = shopwright_domain::events::RejectionReason::InsufficientStock;
    api.act(rejected.id, Input::StockRejected(reason)).await;
    for placed in [&paid, &sold, &rejected] {
        let before = api.caller.read(placed).await;
        let (status, code, problem) = problem(api.caller.cancel(placed).await).await;
        assert_eq!((status, &*code), (409, "order_state_conflict"));
        let state = before["state"].as_str().unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(state));
        assert_eq!(api.caller.read(placed).await, before);
    }
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_says_nothing_but_its_key() {
    let api = Api::start().await;
    let placed = api.caller.place().await;
    let request = |placed: &Placed| {
        let request = api.caller.post(&format!("{}/cancel", placed.path));
        request.header("order-token", &placed.token)
    };
    let without = api.caller.request(&format!("{}/cancel", placed.path));
    let without = without.header("order-token", &placed.token).send().await.unwrap();
    assert_eq!(problem(without).await.1, "idempotency_key_missing");
    let (status, code, said) = problem(request(&placed).json(&json!({"why": "so"})).send().await.unwrap()).await;
    assert_eq!(
        (status, &*code, &said["errors"][0]["pointer"]),
        (422, "validation_failed", &json!("/why"))
    );
    let untyped = request(&placed).body("{}").send().await.unwrap();
    assert_eq!(problem(untyped).await.1, "unsupported_media_type");
    assert_eq!(api.caller.read(&placed).await["state"], "pending");
    assert_eq!(request(&placed).json(&json!({})).send().await.unwrap().status(), 202);

    // Whoever has the token or the admin key needs no unguessable one.
    let other = api.caller.place().await;
    assert_eq!(api.caller.cancel_as("1", &other).await.status(), 202);
    let staff = api.caller.request(&format!("{}/cancel", api.caller.place().await.path));
    let staff = staff.header("idempotency-key", new_key()).bearer_auth(ADMIN_KEY);
    assert_eq!(staff.send().await.unwrap().status(), 202);
    api.running.stop().await;
}
