//! What could not be handled: listed, replayed, dropped by staff.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;

use crate::api::{ADMIN_KEY, Api, problem};
use crate::support::eventually;

async fn call(api: &Api, method: Method, path: &str) -> Response {
    let url = api.caller.url(&format!("/v1/payments/dead-letters{path}"));
    let request = api.caller.client.request(method, url).bearer_auth(ADMIN_KEY);
    request.send().await.unwrap()
}

async fn letters(api: &Api) -> Vec<Value> {
    let list: Value = call(api, Method::GET, "").await.json().await.unwrap();
    list["items"].as_array().unwrap().clone()
}

async fn one_letter(api: &Api, not: Option<&Value>) -> Value {
    eventually("a dead letter", || async {
        let mut letters = letters(api).await;
        (letters.len() == 1 && Some(&letters[0]["id"]) != not).then(|| letters.remove(0))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_job_is_listed_replayed_and_dropped() {
    let mut api = Api::start().await;
    let provider = api.shop.provider(Duration::ZERO);
    api.running.payments(&api.shop, &api.state.actor, &provider);
    let jobs = api.shop.keys.payments_jobs();
    redis::cmd("XADD")
        .arg(&[&*jobs, "*", "type", "charge", "data", "nonsense"])
        .exec_async(&mut api.shop.harness().await)
        .await
        .unwrap();
    let letter = one_letter(&api, None).await;
    assert_eq!(
        (&letter["stream"], &letter["type"], &letter["data"]),
        (&Value::from("jobs"), &Value::from("charge"), &Value::from("nonsense"))
    );
    let id = letter["id"].as_str().unwrap();
    // It is as broken as before, and comes back as another letter.
    assert_eq!(
        call(&api, Method::POST, &format!("/jobs/{id}/replay")).await.status(),
        204
    );
    let again = one_letter(&api, Some(&letter["id"])).await;
    assert_eq!(
        problem(call(&api, Method::POST, &format!("/jobs/{id}/replay")).await)
            .await
            .1,
        "not_found"
    );
    let id = again["id"].as_str().unwrap();
    assert_eq!(call(&api, Method::DELETE, &format!("/events/{id}")).await.status(), 404);
    assert_eq!(call(&api, Method::DELETE, &format!("/jobs/{id}")).await.status(), 204);
    assert_eq!(letters(&api).await, [] as [Value; 0]);

    for path in ["/v1/payments/dead-letters", "/v1/payments/dead-letters?stream=jobs"] {
        assert_eq!(problem(api.caller.get(path).await).await.1, "unauthenticated");
    }
    api.running.stop().await;
}

/// Of the events that inventory could not handle, payments keeps the letters, and adds them again.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_inventory_gave_up_is_payments_to_replay() {
    let api = Api::start().await;
    let events = api.shop.keys.payments_events();
    let dead = shopwright_streams::dead_letter::key(&events, "inventory");
    redis::cmd("XADD")
        .arg(&[
            &*dead,
            "*",
            "dead-letter.reason",
            "broken",
            "dead-letter.id",
            "1-0",
            "dead-letter.deliveries",
            "1",
        ])
        .arg(&["dead-letter.consumer", "pod-1", "type", "order.paid", "data", "{}"])
        .exec_async(&mut api.shop.harness().await)
        .await
        .unwrap();
    let letter = one_letter(&api, None).await;
    assert_eq!(
        (&letter["stream"], &letter["reason"]),
        (&Value::from("events"), &Value::from("broken"))
    );
    let path = format!("/events/{}/replay", letter["id"].as_str().unwrap());
    assert_eq!(call(&api, Method::POST, &path).await.status(), 204);
    let entries = api.shop.entries(&events).await;
    assert_eq!(entries[0].fields.text("type"), Some("order.paid"));
    api.running.stop().await;
}
