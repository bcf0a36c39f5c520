//! The dead letters of inventory's own stream, which payments reads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use reqwest::Method;
use shopwright_domain::{
    ids::OrderId,
    keys::{GROUP_PAYMENTS, ShopKeys},
};
use support::{
    api::{Api, KEY, Reply, reply},
    line,
};

const BASE: &str = "/v1/inventory/dead-letters";

async fn admin(api: &Api, method: Method, path: &str) -> Reply {
    reply(api.request(method, &format!("{BASE}{path}")).bearer_auth(KEY)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_listed_replayed_and_dropped_by_admins() {
    let mut api = Api::start().await;
    let product = api.shop.product(100, 5).await;
    let order = OrderId::generate();
    api.shop.reserve(order, &[line(product, 1)]).await;
    let events = api.shop.keys.inventory_events();
    let dead = ShopKeys::dead_letters(&events, GROUP_PAYMENTS);
    let header = [
        ("dead-letter.reason", "too-many-deliveries"),
        ("dead-letter.id", "5-0"),
        ("dead-letter.deliveries", "6"),
        ("dead-letter.consumer", "pod-1"),
    ];
    for (id, subject) in [("7-0", "first"), ("8-0", "second")] {
        let mut add = redis::cmd("XADD");
        add.arg(&dead).arg(id);
        for (name, value) in header {
            add.arg(name).arg(value);
        }
        add.arg(&["type", "stock.released", "subject", subject, "data", "{}"]);
        add.query_async::<()>(&mut api.shop.harness).await.unwrap();
    }

    api.get(BASE).await.is_problem(401, "unauthenticated");
    let listed = admin(&api, Method::GET, "").await;
    let items = listed.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{}", listed.body);
    assert_eq!(
        (&items[0]["id"], &items[0]["stream"]),
        (&"7-0".into(), &"events".into())
    );

    assert_eq!(admin(&api, Method::POST, "/events/7-0/replay").await.status, 204);
    assert_eq!(admin(&api, Method::DELETE, "/events/8-0").await.status, 204);
    for (method, path) in [
        (Method::POST, "/events/7-0/replay"),
        (Method::DELETE, "/events/8-0"),
        (Method::DELETE, "/jobs/8-0"),
    ] {
        admin(&api, method, path).await.is_problem(404, "not_found");
    }
    let told = api.shop.entries(&events).await;
    assert_eq!(told.len(), 2, "the answer to the order, and the replayed one");
    assert_eq!(
        (&*told[1]["subject"], told[1].contains_key("dead-letter.id")),
        ("first", false)
    );
    assert!(api.shop.entries(&dead).await.is_empty());
}
