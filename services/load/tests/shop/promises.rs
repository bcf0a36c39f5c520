//! Each broken promise is noticed, by its name.

use shopwright_load::Load;
use shopwright_load::violation::ViolationKind;
use tokio_util::sync::CancellationToken;

use crate::stand_in::{Fault, StandIn};

async fn violations(fault: Fault, mix: &str) -> Vec<ViolationKind> {
    let shop = StandIn::start(fault).await;
    let load = Load {
        count: 20,
        attempts: 2,
        ..shop.load(mix, 100.0)
    };
    let report = load.run(CancellationToken::new()).await.unwrap();
    assert_eq!(report.details.len() as u64, report.violation_count().min(100));
    report.violations.into_keys().collect()
}

#[tokio::test]
async fn an_order_doubled_by_its_key_is_noticed() {
    // A shop that knows no key marks no repeated cancellation either.
    assert!(
        violations(Fault::Doubles, "twice")
            .await
            .contains(&ViolationKind::Doubled)
    );
    // Without repeats there is nothing to notice.
    assert_eq!(violations(Fault::Doubles, "flash-sale").await, []);
}

#[tokio::test]
async fn a_replay_that_is_not_marked_is_noticed() {
    assert_eq!(
        violations(Fault::UnmarkedReplays, "twice").await,
        [ViolationKind::NotReplayed]
    );
}

#[tokio::test]
async fn an_order_that_is_not_there_is_noticed() {
    assert_eq!(violations(Fault::Forgets, "flash-sale").await, [ViolationKind::Lost]);
}

#[tokio::test]
async fn a_cancelled_order_that_completes_is_noticed() {
    assert_eq!(
        violations(Fault::IgnoresCancels, "cancels").await,
        [ViolationKind::CancelIgnored]
    );
}

#[tokio::test]
async fn more_money_back_than_was_taken_is_noticed() {
    assert_eq!(
        violations(Fault::RefundsTooMuch, "refunds").await,
        [ViolationKind::Money]
    );
}
