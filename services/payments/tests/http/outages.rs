//! A Redis that is gone, full, read-only, loading or slow: said with a code, and nothing half done.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use shopwright_domain::access::User;
use shopwright_kit::connection::Timeouts;
use shopwright_kit::{Redis, RedisSettings};
use shopwright_payments::store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::api::{Api, Placed, is_replay, new_key, order_of, refusal};
use crate::support::{Shop, eventually, patient};

fn unavailable() -> (u16, String, bool) {
    (503, "dependency_unavailable".into(), true)
}

fn full() -> (u16, String, bool) {
    (503, "capacity".into(), true)
}

async fn command(api: &Api, words: &[&str]) {
    redis::cmd(words[0])
        .arg(&words[1..])
        .exec_async(&mut api.shop.harness().await)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_it_says_so_and_comes_back() {
    let mut api = Api::start().await;
    let placed = api.caller.place().await;
    api.shop.stack.kill().unwrap();
    assert_eq!(refusal(api.caller.try_place(&order_of(1)).await).await, unavailable());
    assert_eq!(refusal(api.caller.cancel(&placed).await).await, unavailable());
    assert_eq!(
        refusal(api.caller.refund(&placed, &json!({})).await).await,
        unavailable()
    );
    assert_eq!(
        refusal(api.caller.get_with(&placed.path, &placed.token).await).await,
        unavailable()
    );
    api.shop.stack.restart().unwrap();
    eventually("an order after the restart", || async {
        (api.caller.try_place(&order_of(1)).await.status() == StatusCode::ACCEPTED).then_some(())
    })
    .await;
    // This Redis kept nothing: the index is made again too.
    eventually("the list after the restart", || async {
        let response = api.caller.get_as_staff("/v1/orders").await;
        if response.status() != StatusCode::OK {
            return None;
        }
        let list: Value = response.json().await.unwrap();
        (list["items"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    api.running.stop().await;
}

/// Every write waits for the disk, and a busy disk takes its seconds: an order that is stored then is answered as stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stalls_makes_an_order_wait_and_not_uncertain() {
    const STALL: Duration = Duration::from_secs(3);
    let api = Api::start().await;
    api.caller.place().await;

    // Writes alone, so that it is the order's own that waits.
    command(&api, &["CLIENT", "PAUSE", &STALL.as_millis().to_string(), "WRITE"]).await;
    tokio::join!(api.caller.place(), api.caller.place());

    // The whole server.
    api.shop.stack.pause().unwrap();
    let resume = async {
        tokio::time::sleep(STALL).await;
        api.shop.stack.resume().unwrap();
    };
    tokio::join!(api.caller.place(), resume);
    assert_eq!(api.events().await, 4, "four were asked for, four are stored");
    api.running.stop().await;
}

/// The answer to a write did not come in time. The same key tells what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_told_by_the_same_key() {
    let shop = Shop::start().await;
    let impatient = Timeouts {
        response: Duration::from_secs(5),
        ..Timeouts::default()
    };
    let redis = Redis::with_timeouts(&shop.settings(User::Payments), impatient).unwrap();
    let mut actor = shop.actor(patient());
    actor.store = Store::new(redis, shop.keys.clone());
    let api = Api::with(shop, actor, |_| {}).await;
    let placed = api.completed().await;
    let (order_key, refund_key, body) = (new_key(), new_key(), order_of(1));
    command(&api, &["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let whole = json!({});
    let (order, refund) = tokio::join!(
        api.caller.place_as(&order_key, &body),
        api.caller.refund_as(&refund_key, &placed, &whole)
    );
    for response in [order, refund] {
        let (status, code, is_later) = refusal(response).await;
        assert_eq!((status, &*code, is_later), (504, "timeout", false));
    }
    command(&api, &["CLIENT", "UNPAUSE"]).await;
    // What waited in Redis is done now, whether anybody still waits for it or not.
    let order = eventually("the order", || async {
        let response = api.caller.place_as(&order_key, &body).await;
        is_replay(&response).then_some(response)
    })
    .await;
    let order = Placed::of(order).await;
    assert_eq!(api.caller.read(&order).await["version"], 1);
    let refund = api.caller.refund_as(&refund_key, &placed, &json!({})).await;
    assert_eq!(refund.status(), 202);
    let stored = crate::support::order(&api.state.actor, placed.id).await;
    assert_eq!(stored.refunds.len(), 1);
    api.running.stop().await;
}

/// The mark of a request can be read, and what it stored cannot: "nothing happened" would be wrong.
#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_is_never_answered_as_if_it_had_not() {
    let api = Api::start().await;
    let placed = api.completed().await;
    let (order_key, refund_key, body) = (new_key(), new_key(), order_of(1));
    let unknown = (504, "timeout".to_owned(), false);
    assert_eq!(api.caller.place_as(&order_key, &body).await.status(), 202);
    assert_eq!(
        api.caller.refund_as(&refund_key, &placed, &json!({})).await.status(),
        202
    );

    let allow = async |keys: &[String]| {
        let words: Vec<_> = keys.iter().map(String::as_str).collect();
        let user = ["ACL", "SETUSER", User::Payments.name(), "resetkeys"];
        command(&api, &[&user[..], &words].concat()).await;
    };
    allow(&[]).await;
    assert_eq!(refusal(api.caller.place_as(&order_key, &body).await).await, unknown);
    allow(&[format!("~{}*", api.shop.keys.order_prefix())]).await;
    assert_eq!(
        refusal(api.caller.refund_as(&refund_key, &placed, &json!({})).await).await,
        unknown
    );
    allow(&[format!("~{}*", api.shop.keys.payments_prefix())]).await;
    for response in [
        api.caller.place_as(&order_key, &body).await,
        api.caller.refund_as(&refund_key, &placed, &json!({})).await,
    ] {
        assert_eq!((response.status().as_u16(), is_replay(&response)), (202, true));
    }
    api.running.stop().await;
}

/// From 80 % of its memory no new order is taken, and those that are there go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_redis_takes_no_new_order() {
    let mut api = Api::start().await;
    let capacity = api.state.capacity.clone();
    let shutdown = api.running.token();
    api.running
        .spawn(capacity.watch(api.shop.redis(User::Payments), shutdown));
    let (sold, open) = (api.completed().await, api.caller.place().await);
    let (key, body) = (new_key(), order_of(1));
    let known = Placed::of(api.caller.place_as(&key, &body).await).await;

    let used: u64 = api.information("memory", "used_memory").await.parse().unwrap();
    api.configure("maxmemory", used + used / 8).await;
    eventually("no room", || async {
        (api.caller.try_place(&order_of(1)).await.status() == 503).then_some(())
    })
    .await;
    let events = api.events().await;
    assert_eq!(refusal(api.caller.try_place(&order_of(1)).await).await, full());
    assert_eq!(api.events().await, events);
    // What was accepted before is still told to have been.
    let again = Placed::of(api.caller.place_as(&key, &body).await).await;
    assert_eq!(again.body, known.body);
    api.caller.read(&open).await;
    assert_eq!(api.caller.cancel(&open).await.status(), 202);
    assert_eq!(api.caller.refund(&sold, &json!({})).await.status(), 202);

    api.configure("maxmemory", 0).await;
    eventually("room", || async {
        (api.caller.try_place(&order_of(1)).await.status() == 202).then_some(())
    })
    .await;
    api.running.stop().await;
}

/// Memory is out, and nobody saw it coming: each script is refused as a whole, before its first write.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_refuses_whole_requests() {
    let api = Api::start().await;
    let (sold, open) = (api.completed().await, api.caller.place().await);
    let before = (
        api.caller.read(&sold).await,
        api.caller.read(&open).await,
        api.events().await,
    );
    let (place, cancel, refund) = (new_key(), new_key(), new_key());
    let body = order_of(1);
    api.configure("maxmemory", "1mb").await;
    assert_eq!(refusal(api.caller.place_as(&place, &body).await).await, full());
    assert_eq!(refusal(api.caller.cancel_as(&cancel, &open).await).await, full());
    assert_eq!(
        refusal(api.caller.refund_as(&refund, &sold, &json!({})).await).await,
        full()
    );
    let after = (
        api.caller.read(&sold).await,
        api.caller.read(&open).await,
        api.events().await,
    );
    assert_eq!(after, before);

    api.configure("maxmemory", 0).await;
    // A request that had no effect left no mark: the same keys are as new.
    for response in [
        api.caller.place_as(&place, &body).await,
        api.caller.cancel_as(&cancel, &open).await,
        api.caller.refund_as(&refund, &sold, &json!({})).await,
    ] {
        assert_eq!((response.status().as_u16(), is_replay(&response)), (202, false));
    }
    api.running.stop().await;
}

/// Where a failover left us with a replica, reads go on and writes say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_redis_refuses_writes() {
    let api = Api::start().await;
    let placed = api.caller.place().await;
    let (key, body) = (new_key(), order_of(1));
    // Nobody listens there, so that it never begins to copy.
    command(&api, &["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(refusal(api.caller.place_as(&key, &body).await).await, unavailable());
    assert_eq!(refusal(api.caller.cancel(&placed).await).await, unavailable());
    assert_eq!(api.caller.read(&placed).await["version"], 1);
    command(&api, &["REPLICAOF", "NO", "ONE"]).await;
    let response = api.caller.place_as(&key, &body).await;
    assert_eq!((response.status().as_u16(), is_replay(&response)), (202, false));
    assert_eq!(api.caller.cancel(&placed).await.status(), 202);
    api.running.stop().await;
}

/// A server that is loading its data answers every command so, the greeting included.
#[tokio::test(flavor = "multi_thread")]
async fn a_loading_redis_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shop = Shop::start().await;
    let settings = RedisSettings {
        port,
        ..shop.settings(User::Payments)
    };
    let mut actor = shop.actor(patient());
    actor.store = Store::new(Redis::new(&settings).unwrap(), shop.keys.clone());
    let mut api = Api::with(shop, actor, |_| {}).await;
    let shutdown = api.running.token();
    api.running.spawn(async move {
        shutdown.run_until_cancelled(load_for_ever(listener)).await;
    });
    assert_eq!(refusal(api.caller.try_place(&order_of(1)).await).await, unavailable());
    let id = shopwright_domain::ids::OrderId::generate();
    let token = api.state.token_keys.sign(id);
    let path = format!("/v1/orders/{id}");
    assert_eq!(
        refusal(api.caller.get_with(&path, token.expose()).await).await,
        unavailable()
    );
    api.running.stop().await;
}

async fn load_for_ever(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut bytes = vec![0; 4_096];
            while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                let commands = bytes[..length].split(|byte| *byte == b'*').count() - 1;
                let answer = b"-LOADING Redis is loading the dataset in memory\r\n".repeat(commands);
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        });
    }
}
