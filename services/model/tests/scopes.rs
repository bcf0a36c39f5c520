//! The shop as it runs: every scope, to its end.
#![allow(clippy::unwrap_used, reason = "this whole crate is a test")]

use shopwright_model::{Scope, check, scope};

fn holds(scope: Scope, at_least: usize) {
    let report = check(scope, 2).unwrap();
    println!(
        "{}: {} states, depth {}, {:.1} s",
        report.name,
        report.states,
        report.depth,
        report.time.as_secs_f64()
    );
    assert!(report.is_clean(), "{report:#?}");
    // A model in which nothing can happen holds everything.
    assert!(report.states >= at_least, "only {} states", report.states);
}

#[test]
fn two_orders_for_one_piece() {
    holds(scope::TWO_ORDERS, 1_000_000);
}

#[test]
fn a_provider_that_fails_in_every_way() {
    holds(scope::PROVIDER, 100_000);
}

#[test]
fn somebody_who_decides_upon_the_past() {
    holds(scope::SLOW, 500_000);
}

#[test]
fn a_redis_that_loses_its_last_writes() {
    holds(scope::ROLLBACK, 1_000_000);
}

#[test]
fn a_redis_that_loses_writes_after_somebody_decided() {
    holds(scope::SLOW_ROLLBACK, 500_000);
}

#[test]
fn a_redis_that_forgets_who_got_the_piece() {
    holds(scope::ROLLBACK_OF_TWO, 1_000_000);
}

#[test]
fn a_scope_that_does_not_exist_is_named_with_those_that_do() {
    let names = |scopes: Vec<Scope>| scopes.iter().map(|scope| scope.name).collect::<Vec<_>>();
    assert_eq!(names(scope::named(&[]).unwrap()).len(), scope::SCOPES.len());
    assert_eq!(names(scope::named(&["rollback".to_owned()]).unwrap()), ["rollback"]);
    let error = scope::named(&["rolback".to_owned()]).unwrap_err().to_string();
    assert!(
        error.contains("'rolback'") && error.contains("rollback of two"),
        "{error}"
    );
}
