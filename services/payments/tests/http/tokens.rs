//! Who may see an order, and what everybody else is told.

use reqwest::{Method, Response};
use serde_json::Value;
use shopwright_domain::ids::OrderId;

use crate::api::{ADMIN_KEY, Api, Caller, NEW_KEY, OLD_KEY, new_key};

const CALLS: [(Method, &str); 5] = [
    (Method::GET, ""),
    (Method::POST, "/cancel"),
    (Method::GET, "/refunds"),
    (Method::GET, "/timeline"),
    (Method::GET, "/events"),
];

async fn call(caller: &Caller, (method, tail): &(Method, &str), id: &str, header: Option<(&str, &str)>) -> Response {
    let url = caller.url(&format!("/v1/orders/{id}{tail}"));
    let request = caller.client.request(method.clone(), url);
    let request = match header {
        Some((name, value)) => request.header(name, value),
        None => request,
    };
    request.header("idempotency-key", new_key()).send().await.unwrap()
}

/// All of a reply but what differs between any two.
async fn reply(response: Response) -> (u16, Vec<(String, String)>, Value) {
    let status = response.status().as_u16();
    let own = ["x-request-id", "traceparent", "date"];
    let headers = response.headers().iter();
    let headers = headers
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .filter(|(name, _)| name != "content-length")
        .collect();
    let mut body: Value = response.json().await.unwrap();
    body.as_object_mut().unwrap().remove("request_id");
    body.as_object_mut().unwrap().remove("instance");
    (status, headers, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_else_is_told_that_there_is_no_such_order() {
    let api = Api::start().await;
    let (placed, other) = (api.caller.place().await, api.caller.place().await);
    let (id, unknown) = (placed.id.to_string(), OrderId::generate());
    let unknown_token = api.state.token_keys.sign(unknown).expose().to_owned();
    let unknown = unknown.to_string();
    let unsigned = format!("gone.{}", placed.token.split_once('.').unwrap().1);
    let cut = &placed.token[..placed.token.len() - 1];
    for what in &CALLS {
        let expected = reply(call(&api.caller, what, &id, None).await).await;
        assert_eq!((expected.0, &expected.2["code"]), (404, &Value::from("not_found")));
        for (id, header) in [
            (&*id, Some(("order-token", "nonsense"))),
            (&id, Some(("order-token", &*other.token))),
            (&id, Some(("order-token", &*unsigned))),
            (&id, Some(("order-token", cut))),
            (&id, Some(("authorization", "Bearer wrong"))),
            (&*unknown, None),
            (&unknown, Some(("order-token", &*placed.token))),
            // Signed by us, and lost by Redis.
            (&unknown, Some(("order-token", &*unknown_token))),
            (&unknown, Some(("authorization", "Bearer key"))),
            ("nonsense", None),
            ("nonsense", Some(("order-token", &placed.token))),
        ] {
            let reply = reply(call(&api.caller, what, id, header).await).await;
            assert_eq!(reply, expected, "{what:?} {id} {header:?}");
        }
        let own = call(&api.caller, what, &id, Some(("order-token", &placed.token))).await;
        assert!(own.status().is_success(), "{what:?}");
        let staff = call(
            &api.caller,
            what,
            &id,
            Some(("authorization", &format!("Bearer {ADMIN_KEY}"))),
        )
        .await;
        assert!(staff.status().is_success(), "{what:?}");
    }
    // Who may not call an order off does not learn what is wrong with the call.
    let bare = api
        .caller
        .request(&format!("{}/cancel", other.path))
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(bare.status(), 404);
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_outlive_a_rotation_of_keys_until_the_old_one_is_taken_off() {
    let mut api = Api::start().await;
    let both = api.rotated(&format!("{NEW_KEY},{OLD_KEY}")).await;
    let (old, new) = (api.caller.place().await, both.place().await);
    assert!(old.token.starts_with("old.") && new.token.starts_with("new."));
    for placed in [&old, &new] {
        both.read(placed).await;
    }
    let alone = api.rotated(NEW_KEY).await;
    alone.read(&new).await;
    assert_eq!(alone.get_with(&old.path, &old.token).await.status(), 404);
    assert_eq!(alone.cancel(&old).await.status(), 404);
    // A pod of before the rotation does not know the new key yet: new keys are handed out as second ones first.
    assert_eq!(api.caller.get_with(&new.path, &new.token).await.status(), 404);
    api.running.stop().await;
}
