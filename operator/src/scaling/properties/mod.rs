//! What must hold for every history. Each property can be asked of `decide` and of its mutants, so that a property that
//! notices nothing is noticed.

mod history;
mod liveness;
mod mutants;
mod safety;

use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseResult, TestRunner},
};

use self::history::{Decider, History, history};

/// What must hold, its name, and the check.
type Property = (&'static str, fn(Decider, &History) -> TestCaseResult);

/// Names a module's properties, and makes a test of each.
macro_rules! properties {
    ($($name:ident),* $(,)?) => {
        pub(super) const PROPERTIES: &[super::Property] = &[$((stringify!($name), $name)),*];

        mod hold {
            $(#[test]
            fn $name() {
                crate::scaling::properties::holds(super::$name);
            })*
        }
    };
}
use properties;

fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
}

/// The property holds for `decide`. More cases by `PROPTEST_CASES`.
fn holds(property: fn(Decider, &History) -> TestCaseResult) {
    let cases = Config::default().cases.max(512);
    proptest!(config(cases), |(history in history())| {
        property(crate::scaling::decide, &history)?;
    });
}

/// Whether the property notices a mutant; always by the same histories.
fn notices(property: fn(Decider, &History) -> TestCaseResult, mutant: Decider) -> bool {
    let mut config = config(4_000);
    config.max_shrink_iters = 0;
    let random = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, random)
        .run(&history(), |history| property(mutant, &history))
        .is_err()
}
