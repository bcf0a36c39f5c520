//! Readers of live streams notice what goes back, what stands still and what breaks; a thousand of them fit.

use std::sync::atomic::Ordering;
use std::time::Duration;

use shopwright_load::report::Report;
use shopwright_load::violation::ViolationKind;
use shopwright_load::{Load, machine};
use tokio_util::sync::CancellationToken;

use crate::stand_in::{Fault, StandIn};

/// What is wrong with these streams stays so: it is not waited for.
async fn watch(fault: Fault) -> Report {
    let shop = StandIn::start(fault).await;
    let load = Load {
        settle: Duration::from_secs(1),
        ..watching(&shop)
    };
    load.run(CancellationToken::new()).await.unwrap()
}

fn watching(shop: &StandIn) -> Load {
    Load {
        readers: 10,
        ..shop.load("flash-sale", 50.0)
    }
}

#[tokio::test]
async fn a_version_that_goes_back_is_noticed() {
    let report = watch(Fault::StreamVersionBack).await;
    assert!(report.violations_of(ViolationKind::VersionBack) > 0, "{report}");
}

#[tokio::test]
async fn a_state_that_goes_back_is_noticed() {
    let report = watch(Fault::StreamStateBack).await;
    assert!(report.violations_of(ViolationKind::StateBack) > 0, "{report}");
}

#[tokio::test]
async fn a_stream_that_stays_behind_is_noticed() {
    let report = watch(Fault::StreamStuck).await;
    assert!(report.violations_of(ViolationKind::StreamBehind) > 0, "{report}");
    assert_eq!(
        report.violation_count(),
        report.violations_of(ViolationKind::StreamBehind),
        "{report}"
    );
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again() {
    let shop = StandIn::start(Fault::StreamEnds).await;
    let report = watching(&shop).run(CancellationToken::new()).await.unwrap();
    assert_eq!(report.violation_count(), 0, "{report}");
    assert!(report.streams.ended > 0 && report.streams.opened > 10, "{report}");
    assert!(
        shop.shop.resumed.load(Ordering::Relaxed) > 0,
        "Last-Event-ID was not sent"
    );
    // Ten readers, one to two seconds, at least 100 ms between two attempts.
    assert!(report.streams.opened < 250, "no back-off: {report}");
    assert_eq!(report.streams.confirmed, 10, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers() {
    // The shop is in this process too, so that each reader takes two files.
    if machine::raise_open_files() < 3_000 {
        eprintln!("left out: this system allows too few open files");
        return;
    }
    let shop = StandIn::start(Fault::None).await;
    let load = Load {
        readers: 1_000,
        duration: Duration::from_secs(4),
        ..shop.load("flash-sale", 25.0)
    };
    let report = load.run(CancellationToken::new()).await.unwrap();
    assert_eq!(report.violation_count(), 0, "{report}");
    assert_eq!(
        (report.streams.opened, report.streams.confirmed),
        (1_000, 1_000),
        "{report}"
    );
}
