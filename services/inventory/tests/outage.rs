//! A Redis that is full, read-only, loading or gone: the API says so and when to come again, consumers wait, and nothing is
//! lost, doubled or half done.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::{Arc, atomic::Ordering};

use reqwest::Method;
use serde_json::json;
use shopwright_domain::{
    events::OrderEvent,
    ids::{OrderId, ProductId},
};
use shopwright_inventory::reservations::Reservations;
use shopwright_redis_stack::{Append, Options};
use shopwright_streams::consume::{BatchHandler, Outcome};
use support::{
    Shop,
    api::{Api, KEY, reply},
    consumer::{Consumer, Counted, entries, is_drained, reactions, settings},
    eventually, harness, line, options, placed,
};
use tokio_util::sync::CancellationToken;

/// Words that break Redis, words that mend it, and what the API calls it.
const PASSING: [(&[&str], &[&str], &str); 2] = [
    (
        &["CONFIG", "SET", "maxmemory", "1"],
        &["CONFIG", "SET", "maxmemory", "0"],
        "capacity",
    ),
    // Nobody listens on the port, so that it keeps its data and waits for ever.
    (
        &["REPLICAOF", "127.0.0.1", "1"],
        &["REPLICAOF", "NO", "ONE"],
        "dependency_unavailable",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_read_only_redis_refuses_writes_whole_and_answers_reads() {
    let api = Api::start().await;
    let shirt = json!({"name": "Shirt", "price": {"amount": 1299, "currency": "EUR"}, "stock": 5});
    let created = api.post_with("create", "/v1/products", &shirt).await;
    let path = format!("/v1/products/{}", created.body["id"].as_str().unwrap());
    let adjustments = format!("{path}/stock-adjustments");
    let found = json!({"delta": 1, "reason": "found"});
    for (round, (breaks, mends, code)) in PASSING.into_iter().enumerate() {
        let before = api.shop.books().await;
        api.shop.execute(breaks).await;
        let [create, adjust] = [format!("create-{round}"), format!("adjust-{round}")];
        api.post_with(&create, "/v1/products", &shirt).await.is_away(code);
        api.post_with(&adjust, &adjustments, &found).await.is_away(code);
        assert_eq!(api.get(&path).await.status, 200);
        assert_eq!(api.get("/v1/products").await.status, 200);
        // What needs no write is answered as ever.
        assert!(api.post_with("create", "/v1/products", &shirt).await.is_replayed());
        assert_eq!(api.shop.books().await, before, "{code}: nothing was half done");

        api.shop.execute(mends).await;
        for (key, path, body) in [(&create, "/v1/products", &shirt), (&adjust, &adjustments, &found)] {
            let reply = api.post_with(key, path, body).await;
            assert_eq!(
                (reply.status.as_u16(), reply.is_replayed()),
                (201, false),
                "{}",
                reply.body
            );
        }
        api.shop.books().await;
    }
    let stock = api.get(&format!("{path}/stock")).await;
    assert_eq!(stock.body["on_hand"], 7);
}

async fn told_orders(shop: &mut Shop, product: ProductId, count: usize) -> Vec<OrderId> {
    let orders: Vec<OrderId> = (0..count).map(|_| OrderId::generate()).collect();
    for order in &orders {
        shop.tell(&OrderEvent::Placed(placed(*order, &[line(product, 1)])))
            .await;
    }
    for order in &orders[..count / 2] {
        shop.tell(&OrderEvent::Cancelled(*order)).await;
    }
    orders
}

/// Whatever was told has had its effect, nothing was given up.
async fn is_whole(shop: &Shop, product: ProductId, orders: usize) {
    let (_, reserved) = shop.stock(product).await;
    assert_eq!(reserved, i64::try_from(orders - orders / 2).unwrap());
    assert_eq!(shop.letters().await.len(), 0, "an outage makes no dead letters");
    assert_eq!(shop.books().await.reservations.len(), orders);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_waits_for_a_full_redis_and_for_a_read_only_one() {
    for (breaks, mends, code) in PASSING {
        let mut shop = Shop::start().await;
        shop.create_group().await;
        let product = shop.product(100, 1_000).await;
        let orders = told_orders(&mut shop, product, 40).await;
        let events: Vec<_> = orders.iter().map(|order| OrderEvent::Cancelled(*order)).collect();
        let in_hand = entries(&shop, &events).await;
        shop.execute(breaks).await;
        // Every entry of a batch is kept in hand.
        let outcomes = reactions(shop.reservations()).handle(&in_hand).await;
        assert!(
            outcomes.iter().all(|outcome| matches!(outcome, Outcome::RetryAfter(_))),
            "{code}: {outcomes:?}"
        );
        assert_eq!(shop.books().await.reservations.len(), 0, "{code}");

        let mut settings = settings(&shop, "pod");
        // A delivery that the outage used up would be the last.
        settings.max_deliveries = 1;
        let handler = Arc::new(Counted::new(reactions(shop.reservations())));
        let consumer = Consumer::start(&shop, settings, Arc::clone(&handler));
        eventually("it has met the outage more than once", || async {
            let tried = handler.calls.load(Ordering::SeqCst);
            // A read-only Redis hands out no entries.
            tried >= 3 || consumer.counters.failures.load(Ordering::SeqCst) >= 3
        })
        .await;
        shop.execute(mends).await;
        eventually("it has caught up", || is_drained(&shop)).await;
        consumer.end().await;
        is_whole(&shop, product, orders.len()).await;
    }
}

fn durable() -> Options {
    Options {
        append: Append::Always,
        // A tenth of a millisecond for each command of the file, and an ear for clients after every 1,024.
        arguments: ["--key-load-delay", "100"].map(str::to_owned).into(),
        ..options()
    }
}

/// Killed in the middle of the work and started again, which takes a while: gone at first, then loading.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_gone_and_then_loads_is_waited_for() {
    const FILL: usize = 20_000;
    let mut shop = Shop::start_with(durable()).await;
    shop.create_group().await;
    let mut fill = redis::pipe();
    for number in 0..FILL {
        fill.cmd("SET").arg(format!("fill:{number}")).arg("x").ignore();
    }
    fill.exec_async(&mut shop.harness).await.unwrap();
    let product = shop.product(100, 1_000).await;
    let orders = told_orders(&mut shop, product, 40).await;
    let redis = shop.redis();
    // As in production: it is what makes a connection usable again that was refused while Redis loaded.
    tokio::spawn(redis.clone().watch(CancellationToken::new()));
    let reservations = Reservations::new(redis.clone(), shop.keys.clone());
    let in_hand = entries(&shop, &[OrderEvent::Cancelled(OrderId::generate())]).await;
    let mut api = Api::of(shop, redis).await;
    let mut settings = settings(&api.shop, "pod");
    settings.max_deliveries = 1;

    api.shop.stack.kill().unwrap();
    let consumer = Consumer::start(&api.shop, settings, Arc::new(reactions(reservations.clone())));
    let outcomes = reactions(reservations).handle(&in_hand).await;
    assert!(matches!(outcomes[..], [Outcome::RetryAfter(_)]), "{outcomes:?}");
    let shirt = json!({"name": "Shirt", "price": {"amount": 1299, "currency": "EUR"}, "stock": 5});
    api.get("/v1/products").await.is_away("dependency_unavailable");
    api.post_with("key", "/v1/products", &shirt)
        .await
        .is_away("dependency_unavailable");

    let request = api.request(Method::POST, "/v1/products").bearer_auth(KEY);
    let request = request.header("idempotency-key", "key").json(&shirt);
    let client = api.shop.stack.client().unwrap();
    let runtime = tokio::runtime::Handle::current();
    let refused = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let restarting = scope.spawn(|| api.shop.stack.restart().unwrap());
            let mut refused = 0;
            while !restarting.is_finished() {
                if is_loading(&client) {
                    let answered = runtime.block_on(reply(request.try_clone().unwrap()));
                    // Between two looks that saw it load, it loaded.
                    if is_loading(&client) {
                        answered.is_away("dependency_unavailable");
                        refused += 1;
                    }
                }
            }
            refused
        })
    });
    assert!(refused > 0, "it was met while it loaded");
    api.shop.harness = harness(&api.shop.stack).await;
    eventually("it has caught up", || is_drained(&api.shop)).await;
    consumer.end().await;
    is_whole(&api.shop, product, orders.len()).await;
    eventually("the same request is made", || async {
        api.post_with("key", "/v1/products", &shirt).await.status == 201
    })
    .await;
    let told = api.shop.entries(&api.shop.keys.inventory_catalogue()).await;
    assert_eq!(told.len(), 2, "the product of the orders, and this one once");
    api.shop.books().await;
}

fn is_loading(client: &redis::Client) -> bool {
    let ping = client
        .get_connection_with_timeout(support::PATIENCE)
        .and_then(|mut connection| redis::cmd("PING").exec(&mut connection));
    ping.is_err_and(|error| error.code() == Some("LOADING"))
}
