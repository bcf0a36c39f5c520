//! Every user of a shop's Redis, tried on what it must not do, and on what it must be able to do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use shopwright_domain::access::User;
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS, ShopKeys};
use shopwright_streams::consumer::{self, Deleted};
use shopwright_streams::dead_letter::{self, Buried, Owners};
use shopwright_streams::group::{self, StartFrom};
use shopwright_streams::sample::{Sample, Sampler, Target};
use shopwright_streams::{EntryId, hand_over, trim};
use support::Shop;

const MINUTE: Duration = Duration::from_mins(1);

async fn run(connection: &mut MultiplexedConnection, words: &[&str]) -> Result<Value, String> {
    redis::cmd(words[0])
        .arg(&words[1..])
        .query_async(connection)
        .await
        .map_err(|error| format!("{} {error}", error.code().unwrap_or_default()))
}

async fn refused(shop: &Shop, user: User, words: &[&str]) {
    let error = run(&mut shop.connection(user).await, words)
        .await
        .expect_err(&format!("{user:?} {words:?} was allowed"));
    let permission = error.contains("NOPERM") || error.contains("ACL failure") || error.contains("can't access");
    assert!(permission, "{user:?} {words:?} failed for another reason: {error}");
}

async fn allowed(shop: &Shop, user: User, words: &[&str]) {
    if let Err(error) = run(&mut shop.connection(user).await, words).await {
        panic!("{user:?} {words:?}: {error}");
    }
}

/// Commands that nobody here needs, whatever the key.
const NOBODY: [&[&str]; 23] = [
    &["CONFIG", "GET", "*"],
    &["CONFIG", "SET", "appendonly", "no"],
    &["FLUSHALL"],
    &["FLUSHDB"],
    &["KEYS", "*"],
    &["SCAN", "0"],
    &["RANDOMKEY"],
    &["DBSIZE"],
    &["ACL", "LIST"],
    &["ACL", "SETUSER", "operator", "nopass"],
    &["SHUTDOWN", "NOSAVE"],
    &["MONITOR"],
    &["CLIENT", "LIST"],
    &["CLIENT", "KILL", "TYPE", "normal"],
    &["SCRIPT", "FLUSH"],
    &[
        "FUNCTION",
        "LOAD",
        "#!lua name=x\nredis.register_function('x', function() end)",
    ],
    &["SUBSCRIBE", "x"],
    &["PUBLISH", "x", "y"],
    &["SAVE"],
    &["BGREWRITEAOF"],
    &["REPLICAOF", "127.0.0.1", "1"],
    &["MODULE", "LIST"],
    &["FT._LIST"],
];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_administers() {
    let shop = Shop::start().await;
    for user in User::ALL {
        for words in NOBODY {
            // Who compares all books has to find them.
            if user != User::Verify || words[0] != "SCAN" {
                refused(&shop, user, words).await;
            }
        }
    }
    let anonymous = redis::Client::open(format!("redis://{}:{}", shop.stack.host(), shop.stack.port())).unwrap();
    let mut connection = anonymous.get_multiplexed_async_connection().await.unwrap();
    let error = run(&mut connection, &["GET", "x"]).await.unwrap_err();
    assert!(error.contains("NOAUTH") || error.contains("NOPERM"), "{error}");
}

/// Everything that one service must not do with a key of another, written as one would type it.
async fn closed(shop: &Shop, user: User, group: &str, key: &str) {
    for line in [
        format!("XADD {key} * type order.paid"),
        format!("JSON.GET {key}"),
        format!("JSON.SET {key} $ {{}}"),
        format!("JSON.MERGE {key} $ {{}}"),
        format!("HGETALL {key}"),
        format!("ZADD {key} 1 x"),
        format!("SET {key} x"),
        format!("DEL {key}"),
        format!("XTRIM {key} MAXLEN 0"),
        format!("XDEL {key} 1-1"),
        format!("XGROUP CREATE {key} mine 0"),
        format!("XGROUP DESTROY {key} {group}"),
        format!("XGROUP SETID {key} {group} $"),
        format!("FT.SEARCH {key} *"),
        format!("FT.DROPINDEX {key} DD"),
        format!("FT.CREATE {key} ON JSON PREFIX 1 {{ SCHEMA $.state AS state TAG"),
        format!("FT.ALTER {key} SCHEMA ADD $.x AS x TAG"),
        format!("FT.ALIASADD x {key}"),
    ] {
        refused(shop, user, &words(&line)).await;
    }
    for (script, keys) in [
        ("return redis.call('XADD', KEYS[1], '*', 'a', 'b')", "1"),
        ("return redis.call('XADD', ARGV[1], '*', 'a', 'b')", "0"),
        ("return redis.call('JSON.GET', ARGV[1])", "0"),
    ] {
        refused(shop, user, &["EVAL", script, keys, key]).await;
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_reads_the_others_stream_and_touches_nothing_else_of_it() {
    let shop = Shop::start().await;
    let keys = &shop.keys;
    let inventory = [
        keys.inventory_events(),
        keys.inventory_catalogue(),
        keys.product(ProductId::generate()),
        keys.stock(ProductId::generate()),
        keys.reservation(OrderId::generate()),
        keys.products_index(),
    ];
    let payments = [
        keys.payments_events(),
        keys.payments_jobs(),
        keys.order(OrderId::generate()),
        keys.due(),
        keys.orders_index(),
        keys.provider_charge(OrderId::generate()),
    ];
    for (user, group, foreign, own, own_index) in [
        (
            User::Payments,
            "payments",
            inventory,
            keys.payments_jobs(),
            keys.orders_index(),
        ),
        (
            User::Inventory,
            "inventory",
            payments,
            keys.inventory_events(),
            keys.products_index(),
        ),
    ] {
        for key in &foreign {
            closed(&shop, user, group, key).await;
        }
        for key in &foreign[1..] {
            refused(&shop, user, &["XGROUP", "DELCONSUMER", key, group, "x"]).await;
            refused(&shop, user, &["XRANGE", key, "-", "+"]).await;
        }
        let stream = &foreign[0];
        for line in [
            // Together, own and foreign: no selector holds both.
            format!("XREADGROUP GROUP {group} me COUNT 1 STREAMS {own} {stream} > >"),
            // Not even of one's own: these reach into everybody's documents, or cut history.
            format!("FT.DROPINDEX {own_index}"),
            format!("FT.CREATE {own_index} ON JSON SCHEMA $.a AS a TAG"),
            format!("XTRIM {own} MAXLEN 0"),
            format!("DEL {own}"),
            format!("SET {own} x"),
        ] {
            refused(&shop, user, &words(&line)).await;
        }
        let dead = ShopKeys::dead_letters(stream, group);
        for line in [
            format!("XREADGROUP GROUP {group} me COUNT 1 STREAMS {stream} >"),
            format!("XACK {stream} {group} 1-1"),
            format!("XPENDING {stream} {group}"),
            format!("XRANGE {stream} 1-1 1-1"),
            format!("XAUTOCLAIM {stream} {group} me 0 0"),
            format!("XGROUP DELCONSUMER {stream} {group} me"),
            format!("XADD {dead} * reason poison"),
        ] {
            allowed(&shop, user, &words(&line)).await;
        }
        // What follows from an entry is stored by a script that sees to it that the entry is there.
        let script = "return {redis.call('EXISTS', KEYS[1]), redis.call('XRANGE', KEYS[2], '1-1', '1-1')}";
        allowed(&shop, user, &["EVAL", script, "2", &own, stream]).await;
        let script = "return redis.call('XADD', KEYS[2], '*', 'a', 'b')";
        refused(&shop, user, &["EVAL", script, "2", &own, stream]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_the_operator_and_the_migration_user_keep_to_their_own() {
    let shop = Shop::start().await;
    let keys = &shop.keys;
    let (events, jobs, order) = (
        keys.payments_events(),
        keys.payments_jobs(),
        keys.order(OrderId::generate()),
    );
    let charge = keys.provider_charge(OrderId::generate());
    let product = keys.product(ProductId::generate());
    for user in [User::Provider, User::Operator, User::Migration] {
        for key in [&events, &jobs, &order, &product] {
            refused(&shop, user, &["XADD", key, "*", "a", "b"]).await;
            refused(
                &shop,
                user,
                &["EVAL", "return redis.call('XADD', KEYS[1], '*', 'a', 'b')", "1", key],
            )
            .await;
            refused(&shop, user, &["JSON.GET", key]).await;
            refused(&shop, user, &["JSON.SET", key, "$", "{}"]).await;
            refused(&shop, user, &["DEL", key]).await;
            refused(
                &shop,
                user,
                &["XREADGROUP", "GROUP", "payments", "me", "STREAMS", key, ">"],
            )
            .await;
            refused(&shop, user, &["FT.SEARCH", key, "*"]).await;
        }
    }
    for user in [User::Operator, User::Migration, User::Payments, User::Inventory] {
        refused(&shop, user, &["HSET", &charge, "state", "charged"]).await;
        refused(&shop, user, &["HGETALL", &charge]).await;
    }
    allowed(&shop, User::Provider, &["HSET", &charge, "state", "charged"]).await;

    for words in [
        &["PING"][..],
        &["INFO", "persistence"],
        &["XINFO", "STREAM", &events],
        &["XINFO", "GROUPS", &jobs],
        &["XPENDING", &events, "inventory"],
        &["XLEN", &events],
        &["XREAD", "COUNT", "1", "STREAMS", &events, &jobs, "0", "0"],
        &["XRANGE", &events, "-", "+", "COUNT", "1"],
        &["XTRIM", &events, "MINID", "0"],
        &["XACK", &events, "inventory", "1-1"],
        &["XCLAIM", &events, "inventory", "me", "0", "1-1"],
        &["XGROUP", "DELCONSUMER", &events, "inventory", "me"],
        &["XGROUP", "SETID", &jobs, "payments", "0"],
        &["XADD", &ShopKeys::dead_letters(&events, "inventory"), "*", "a", "b"],
    ] {
        allowed(&shop, User::Operator, words).await;
    }
    for words in [
        &["XGROUP", "DESTROY", &events, "inventory"][..],
        &["XDEL", &events, "1-1"],
        &["XADD", &keys.inventory_catalogue(), "*", "a", "b"],
    ] {
        refused(&shop, User::Operator, words).await;
    }
    refused(&shop, User::Operator, &["XINFO", "STREAM", &order]).await;
    refused(
        &shop,
        User::Operator,
        &["XGROUP", "CREATE", &order, "g", "0", "MKSTREAM"],
    )
    .await;

    let index = keys.orders_index();
    let schema = [
        "ON",
        "JSON",
        "PREFIX",
        "1",
        &keys.order_prefix(),
        "SCHEMA",
        "$.state",
        "AS",
        "state",
        "TAG",
    ];
    allowed(
        &shop,
        User::Migration,
        &[&["FT.CREATE", &*index][..], &schema[..]].concat(),
    )
    .await;
    allowed(&shop, User::Payments, &["FT.SEARCH", &index, "*"]).await;
    refused(&shop, User::Inventory, &["FT.SEARCH", &index, "*"]).await;
    refused(&shop, User::Provider, &["FT.SEARCH", &index, "*"]).await;
    refused(&shop, User::Migration, &["FT.SEARCH", &index, "*"]).await;
    refused(&shop, User::Migration, &["XREAD", "STREAMS", &events, "0"]).await;
    allowed(&shop, User::Migration, &["FT.DROPINDEX", &index]).await;
}

/// An entry as anybody may write it, by a user who may.
async fn entry(shop: &Shop, stream: &str) -> EntryId {
    let id: String = redis::cmd("XADD")
        .arg(&[stream, "*", "type", "x", "id", "1", "data", "{}"])
        .query_async(&mut shop.harness().await)
        .await
        .unwrap();
    id.parse().unwrap()
}

/// Reads all there is, as a consumer that then dies.
async fn taken(shop: &Shop, stream: &str, group: &str, consumer: &str) {
    redis::cmd("XREADGROUP")
        .arg(&["GROUP", group, consumer, "STREAMS", stream, ">"])
        .exec_async(&mut shop.harness().await)
        .await
        .unwrap();
}

/// The real calls, under the operator's real rights, on every stream of a shop.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_do_all_that_it_does_with_streams() {
    let shop = Shop::start().await;
    let keys = &shop.keys;
    let redis = shop.streams(User::Operator).shared();
    for (stream, group) in [
        (keys.payments_events(), GROUP_INVENTORY),
        (keys.inventory_events(), GROUP_PAYMENTS),
        (keys.payments_jobs(), GROUP_PAYMENTS),
    ] {
        let stream = stream.as_str();
        let dead = dead_letter::key(stream, group);
        assert_eq!(dead, ShopKeys::dead_letters(stream, group));
        group::ensure(&redis, stream, group, StartFrom::Beginning)
            .await
            .unwrap();
        let (first, second) = (entry(&shop, stream).await, entry(&shop, stream).await);
        taken(&shop, stream, group, "gone").await;
        let third = entry(&shop, stream).await;

        let handed = hand_over::of(&redis, stream, group, "gone", MINUTE, 10).await.unwrap();
        assert_eq!(handed.entries, 2);
        let buried = dead_letter::bury(&redis, stream, group, "gone", first, "malformed").await;
        assert_eq!(buried.unwrap(), Buried::Yes);
        let holds = consumer::delete_if_idle(&redis, stream, group, "gone").await.unwrap();
        assert_eq!(holds, Deleted::Holds(1));
        // One more delivery than are permitted.
        redis::cmd("XCLAIM")
            .arg(&[
                stream,
                group,
                "gone",
                "0",
                &second.to_string(),
                "RETRYCOUNT",
                "6",
                "JUSTID",
                "IDLE",
                "70000",
            ])
            .exec_async(&mut shop.harness().await)
            .await
            .unwrap();
        let left = dead_letter::bury_left(&redis, stream, group, Owners::Any, MINUTE, 5, 10).await;
        assert_eq!(left.unwrap(), 1);
        let deleted = consumer::delete_if_idle(&redis, stream, group, "gone").await.unwrap();
        assert_eq!(deleted, Deleted::Yes);
        assert_eq!(dead_letter::count(&redis, &dead).await.unwrap(), 2);
        let letters = dead_letter::list(&redis, &dead, EntryId::ZERO, 10).await.unwrap();
        assert_eq!(letters.len(), 2);

        group::repair(&redis, stream, group).await.unwrap();
        let target = Target::new(stream, group);
        let samples = Sampler::new(redis.clone()).sample_all(&[target]).await.unwrap();
        let Ok(Sample::Known(known)) = &samples[0] else {
            panic!("{samples:?}")
        };
        assert_eq!(known.backlog(), 1, "{third} alone is left");
        trim::behind(&redis, stream, &[group], Duration::ZERO).await.unwrap();
    }
}

/// A consumer's whole life on the other's stream, under its own rights: read, bury, hand over, leave.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_do_all_that_its_consumer_does() {
    let shop = Shop::start().await;
    let keys = &shop.keys;
    for (user, stream, group) in [
        (User::Inventory, keys.payments_events(), GROUP_INVENTORY),
        (User::Payments, keys.inventory_events(), GROUP_PAYMENTS),
        (User::Payments, keys.payments_jobs(), GROUP_PAYMENTS),
    ] {
        let redis = shop.streams(user).shared();
        let stream = stream.as_str();
        let (first, second) = (entry(&shop, stream).await, entry(&shop, stream).await);
        taken(&shop, stream, group, "me").await;
        let buried = dead_letter::bury(&redis, stream, group, "me", first, "malformed").await;
        assert_eq!(buried.unwrap(), Buried::Yes);
        let handed = hand_over::of(&redis, stream, group, "me", MINUTE, 10).await.unwrap();
        assert_eq!(handed.entries, 1);
        allowed(&shop, user, &["XACK", stream, group, &second.to_string()]).await;
        let deleted = consumer::delete_if_idle(&redis, stream, group, "me").await.unwrap();
        assert_eq!(deleted, Deleted::Yes);
    }
}

/// What would destroy a stream is allowed where none can be; changes are told by payments alone.
#[tokio::test(flavor = "multi_thread")]
async fn marks_changes_and_dead_letters_of_ones_own_and_no_more() {
    let shop = Shop::start().await;
    let keys = &shop.keys;
    let order = keys.order(OrderId::generate());
    let (events, jobs) = (keys.payments_events(), keys.payments_jobs());
    for line in [
        format!("SET {} {{}} PX 1000", keys.payments_idempotency("ab")),
        format!("GET {}", keys.payments_idempotency("ab")),
        format!("PUBLISH {} x", keys.payments_changes()),
        format!("XDEL {} 1-1", ShopKeys::dead_letters(&events, GROUP_INVENTORY)),
        format!("XRANGE {} - +", ShopKeys::dead_letters(&jobs, GROUP_PAYMENTS)),
        "INFO memory".to_owned(),
    ] {
        allowed(&shop, User::Payments, &words(&line)).await;
    }
    for line in [
        format!("SET {order} x"),
        format!("GET {order}"),
        format!("SET {} x", keys.due()),
        format!("SET {} x", keys.payments_schema()),
        format!("SET {} x", keys.inventory_idempotency("ab")),
        format!("GET {}", keys.inventory_idempotency("ab")),
        format!("PUBLISH {}x y", keys.payments_changes()),
        format!("XDEL {events} 1-1"),
        format!("XDEL {jobs} 1-1"),
        format!("XRANGE {jobs} - +"),
    ] {
        refused(&shop, User::Payments, &words(&line)).await;
    }
    for user in User::ALL.into_iter().filter(|user| *user != User::Payments) {
        refused(&shop, user, &["PUBLISH", &keys.payments_changes(), "x"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_compares_all_books_reads_and_writes_nothing() {
    let shop = Shop::start().await;
    let keys = &shop.keys;
    let order = keys.order(OrderId::generate());
    let (events, due) = (keys.payments_events(), keys.due());
    let charge = keys.provider_charge(OrderId::generate());
    let stock = keys.stock(ProductId::generate());
    for line in [
        format!("JSON.GET {order}"),
        format!("ZRANGE {due} 0 -1 WITHSCORES"),
        format!("HGETALL {charge}"),
        format!("HGETALL {stock}"),
        format!("XRANGE {events} - +"),
        format!("XPENDING {events} {GROUP_INVENTORY}"),
        "SCAN 0".to_owned(),
    ] {
        allowed(&shop, User::Verify, &words(&line)).await;
    }
    for line in [
        format!("JSON.SET {order} $ {{}}"),
        format!("JSON.MERGE {order} $ {{}}"),
        format!("ZADD {due} 1 x"),
        format!("HSET {charge} a b"),
        format!("HSET {stock} a b"),
        format!("XADD {events} * a b"),
        format!("XACK {events} {GROUP_INVENTORY} 1-1"),
        format!("XTRIM {events} MAXLEN 0"),
        format!("SET {} x", keys.payments_idempotency("ab")),
        format!("DEL {order}"),
        format!("XREADGROUP GROUP {GROUP_INVENTORY} me STREAMS {events} >"),
    ] {
        refused(&shop, User::Verify, &words(&line)).await;
    }
    let script = "return redis.call('HSET', KEYS[1], 'a', 'b')";
    refused(&shop, User::Verify, &["EVAL", script, "1", &charge]).await;
}
