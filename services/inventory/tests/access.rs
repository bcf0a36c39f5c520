//! What the user `inventory` must not do, tried.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use redis::RedisError;
use shopwright_domain::access::User;
use support::Shop;

async fn attempt(shop: &Shop, user: User, command: &[&str]) -> Result<redis::Value, RedisError> {
    let mut connection = shop
        .settings(user)
        .client()
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    redis::cmd(command[0])
        .arg(&command[1..])
        .query_async(&mut connection)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_is_refused_what_is_not_its_own() {
    let mut shop = Shop::start().await;
    shop.create_group().await;
    let order = shopwright_domain::ids::OrderId::generate();
    shop.tell(&shopwright_domain::events::OrderEvent::Paid(order)).await;
    let script = "return redis.call('XADD', KEYS[1], '*', 'type', 'order.paid')";
    let foreign = "{demo-payments}:events";
    let refused: &[&[&str]] = &[
        &["XADD", foreign, "*", "type", "order.paid"],
        &["EVAL", script, "1", foreign],
        &[
            "EVAL",
            "return redis.call('XADD', '{demo-payments}:events', '*', 'a', 'b')",
            "0",
        ],
        &["XTRIM", foreign, "MAXLEN", "0"],
        &["DEL", foreign],
        &["GET", "{demo-payments}:order:1"],
        &["JSON.GET", "{demo-payments}:order:1"],
        &["JSON.SET", "{demo-payments}:order:1", "$", "{}"],
        &["HGETALL", "{demo-provider}:charge:1"],
        &["GET", "{other-inventory}:product:1"],
        &[
            "XREADGROUP",
            "GROUP",
            "payments",
            "x",
            "STREAMS",
            "{demo-payments}:jobs",
            ">",
        ],
        &[
            "FT.CREATE",
            "{demo-inventory}:idx:mine",
            "ON",
            "JSON",
            "PREFIX",
            "1",
            "{demo-payments}:",
            "SCHEMA",
            "$.a",
            "AS",
            "a",
            "TEXT",
        ],
        &["FT.DROPINDEX", "{demo-inventory}:idx:products"],
        &["FT.SEARCH", "{demo-payments}:idx:orders", "*"],
        &["XTRIM", "{demo-inventory}:events", "MAXLEN", "0"],
        &["XDEL", "{demo-inventory}:events", "1-1"],
        &["DEL", "{demo-inventory}:events"],
        &["SET", "{demo-inventory}:events", "x"],
        &["SET", "{demo-payments}:idempotency:1", "x"],
        &["GET", "{demo-payments}:idempotency:1"],
        &["DEL", "{demo-inventory}:idempotency:1"],
        &["XDEL", "{demo-payments}:events:dead:inventory", "1-1"],
        &["XGROUP", "CREATE", foreign, "mine", "0"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["CONFIG", "GET", "requirepass"],
        &["ACL", "LIST"],
        &["FLUSHALL"],
        &["SHUTDOWN", "NOSAVE"],
    ];
    for command in refused {
        let error = attempt(&shop, User::Inventory, command)
            .await
            .expect_err(&command.join(" "));
        // Inside a script the refusal is wrapped in the script's own error.
        let text = error.to_string();
        assert!(
            text.contains("NOPERM") || text.contains("ermission"),
            "{command:?}: {text}"
        );
    }
    let default = redis::Client::open(format!("redis://127.0.0.1:{}/", shop.stack.port())).unwrap();
    assert!(match default.get_multiplexed_async_connection().await {
        Ok(mut connection) => redis::cmd("PING").query_async::<()>(&mut connection).await.is_err(),
        Err(_) => true,
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_may_do_its_work() {
    let mut shop = Shop::start().await;
    shop.create_group().await;
    let product = shop.product(100, 1).await;
    let order = shopwright_domain::ids::OrderId::generate();
    shop.reserve(order, &[support::line(product, 1)]).await;
    let read = [
        "XREADGROUP",
        "GROUP",
        "inventory",
        "pod",
        "COUNT",
        "1",
        "STREAMS",
        "{demo-payments}:events",
        ">",
    ];
    attempt(&shop, User::Inventory, &read).await.unwrap();
    for own in [
        &["SET", "{demo-inventory}:idempotency:1", "x", "PX", "1000"][..],
        &["XRANGE", "{demo-inventory}:events:dead:payments", "-", "+"],
        &["XDEL", "{demo-inventory}:events:dead:payments", "1-1"],
        &["INFO", "memory"],
    ] {
        attempt(&shop, User::Inventory, own).await.unwrap();
    }
    attempt(
        &shop,
        User::Inventory,
        &["XACK", "{demo-payments}:events", "inventory", "1-1"],
    )
    .await
    .unwrap();
}
