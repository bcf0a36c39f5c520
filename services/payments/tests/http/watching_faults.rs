//! Watching while Redis comes and goes.

use std::time::{Duration, Instant};

use shopwright_domain::order::Input;
use shopwright_redis_stack::Append;

use crate::api::{Api, refusal};
use crate::sse::{Reader, request};
use crate::support::{Shop, eventually};

/// Ids of the connections that subscribed.
async fn subscribers(api: &Api) -> Vec<String> {
    let list: String = redis::cmd("CLIENT")
        .arg(&["LIST", "TYPE", "PUBSUB"])
        .query_async(&mut api.shop.harness().await)
        .await
        .unwrap();
    let ids = list
        .lines()
        .filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
    ids.map(str::to_owned).collect()
}

async fn is_followed(api: &Api, not: &[String]) -> Vec<String> {
    eventually("a subscription", || async {
        let now = subscribers(api).await;
        (now.len() == 1 && now != not).then_some(now)
    })
    .await
}

/// What changes while nobody listens is seen as soon as somebody does again, long before the backstop.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_the_gap_between_two_subscriptions_is_seen() {
    let api = Api::start().await;
    let placed = api.caller.place().await;
    let mut reader = Reader::open(&api.caller, &placed, None).await;
    assert_eq!(reader.version().await, 1);
    let before = is_followed(&api, &[]).await;
    let begun = Instant::now();
    // In one go, so that the change is stored before the connection can be made again.
    let mut connection = api.shop.harness().await;
    let () = redis::pipe()
        .cmd("CLIENT")
        .arg(&["KILL", "TYPE", "PUBSUB"])
        .ignore()
        .cmd("JSON.MERGE")
        .arg(api.shop.keys.order(placed.id))
        .arg("$")
        .arg(r#"{"version":2}"#)
        .ignore()
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(reader.version().await, 2);
    assert!(begun.elapsed() < Duration::from_secs(10), "that was the backstop");
    is_followed(&api, &before).await;
    api.act(placed.id, Input::Cancel).await;
    assert_eq!(reader.version().await, 3);
    api.running.stop().await;
}

/// A hint that never came, over a subscription that looks alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_hint_is_made_up_for() {
    let api = Api::start().await;
    let placed = api.caller.place().await;
    let mut reader = Reader::open(&api.caller, &placed, None).await;
    assert_eq!(reader.version().await, 1);
    is_followed(&api, &[]).await;
    let key = api.shop.keys.order(placed.id);
    redis::cmd("JSON.MERGE")
        .arg(&[&*key, "$", r#"{"version":2}"#])
        .exec_async(&mut api.shop.harness().await)
        .await
        .unwrap();
    assert_eq!(reader.version().await, 2);
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_gone_the_stream_stays_and_then_goes_on() {
    let mut api = Api::over(Shop::start_with(Append::Always).await).await;
    let placed = api.caller.place().await;
    let mut reader = Reader::open(&api.caller, &placed, None).await;
    assert_eq!(reader.version().await, 1);
    api.shop.stack.kill().unwrap();
    // Who comes now is told to come again.
    let refused = refusal(request(&api.caller, &placed, None).await).await;
    assert_eq!(refused, (503, "dependency_unavailable".into(), true));
    api.shop.stack.restart().unwrap();
    eventually("a cancel after the restart", || async {
        (api.caller.cancel(&placed).await.status() == 202).then_some(())
    })
    .await;
    assert_eq!(reader.version().await, 2);
    api.running.stop().await;
}

/// Redis came back without its last moments: what the stream said no longer counts, and whoever comes again is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_order_is_lost_ends() {
    let mut api = Api::start().await;
    let placed = api.caller.place().await;
    let mut reader = Reader::open(&api.caller, &placed, None).await;
    assert_eq!(reader.version().await, 1);
    api.shop.stack.kill().unwrap();
    api.shop.stack.restart().unwrap();
    reader.end().await;
    assert_eq!(request(&api.caller, &placed, Some("1")).await.status(), 404);
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_order_is_an_older_one_again_ends() {
    let api = Api::start().await;
    let placed = api.caller.place().await;
    api.reserve(placed.id).await;
    let mut reader = Reader::open(&api.caller, &placed, None).await;
    assert_eq!(reader.version().await, 2);
    is_followed(&api, &[]).await;
    let key = api.shop.keys.order(placed.id);
    let () = redis::pipe()
        .cmd("JSON.MERGE")
        .arg(&[&*key, "$", r#"{"version":1}"#])
        .ignore()
        .cmd("CLIENT")
        .arg(&["KILL", "TYPE", "PUBSUB"])
        .ignore()
        .query_async(&mut api.shop.harness().await)
        .await
        .unwrap();
    reader.end().await;
    let mut again = Reader::open(&api.caller, &placed, Some("2")).await;
    assert_eq!(again.version().await, 1);
    api.running.stop().await;
}
