//! Requests that come more than once have their effect once.

use futures::future::join_all;
use reqwest::Response;
use serde_json::{Value, json};
use shopwright_domain::order::{ChargeAnswer, Input, State};

use crate::api::{ADMIN_KEY, Api, NEW_KEY, OLD_KEY, Placed, is_replay, new_key, order_of, problem};

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_order_is_answered_with_the_very_bytes_of_the_first() {
    let mut api = Api::start().await;
    let (key, body) = (new_key(), order_of(2));
    let first = api.caller.place_as(&key, &body).await;
    assert!(!is_replay(&first));
    let (location, text) = parts(first).await;

    let id = serde_json::from_str::<Value>(&text).unwrap()["id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let rotated = api.rotated(&format!("{NEW_KEY},{OLD_KEY}")).await;
    api.complete(id).await;
    for caller in [&api.caller, &rotated] {
        let again = caller.place_as(&key, &body).await;
        assert_eq!(again.status(), 202);
        assert!(is_replay(&again));
        assert_eq!(again.headers()["cache-control"], "no-store");
        assert_eq!(parts(again).await, (location.clone(), text.clone()));
    }
    let quoted = api.caller.place_as(&format!("\"{key}\""), &body).await;
    assert_eq!(parts(quoted).await, (location, text));

    let (status, code, _) = problem(api.caller.place_as(&key, &order_of(2)).await).await;
    assert_eq!((status, &*code), (422, "idempotency_key_reused"));
    // Other bytes are another body, even if they say the same.
    let spaced = api.caller.request("/v1/orders").header("idempotency-key", &key);
    let spaced = spaced
        .header("content-type", "application/json")
        .body(format!("{body} "));
    assert_eq!(problem(spaced.send().await.unwrap()).await.1, "idempotency_key_reused");
    assert_eq!(api.caller.place_as(&new_key(), &body).await.status(), 202);
    assert_eq!(placed_events(&api).await, 2);
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_keys_at_once_place_one_order() {
    let api = Api::start().await;
    for _ in 0..5 {
        let (key, body) = (new_key(), order_of(1));
        let before = placed_events(&api).await;
        let replies = join_all((0..20).map(|_| api.caller.place_as(&key, &body))).await;
        assert_eq!(replies.iter().filter(|reply| !is_replay(reply)).count(), 1);
        let mut parts = join_all(replies.into_iter().map(parts)).await;
        parts.dedup();
        assert_eq!(parts.len(), 1);
        assert_eq!(placed_events(&api).await, before + 1);
    }
    api.running.stop().await;
}

/// Half of them say something else: whichever is first wins, and the others are told.
#[tokio::test(flavor = "multi_thread")]
async fn equal_keys_with_other_bodies_at_once_place_one_order() {
    let api = Api::start().await;
    let (key, bodies) = (new_key(), [order_of(1), order_of(1)]);
    let requests = (0..20).map(|number| api.caller.place_as(&key, &bodies[number % 2]));
    let replies = join_all(requests).await;
    let accepted = replies.iter().filter(|reply| reply.status() == 202).count();
    let refused = replies.iter().filter(|reply| reply.status() == 422).count();
    assert_eq!((accepted, refused), (10, 10));
    assert_eq!(placed_events(&api).await, 1);
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_cancel_is_known_whatever_became_of_the_order() {
    let api = Api::start().await;
    let placed = api.caller.place().await;
    api.start_charging(placed.id).await;
    let key = new_key();
    let first = api.caller.cancel_as(&key, &placed).await;
    assert_eq!((first.status().as_u16(), is_replay(&first)), (202, false));
    let order: Value = first.json().await.unwrap();
    assert_eq!(
        (&order["state"], &order["reason"]),
        (&json!("charging"), &json!("shopper"))
    );

    // Too late: the money moved, and goes back. A new wish to cancel is refused, the old one was granted.
    api.act(placed.id, Input::Charge(ChargeAnswer::Charged)).await;
    assert_eq!(
        problem(api.caller.cancel(&placed).await).await.1,
        "order_state_conflict"
    );
    let again = api.caller.cancel_as(&key, &placed).await;
    assert_eq!((again.status().as_u16(), is_replay(&again)), (202, true));
    let order: Value = again.json().await.unwrap();
    assert_eq!(order["state"], "paid");

    // Granted to somebody who found it called off already: that stays granted, too.
    let twice = api.caller.place().await;
    api.caller.cancel(&twice).await;
    let key_of_another = new_key();
    for is_repeated in [false, true] {
        let reply = api.caller.cancel_as(&key_of_another, &twice).await;
        assert_eq!((reply.status().as_u16(), is_replay(&reply)), (202, is_repeated));
    }

    let other_body = api
        .caller
        .request(&format!("{}/cancel", placed.path))
        .header("idempotency-key", &key)
        .header("order-token", &placed.token)
        .header("content-type", "application/json")
        .body("{ }");
    assert_eq!(
        problem(other_body.send().await.unwrap()).await.1,
        "idempotency_key_reused"
    );
    // Of another caller, or for another order, the same key is another one.
    let staff = api.caller.request(&format!("{}/cancel", placed.path));
    let staff = staff.header("idempotency-key", &key).bearer_auth(ADMIN_KEY).body("");
    assert_eq!(problem(staff.send().await.unwrap()).await.1, "order_state_conflict");
    let other = api.caller.place().await;
    let cancelled = api.caller.cancel_as(&key, &other).await;
    assert_eq!((cancelled.status().as_u16(), is_replay(&cancelled)), (202, false));
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_cancels_at_once_are_one() {
    let api = Api::start().await;
    for _ in 0..5 {
        let placed = api.caller.place().await;
        let key = new_key();
        let replies = join_all((0..10).map(|_| api.caller.cancel_as(&key, &placed))).await;
        assert!(replies.iter().all(|reply| reply.status() == 202));
        assert_eq!(replies.iter().filter(|reply| !is_replay(reply)).count(), 1);
        let order = crate::support::order(&api.state.actor, placed.id).await;
        assert_eq!((order.state, order.version), (State::Cancelled, 2));
    }
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_refunds_at_once_send_the_money_back_once() {
    let api = Api::start().await;
    for body in [json!({}), json!({"amount": {"amount": 300, "currency": "EUR"}})] {
        let placed = api.completed().await;
        let key = new_key();
        let replies = join_all((0..10).map(|_| api.caller.refund_as(&key, &placed, &body))).await;
        assert!(replies.iter().all(|reply| reply.status() == 202));
        assert_eq!(replies.iter().filter(|reply| !is_replay(reply)).count(), 1);
        let texts = join_all(replies.into_iter().map(Response::text)).await;
        let mut texts: Vec<_> = texts.into_iter().map(Result::unwrap).collect();
        texts.dedup();
        assert_eq!(texts.len(), 1);

        let order = crate::support::order(&api.state.actor, placed.id).await;
        assert_eq!(order.refunds.len(), 1);
        let answer = shopwright_domain::order::RefundAnswer::Succeeded;
        let happening = shopwright_payments::act::Happening::Refund(order.refunds[0], answer);
        api.state.actor.act(placed.id, &happening).await.unwrap();
        // The reply is that of the request, however far its refund came.
        let again = api.caller.refund_as(&key, &placed, &body).await;
        assert!(is_replay(&again));
        assert_eq!(again.text().await.unwrap(), texts[0]);
        let other = json!({"reason": "another"});
        let (status, code, _) = problem(api.caller.refund_as(&key, &placed, &other).await).await;
        assert_eq!((status, &*code), (422, "idempotency_key_reused"));
    }
    api.running.stop().await;
}

/// A mark is kept for as long as it is told, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn marks_expire() {
    let api = Api::start().await;
    api.caller.place().await;
    let mut connection = api.shop.harness().await;
    let pattern = api.shop.keys.payments_idempotency("*").replace('{', "[{]");
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(&mut connection)
        .await
        .unwrap();
    let [key] = &keys[..] else { panic!("{keys:?}") };
    let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.unwrap();
    let whole = i64::try_from(api.state.retention.as_millis()).unwrap();
    assert!((whole - 60_000..=whole).contains(&left), "{left}");
    api.running.stop().await;
}

async fn placed_events(api: &Api) -> usize {
    let events = api.shop.entries(&api.shop.keys.payments_events()).await;
    let is_placed = |entry: &&shopwright_streams::consume::Entry| entry.fields.text("type") == Some("order.placed");
    events.iter().filter(is_placed).count()
}

async fn parts(response: Response) -> (String, String) {
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    (location, response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_reply_says_nothing_of_a_repetition() {
    let api = Api::start().await;
    let placed: Placed = api.completed().await;
    let key = new_key();
    let replays = [
        is_replay(&api.caller.refund_as(&key, &placed, &json!({})).await),
        is_replay(&api.caller.refund_as(&key, &placed, &json!({})).await),
    ];
    assert_eq!(replays, [false, true]);
    api.running.stop().await;
}
