//! Whole runs: everything that was accepted is in the journal, whatever the shop does.

use std::collections::BTreeSet;
use std::time::Duration;

use shopwright_domain::ids::OrderId;
use shopwright_domain::order::State;
use shopwright_load::Load;
use shopwright_load::journal::{self, Fact, Record};
use shopwright_load::products::{NewProducts, Products};
use shopwright_load::report::Report;
use tokio_util::sync::CancellationToken;

use crate::stand_in::{Fault, StandIn};

async fn run(load: Load) -> (Report, Vec<Record>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let load = Load {
        journal: Some(path.clone()),
        ..load
    };
    let report = load.run(CancellationToken::new()).await.unwrap();
    (report, journal::read(&path).unwrap())
}

fn accepted(records: &[Record]) -> BTreeSet<OrderId> {
    let accepted = records.iter().filter_map(|record| match &record.fact {
        Fact::OrderAccepted { id, .. } => Some(*id),
        _ => None,
    });
    accepted.collect()
}

#[tokio::test]
async fn a_good_shop_keeps_every_promise() {
    let shop = StandIn::start(Fault::None).await;
    let load = shop.load("browse,flash-sale,long-tail,refunds,cancels=3,twice=3", 200.0);
    let (report, records) = run(Load { readers: 5, ..load }).await;
    assert_eq!(report.violation_count(), 0, "{report}");
    assert!(
        report
            .failures
            .keys()
            .all(|failure| failure.code == "order_state_conflict"),
        "{report}"
    );
    let orders = shop.orders().into_iter().collect();
    assert_eq!(accepted(&records), orders);
    assert_eq!(report.orders.accepted, orders.len() as u64);
    assert_eq!(report.ended.values().sum::<u64>(), report.orders.accepted, "{report}");
    for state in [State::Completed, State::Cancelled, State::Refunded] {
        assert!(report.ended.contains_key(&state), "{state:?}: {report}");
    }
    let count = |wanted: fn(&Fact) -> bool| records.iter().filter(|record| wanted(&record.fact)).count() as u64;
    assert_eq!(
        count(|fact| matches!(fact, Fact::CancelAccepted { .. })),
        report.cancels.accepted
    );
    assert_eq!(
        count(|fact| matches!(fact, Fact::RefundAccepted { .. })),
        report.refunds.accepted
    );
    assert!(report.refunds.accepted > 0 && report.streams.confirmed >= 5, "{report}");
    let text = report.to_string();
    for words in [
        "no violations",
        "placed to terminal",
        "cores",
        "completed",
        "readers     5",
    ] {
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn lost_replies_double_nothing() {
    let shop = StandIn::start(Fault::BreaksReplies).await;
    let (report, records) = run(shop.load("flash-sale,twice", 100.0)).await;
    assert_eq!(report.violation_count(), 0, "{report}");
    assert!(report.failures.values().sum::<u64>() >= 25, "{report}");
    assert_eq!(accepted(&records), shop.orders().into_iter().collect());
}

#[tokio::test]
async fn a_shop_that_dies_ends_no_run_before_its_time() {
    let shop = StandIn::start(Fault::None).await;
    let load = Load {
        attempts: 3,
        readers: 2,
        follow: Duration::from_secs(2),
        settle: Duration::from_millis(500),
        // So long that its death comes before the last arrival.
        duration: Duration::from_secs(5),
        ..shop.load("browse,long-tail,cancels,twice", 100.0)
    };
    let url = load.url.clone();
    let running = tokio::spawn(run(load));
    while shop.orders().len() < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(shop);
    let (report, records) = running.await.unwrap();
    assert_eq!(report.starts.started, 499, "{url}: {report}");
    assert!(report.orders.unavailable + report.orders.unknown > 0, "{report}");
    assert_eq!(accepted(&records).len() as u64, report.orders.accepted);
    assert_eq!(report.violation_count(), 0, "{report}");
    let followed = report.ended.values().sum::<u64>() + report.unfinished.values().sum::<u64>();
    assert_eq!(followed, report.orders.accepted, "{report}");
}

#[tokio::test]
async fn products_are_created_once_though_replies_are_lost() {
    let shop = StandIn::start(Fault::BreaksReplies).await;
    let new = NewProducts {
        count: 5,
        hot_stock: 1,
        stock: 10,
        currency: "EUR".parse().unwrap(),
    };
    let key = shopwright_load::AdminKey::new("key");
    let products = Products::create(&shop.url, &key, new).await.unwrap();
    let ids: BTreeSet<_> = products.as_slice().iter().map(|product| product.id).collect();
    assert_eq!(ids.len(), 5);
    assert_eq!(Products::existing(&shop.url).await.unwrap().as_slice().len(), 1);
}
