//! A shop that stalls does not slow arrivals down, and shows in every latency, not in those of the few calls in flight.

use std::sync::atomic::Ordering;
use std::time::Duration;

use shopwright_load::journal::{self, Fact};
use shopwright_load::{Call, Load, LoadError};
use tokio_util::sync::CancellationToken;

use crate::stand_in::{Fault, StandIn};

/// Waits until as many requests as are allowed are in flight.
async fn fill(shop: &StandIn) {
    while shop.shop.requests.load(Ordering::Relaxed) < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn latency_counts_from_the_intended_start() {
    let shop = StandIn::start(Fault::None).await;
    shop.shop.hold.send_replace(true);
    let load = Load {
        in_flight: 4,
        ..shop.load("flash-sale", 100.0)
    };
    let running = tokio::spawn(load.run(CancellationToken::new()));
    fill(&shop).await;
    // From here, so that the last arrival is due before there is room, however late the load began.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        shop.shop.requests.load(Ordering::Relaxed),
        4,
        "no more than allowed are in flight"
    );
    shop.shop.hold.send_replace(false);
    let report = running.await.unwrap().unwrap();
    assert_eq!(report.orders.accepted, 99, "{report}");
    assert_eq!((report.starts.started, report.starts.never), (99, 0), "{report}");
    // All but the first four were due before there was room.
    assert_eq!(report.starts.late, 95, "{report}");
    // Half of the arrivals were due in the first half second of the stall, and waited for the rest of it. Counted from
    // their actual start, 95 of 99 would have taken a few milliseconds.
    let placed = &report.calls[&Call::PlaceOrder].latency;
    assert!(placed.percentile(45.0) >= Duration::from_millis(450), "{report}");
    assert!(placed.max() >= Duration::from_millis(950), "{report}");
    assert!(report.starts.delay.max() >= Duration::from_millis(900), "{report}");
}

#[tokio::test]
async fn stopped_in_a_stall_everything_is_accounted_for() {
    let shop = StandIn::start(Fault::None).await;
    shop.shop.hold.send_replace(true);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let load = Load {
        in_flight: 4,
        duration: Duration::from_secs(60),
        journal: Some(path.clone()),
        ..shop.load("flash-sale", 100.0)
    };
    let cancel = CancellationToken::new();
    let running = tokio::spawn(load.run(cancel.clone()));
    fill(&shop).await;
    cancel.cancel();
    let report = running.await.unwrap().unwrap();
    assert_eq!((report.starts.started, report.orders.unknown), (4, 4), "{report}");
    assert_eq!(report.starts.never, 5_999 - 4, "{report}");
    let records = journal::read(&path).unwrap();
    let unknown = records
        .iter()
        .filter(|record| matches!(record.fact, Fact::OrderUnknown { .. }));
    assert_eq!((records.len(), unknown.count()), (4, 4));
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_ends_the_run() {
    let shop = StandIn::start(Fault::None).await;
    let load = Load {
        duration: Duration::from_secs(600),
        journal: Some("/dev/full".into()),
        ..shop.load("flash-sale", 100.0)
    };
    let outcome = load.run(CancellationToken::new()).await;
    assert!(matches!(outcome, Err(LoadError::Journal(_))), "{outcome:?}");
}

#[tokio::test]
async fn what_cannot_be_done_is_said_before_anything_is() {
    let shop = StandIn::start(Fault::None).await;
    let load = Load {
        admin_key: None,
        ..shop.load("refunds", 10.0)
    };
    let outcome = load.run(CancellationToken::new()).await;
    assert!(matches!(outcome, Err(LoadError::NoAdminKey)));
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let outcome = shop.load("flash-sale", rate).run(CancellationToken::new()).await;
        assert!(matches!(outcome, Err(LoadError::Rate)), "{rate}");
    }
    assert_eq!(shop.shop.requests.load(Ordering::Relaxed), 0);
}
