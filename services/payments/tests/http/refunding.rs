//! Money that goes back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shopwright_domain::access::User;
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::money::{Amount, MAX_MINOR_UNITS};
use shopwright_domain::order::{Input, RefundAnswer, RefundRequest, State};
use shopwright_payments::act::Happening;
use shopwright_payments::store::{ADVANCE, Store};

use crate::api::{ADMIN_KEY, Api, Placed, new_key, problem};
use crate::support::{Inventory, Shop, at_rest, order, patient};

/// Of one piece at 333 and 20 %.
const TOTAL: i64 = 400;

fn euros(amount: i64) -> Value {
    json!({"amount": amount, "currency": "EUR"})
}

async fn accepted(api: &Api, placed: &Placed, body: &Value) -> Value {
    let response = api.caller.refund(placed, body).await;
    assert_eq!(response.status(), 202, "{body}");
    response.json().await.unwrap()
}

async fn answer(api: &Api, placed: &Placed, refund: &Value, answer: RefundAnswer) {
    let id: RefundId = refund["id"].as_str().unwrap().parse().unwrap();
    let happening = Happening::Refund(id, answer);
    api.state.actor.act(placed.id, &happening).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_and_the_rest_go_back_and_the_books_agree() {
    let api = Api::start().await;
    let placed = api.completed().await;
    let part = accepted(&api, &placed, &json!({"amount": euros(150), "reason": "a scratch"})).await;
    assert_eq!(part["state"], "requested");
    assert_eq!((&part["amount"], &part["reason"]), (&euros(150), &json!("a scratch")));
    assert_eq!(part["order_id"], json!(placed.id));
    let view = api.caller.read(&placed).await;
    assert_eq!(
        (&view["state"], &view["refund_open"]),
        (&json!("completed"), &euros(150))
    );
    assert!(view.get("refunded").is_none());

    // What is on its way already cannot go twice.
    let (status, code, _) = problem(api.caller.refund(&placed, &json!({"amount": euros(251)})).await).await;
    assert_eq!((status, &*code), (422, "refund_exceeds_captured"));
    let refused = accepted(&api, &placed, &json!({"amount": euros(250)})).await;
    let (_, code, _) = problem(api.caller.refund(&placed, &json!({})).await).await;
    assert_eq!(code, "refund_exceeds_captured", "nothing is left");
    answer(&api, &placed, &part, RefundAnswer::Succeeded).await;
    answer(&api, &placed, &refused, RefundAnswer::Failed).await;
    let rest = accepted(&api, &placed, &json!({})).await;
    assert_eq!(rest["amount"], euros(250));
    assert!(rest.get("reason").is_none());
    answer(&api, &placed, &rest, RefundAnswer::Succeeded).await;

    let view = api.caller.read(&placed).await;
    assert_eq!((&view["state"], &view["refunded"]), (&json!("refunded"), &euros(TOTAL)));
    assert!(view.get("refund_open").is_none());
    let (status, code, _) = problem(api.caller.refund(&placed, &json!({"amount": euros(1)})).await).await;
    assert_eq!((status, &*code), (409, "order_state_conflict"));

    let path = |tail: &str| format!("{}{tail}", placed.path);
    let refunds: Value = api
        .caller
        .get_with(&path("/refunds"), &placed.token)
        .await
        .json()
        .await
        .unwrap();
    let of = |name: &str| -> Vec<Value> {
        let items = refunds["items"].as_array().unwrap().iter();
        items.map(|item| item[name].clone()).collect()
    };
    assert_eq!(
        of("id"),
        [part["id"].clone(), refused["id"].clone(), rest["id"].clone()]
    );
    assert_eq!(of("state"), ["succeeded", "failed", "succeeded"]);

    let timeline: Value = api
        .caller
        .get_with(&path("/timeline"), &placed.token)
        .await
        .json()
        .await
        .unwrap();
    let items = timeline["items"].as_array().unwrap();
    let words: Vec<_> = items
        .iter()
        .map(|item| item.get("state").unwrap_or(&item["kind"]).as_str().unwrap())
        .collect();
    assert_eq!(
        words,
        [
            "pending",
            "reserved",
            "charging",
            "capture",
            "paid",
            "completed",
            "refund",
            "refund",
            "refunded"
        ]
    );
    assert!(items.is_sorted_by_key(|item| item["at"].as_str().unwrap().to_owned()));
    let money: Vec<_> = items.iter().filter_map(|item| item.get("amount")).collect();
    assert_eq!(money, [&euros(TOTAL), &euros(150), &euros(250)]);
    assert_eq!(items[6]["refund_id"], part["id"]);
    api.running.stop().await;
}

/// With everybody at work: consumers, sweeper, inventory and the provider's own book.
#[tokio::test(flavor = "multi_thread")]
async fn from_a_post_to_refunded() {
    let mut api = Api::start().await;
    let inventory = Arc::new(Inventory::default());
    api.running.inventory(&api.shop, &inventory);
    let provider = api.shop.provider(Duration::ZERO);
    api.running.payments(&api.shop, &api.state.actor, &provider);
    api.running.sweeper(&api.state.actor);
    let placed = api.caller.place().await;
    at_rest(&api.state.actor, placed.id, State::Completed).await;
    // The first refund's answer gets lost on its way: it is asked for again, under the same key.
    api.shop.inject("effect_then_timeout").await;
    accepted(&api, &placed, &json!({"amount": euros(150)})).await;
    accepted(&api, &placed, &json!({})).await;
    let order = at_rest(&api.state.actor, placed.id, State::Refunded).await;
    assert_eq!(order.refunded.minor_units(), TOTAL);
    let (_, captured, refunded) = api.shop.book(placed.id).await;
    assert_eq!((captured, refunded), (TOTAL, TOTAL));
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_refund_is_said_and_nothing_goes_back() {
    let api = Api::start().await;
    let placed = api.completed().await;
    let before = api.caller.read(&placed).await;
    let dollars = json!({"amount": {"amount": 1, "currency": "USD"}});
    for (body, code, pointer) in [
        (dollars.clone(), "validation_failed", "/amount/currency"),
        (json!({"amount": euros(0)}), "validation_failed", "/amount/amount"),
        (json!({"amount": euros(-1)}), "validation_failed", "/amount/amount"),
        (
            json!({"amount": {"amount": 1.5, "currency": "EUR"}}),
            "validation_failed",
            "/amount/amount",
        ),
        (
            json!({"amount": euros(MAX_MINOR_UNITS + 1)}),
            "validation_failed",
            "/amount/amount",
        ),
        (json!({"amount": {"amount": 1}}), "validation_failed", "/amount"),
        (json!({"amount": 1}), "validation_failed", "/amount"),
        (json!({"reason": "é".repeat(201)}), "validation_failed", "/reason"),
        (json!({"to": "me"}), "validation_failed", "/to"),
    ] {
        let (status, said, problem) = problem(api.caller.refund(&placed, &body).await).await;
        assert_eq!((status, &*said), (422, code), "{body}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    let (_, _, problem_of_currency) = problem(api.caller.refund(&placed, &dollars).await).await;
    assert_eq!(problem_of_currency["errors"][0]["code"], "currency_mismatch");
    let (status, code, _) = problem(
        api.caller
            .refund(&placed, &json!({"amount": euros(MAX_MINOR_UNITS)}))
            .await,
    )
    .await;
    assert_eq!((status, &*code), (422, "refund_exceeds_captured"));

    let path = format!("{}/refunds", placed.path);
    let shopper = api.caller.post(&path).header("order-token", &placed.token);
    assert_eq!(problem(shopper.send().await.unwrap()).await.1, "unauthenticated");
    let without = api.caller.request(&path).bearer_auth(ADMIN_KEY);
    assert_eq!(
        problem(without.send().await.unwrap()).await.1,
        "idempotency_key_missing"
    );
    let nobody = format!("/v1/orders/{}/refunds", OrderId::generate());
    for body in [json!({}), json!({"amount": euros(1)})] {
        let unknown = api.caller.post(&nobody).bearer_auth(ADMIN_KEY).json(&body);
        assert_eq!(problem(unknown.send().await.unwrap()).await.1, "not_found");
    }
    let pending = api.caller.place().await;
    let (status, code, _) = problem(api.caller.refund(&pending, &json!({})).await).await;
    assert_eq!((status, &*code), (409, "order_state_conflict"));
    assert_eq!(api.caller.read(&placed).await, before);

    // At the edges: 200 characters, and no body at all.
    accepted(&api, &placed, &json!({"amount": euros(1), "reason": "é".repeat(200)})).await;
    let bare = api.caller.post(&path).bearer_auth(ADMIN_KEY).send().await.unwrap();
    assert_eq!(bare.status(), 202);
    assert_eq!(bare.json::<Value>().await.unwrap()["amount"], euros(TOTAL - 1));
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn different_refunds_at_once_never_exceed_what_was_captured() {
    let api = Api::start().await;
    let placed = api.completed().await;
    let body = json!({"amount": euros(150)});
    let replies = futures::future::join_all((0..8).map(|_| async {
        // One that met seven others may be asked to come again; it does, as its caller.
        let key = new_key();
        loop {
            let response = api.caller.refund_as(&key, &placed, &body).await;
            if response.status() != 503 {
                return response.status().as_u16();
            }
        }
    }))
    .await;
    let count = |status: u16| replies.iter().filter(|reply| **reply == status).count();
    assert_eq!((count(202), count(422)), (2, 6), "{replies:?}");
    let order = order(&api.state.actor, placed.id).await;
    assert_eq!(order.refund_open.minor_units(), 300);
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_has_so_many_refunds_and_no_more() {
    let api = Api::start().await;
    let placed = api.completed().await;
    for _ in 0..100 {
        let wish = RefundRequest {
            id: RefundId::generate(),
            amount: Some(Amount::new(1).unwrap()),
            reason: None,
        };
        api.act(placed.id, Input::RefundRequested(wish)).await;
    }
    let (status, code, _) = problem(api.caller.refund(&placed, &json!({})).await).await;
    assert_eq!((status, &*code), (409, "too_many_refunds"));
    let list = api
        .caller
        .get_with(&format!("{}/refunds", placed.path), &placed.token)
        .await;
    let list: Value = list.json().await.unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 100);
    api.running.stop().await;
}

/// No refund of this shop can be read: a reply that needed to would say that something failed, with the refund on its way.
#[tokio::test(flavor = "multi_thread")]
async fn the_reply_tells_what_was_stored_without_reading_it() {
    let shop = Shop::start().await;
    let stored = "redis.call('JSON.SET', KEYS[5], '$', ARGV[4])";
    let unreadable = ADVANCE.replace(stored, "redis.call('JSON.SET', KEYS[5], '$', '{}')");
    assert_ne!(unreadable, ADVANCE);
    let mut actor = shop.actor(patient());
    actor.store = Store::with_advance(shop.redis(User::Payments), shop.keys.clone(), &unreadable);
    let api = Api::with(shop, actor, |_| {}).await;
    let placed = api.completed().await;
    let refund = accepted(&api, &placed, &json!({"reason": "a scratch"})).await;
    let id = order(&api.state.actor, placed.id).await.refunds[0];
    assert_eq!((&refund["id"], &refund["order_id"]), (&json!(id), &json!(placed.id)));
    assert_eq!(
        (&refund["state"], &refund["amount"], &refund["reason"]),
        (&json!("requested"), &euros(TOTAL), &json!("a scratch"))
    );
    assert_eq!(refund["created_at"], refund["updated_at"]);
    assert!(api.state.actor.store.refunds(&[id]).await.is_err());
    api.running.stop().await;
}
