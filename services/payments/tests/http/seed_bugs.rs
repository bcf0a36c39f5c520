//! What the shops that this one learned from got wrong at their API, each by its number in our notes; here it does not
//! happen.

use std::time::Duration;

use serde_json::{Value, json};
use shopwright_domain::ids::{OrderId, ProductId, RefundId};
use shopwright_domain::order::{RefundAnswer, State};
use shopwright_payments::act::Happening;

use crate::api::{Api, new_key, order_of, problem};
use crate::support::order;

/// A negative quantity added stock, and a fraction or a text was taken for a number.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s07_negative_quantity() {
    let api = Api::start().await;
    for quantity in [
        json!(-1),
        json!(0),
        json!(-2_147_483_648_i64),
        json!(4_294_967_297_i64),
        json!("1"),
        json!(0.5),
    ] {
        let body = json!({"lines": [{"product_id": ProductId::generate(), "quantity": quantity}]});
        let (status, _, said) = problem(api.caller.try_place(&body).await).await;
        assert_eq!(status, 422, "{body}");
        assert_eq!(said["errors"][0]["pointer"], "/lines/0/quantity");
    }
    // Two halves of a quantity that is too large for one line.
    let product = ProductId::generate();
    let half = json!({"product_id": product, "quantity": 6_000});
    assert_eq!(
        api.caller.try_place(&json!({"lines": [half, half]})).await.status(),
        422
    );
    assert_eq!(api.events().await, 0);
    api.running.stop().await;
}

/// The status was saved, and then the event appended: a crash between left a paid order that nobody fulfilled.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s08_order_without_its_event() {
    let api = Api::start().await;
    // The stream cannot be appended to: the order must not be stored either.
    let events = api.shop.keys.payments_events();
    let mut connection = api.shop.harness().await;
    let () = redis::pipe()
        .cmd("RENAME")
        .arg(&[&*events, "aside"])
        .ignore()
        .cmd("SET")
        .arg(&[&*events, "no stream"])
        .ignore()
        .query_async(&mut connection)
        .await
        .unwrap();
    let (key, body) = (new_key(), order_of(1));
    assert_eq!(api.caller.place_as(&key, &body).await.status(), 500);
    let orders = async || {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(format!("{}*", api.shop.keys.order_prefix()))
            .query_async(&mut api.shop.harness().await)
            .await
            .unwrap();
        keys.len()
    };
    assert_eq!(orders().await, 0);
    let () = redis::cmd("RENAME")
        .arg(&["aside", &events])
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(api.caller.place_as(&key, &body).await.status(), 202);
    assert_eq!((orders().await, api.events().await), (1, 1));
    api.running.stop().await;
}

/// One slow call inside a handler stalled every request, on a server of one thread.
#[tokio::test(flavor = "current_thread")]
async fn seed_s10_one_slow_dependency_stalls_all() {
    let mut api = Api::start().await;
    // A provider that takes a minute, and an inventory that never answers.
    let provider = api.shop.provider(Duration::from_secs(60));
    api.running.payments(&api.shop, &api.state.actor, &provider);
    let placed = api.caller.place().await;
    api.reserve(placed.id).await;
    let charging = crate::support::eventually("charging", || async {
        let order = order(&api.state.actor, placed.id).await;
        (order.state == State::Charging).then_some(order)
    });
    charging.await;
    for _ in 0..50 {
        let other = api.caller.place().await;
        assert_eq!(api.caller.read(&other).await["state"], "pending");
    }
    assert_eq!(api.caller.read(&placed).await["state"], "charging");
    // The minute is not waited for: whoever ends now leaves the charge to the next consumer.
}

/// A missing key of the body, or a product nobody knows, was a 500, or a 200 with an error in it.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s11_missing_body_keys() {
    let api = Api::start().await;
    for body in [
        json!({}),
        json!({"lines": null}),
        json!({"lines": [{}]}),
        json!({"lines": [{"quantity": 1}]}),
        json!({"lines": [{"product_id": ProductId::generate()}]}),
        json!([]),
        json!("lines"),
        json!({"id": "p1", "quantity": 1}),
    ] {
        let (status, code, _) = problem(api.caller.try_place(&body).await).await;
        assert_eq!((status, &*code), (422, "validation_failed"), "{body}");
    }
    let bare = api.caller.post("/v1/orders").send().await.unwrap();
    assert_eq!(bare.status(), 422);
    // An unknown product is no error of the request: inventory rejects the order, and says why.
    let placed = api.caller.place().await;
    let reason = shopwright_domain::events::RejectionReason::UnknownProduct;
    api.act(placed.id, shopwright_domain::order::Input::StockRejected(reason))
        .await;
    let view = api.caller.read(&placed).await;
    assert_eq!(
        (&view["state"], &view["reason"]),
        (&json!("rejected"), &json!("unknown_product"))
    );
    api.running.stop().await;
}

/// Money was a float, and neither fee nor total knew of the quantity.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s12_total_ignores_quantity() {
    let api = Api::start().await;
    let body = json!({"lines": [{"product_id": ProductId::generate(), "quantity": 7}]});
    let placed = crate::api::Placed::of(api.caller.try_place(&body).await).await;
    api.reserve(placed.id).await;
    let view = api.caller.read(&placed).await;
    // 7 x 333 = 2331; a fifth of it is 466.2.
    for (name, amount) in [("subtotal", 2_331), ("fee", 466), ("total", 2_797)] {
        assert_eq!(view[name], json!({"amount": amount, "currency": "EUR"}));
    }
    api.running.stop().await;
}

/// A refund looked at no state: one of an unpaid order was paid out, and a repeated one overwrote what came since.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s13_refund_without_a_look_at_the_state() {
    let api = Api::start().await;
    let pending = api.caller.place().await;
    for step in ["pending", "charging", "paid"] {
        match step {
            "charging" => drop(api.start_charging(pending.id).await),
            "paid" => {
                let charged = shopwright_domain::order::ChargeAnswer::Charged;
                api.act(pending.id, shopwright_domain::order::Input::Charge(charged))
                    .await;
            }
            _ => {}
        }
        let (status, code, _) = problem(api.caller.refund(&pending, &json!({})).await).await;
        assert_eq!((status, &*code), (409, "order_state_conflict"), "{step}");
    }
    let sold = api.completed().await;
    let key = new_key();
    let refund: Value = api
        .caller
        .refund_as(&key, &sold, &json!({}))
        .await
        .json()
        .await
        .unwrap();
    let id: RefundId = refund["id"].as_str().unwrap().parse().unwrap();
    for _ in 0..2 {
        let answer = Happening::Refund(id, RefundAnswer::Succeeded);
        api.state.actor.act(sold.id, &answer).await.unwrap();
        api.caller.refund_as(&key, &sold, &json!({})).await;
        let order = order(&api.state.actor, sold.id).await;
        assert_eq!(
            (order.state, order.refunded, order.refunds.len()),
            (State::Refunded, order.captured, 1)
        );
    }
    api.running.stop().await;
}

/// Ids changed with each start of the process, and an unknown one was a 500.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s15_unknown_id_is_an_error_of_ours() {
    let mut api = Api::start().await;
    let placed = api.caller.place().await;
    let restarted = api.rotated(crate::api::OLD_KEY).await;
    assert_eq!(restarted.read(&placed).await["id"], json!(placed.id));
    for id in [
        OrderId::generate().to_string(),
        "0".into(),
        "%00".into(),
        "..%2F..".into(),
    ] {
        let response = api.caller.get_as_staff(&format!("/v1/orders/{id}")).await;
        assert_eq!(problem(response).await.0, 404, "{id}");
    }
    api.running.stop().await;
}
