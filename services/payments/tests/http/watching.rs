//! Orders as they change.

use std::time::Instant;

use futures::future::join_all;
use serde_json::json;
use shopwright_domain::ids::OrderId;
use shopwright_domain::order::{ChargeAnswer, Input};
use shopwright_kit::sse::Places;

use crate::api::{Api, refusal};
use crate::sse::{Reader, Said, request};
use crate::support::{Shop, eventually, patient};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_first_and_then_each_change() {
    let api = Api::start().await;
    let placed = api.caller.place().await;
    let mut reader = Reader::open(&api.caller, &placed, None).await;
    assert_eq!(reader.header("content-type"), "text/event-stream");
    assert_eq!(reader.header("cache-control"), "no-store");
    assert_eq!(reader.header("x-accel-buffering"), "no");
    let (version, snapshot) = reader.order().await;
    assert_eq!(version, 1);
    assert_eq!(snapshot, api.caller.read(&placed).await);
    api.reserve(placed.id).await;
    assert_eq!(reader.version().await, 2);
    api.act(placed.id, Input::ChargeStarting).await;
    assert_eq!(reader.version().await, 3);
    api.act(placed.id, Input::Charge(ChargeAnswer::Charged)).await;
    api.act(placed.id, Input::StockCommitted).await;
    let mut last = reader.order().await;
    if last.0 == 4 {
        last = reader.order().await;
    }
    assert_eq!((last.0, &last.1), (5, &api.caller.read(&placed).await));
    // It is sold, and the stream goes on: a refund may come.
    assert_eq!(api.caller.refund(&placed, &json!({})).await.status(), 202);
    let (version, order) = reader.order().await;
    assert_eq!((version, &order["refund_open"]), (6, &order["captured"]));
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_again_is_told_what_is_new_only() {
    let api = Api::start().await;
    let placed = api.caller.place().await;
    api.reserve(placed.id).await;
    let mut current = Reader::open(&api.caller, &placed, Some("2")).await;
    let mut older = Reader::open(&api.caller, &placed, Some("1")).await;
    let mut nonsense = Reader::open(&api.caller, &placed, Some("two")).await;
    // From before Redis lost its last moments.
    let mut newer = Reader::open(&api.caller, &placed, Some("7")).await;
    for reader in [&mut older, &mut nonsense, &mut newer] {
        assert_eq!(reader.version().await, 2);
    }
    // Silence is filled with comments, so that the connection is not taken for a dead one.
    assert_eq!(current.next().await, Some(Said::Comment("heartbeat".into())));
    api.act(placed.id, Input::Cancel).await;
    for reader in [&mut current, &mut older, &mut nonsense, &mut newer] {
        assert_eq!(reader.version().await, 3);
    }
    api.running.stop().await;
}

/// A thousand readers see the order move, and Redis is asked once for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_of_one_order_cost_one_read_a_change() {
    const READERS: usize = 1_000;
    let api = Api::start().await;
    let placed = api.caller.place().await;
    let mut readers = Vec::new();
    for _ in 0..READERS / 50 {
        let opening = (0..50).map(|_| Reader::open(&api.caller, &placed, None));
        readers.extend(join_all(opening).await);
    }
    assert_eq!(api.state.watch.orders(), 1);
    for reader in &mut readers {
        assert_eq!(reader.version().await, 1);
    }
    let (before, begun) = (reads(&api).await, Instant::now());
    // Of these the test itself reads five: `reserve` looks at the order twice, the others once each.
    api.complete(placed.id).await;
    let own = 5;
    let seen = join_all(readers.iter_mut().map(|reader| async {
        let mut versions = vec![1];
        while versions.last() != Some(&5) {
            versions.push(reader.version().await);
        }
        versions
    }))
    .await;
    for versions in &seen {
        assert!(versions.is_sorted_by(|left, right| left < right), "{versions:?}");
    }
    let read = reads(&api).await - before - own;
    // Four changes, and one more each time that the backstop came by.
    let most = 5 + begun.elapsed().as_secs() / 15;
    assert!((1..=most).contains(&read), "{read} reads for {READERS} readers");
    drop(readers);
    eventually("nobody watches", || async {
        (api.state.watch.orders() == 0 && api.state.places.free() == shopwright_payments::http::WATCHERS).then_some(())
    })
    .await;
    api.running.stop().await;
}

/// How often documents of orders were read.
async fn reads(api: &Api) -> u64 {
    let text = api.information("commandstats", "cmdstat_json.mget").await;
    let calls = text.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
    calls.unwrap_or("0").parse().unwrap()
}

/// A reader that does not read is told the newest state when it does, and holds up nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_skips_what_is_over() {
    let api = Api::start().await;
    let placed = api.completed().await;
    let mut watcher = api.state.watch.join(placed.id).await.unwrap();
    let mut quick = Reader::open(&api.caller, &placed, None).await;
    let first = quick.version().await;
    for _ in 0..50 {
        let wish = shopwright_domain::order::RefundRequest {
            id: shopwright_domain::ids::RefundId::generate(),
            amount: Some(shopwright_domain::money::Amount::new(1).unwrap()),
            reason: None,
        };
        api.act(placed.id, Input::RefundRequested(wish)).await;
    }
    while quick.version().await < first + 50 {}
    assert_eq!(watcher.current().version, first);
    assert_eq!(watcher.next().await.unwrap().version, first + 50);
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_bounded_and_free_again() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let api = Api::with(shop, actor, |state| state.places = Places::new(2)).await;
    let placed = api.caller.place().await;
    let mut first = Reader::open(&api.caller, &placed, None).await;
    let second = Reader::open(&api.caller, &placed, None).await;
    let third = refusal(request(&api.caller, &placed, None).await).await;
    assert_eq!(third, (503, "capacity".into(), true));
    // Others are served, and those who watch go on watching.
    api.reserve(placed.id).await;
    while first.version().await < 2 {}
    assert_eq!(api.caller.read(&placed).await["version"], 2);
    drop(second);
    eventually("a free place", || async {
        (request(&api.caller, &placed, None).await.status() == 200).then_some(())
    })
    .await;
    // Who was refused took no place.
    let nobody = api
        .caller
        .get_as_staff(&format!("/v1/orders/{}/events", OrderId::generate()))
        .await;
    assert!([404, 503].contains(&nobody.status().as_u16()));
    drop(first);
    eventually("all places", || async { (api.state.places.free() == 2).then_some(()) }).await;
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_the_process() {
    let api = Api::start().await;
    let placed = api.caller.place().await;
    let mut readers = join_all((0..20).map(|_| Reader::open(&api.caller, &placed, None))).await;
    for reader in &mut readers {
        assert_eq!(reader.version().await, 1);
    }
    let begun = Instant::now();
    let ends = join_all(readers.iter_mut().map(Reader::end));
    tokio::join!(api.running.stop(), ends);
    // The server would cut connections after 15 s; these ended by themselves.
    assert!(begun.elapsed().as_secs() < 10);
}
