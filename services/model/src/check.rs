//! One scope, gone through to its end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::model::{Action, ShopModel};
use crate::rules::{AsItRuns, Rules};
use crate::scope::Scope;
use crate::table::TableError;

/// What a check found.
#[derive(Debug)]
pub struct Report {
    /// Of which scope.
    pub name: &'static str,
    /// Distinct orders, without counters and times.
    pub orders: usize,
    /// Distinct states of the whole.
    pub states: usize,
    /// States that were reached, with repetitions: the steps that were tried and led somewhere.
    pub generated: usize,
    /// The longest of the shortest ways to a state, give or take what several threads do to the order of the search.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// Broken invariants, each with a way there.
    pub broken: Vec<(&'static str, Vec<Action>)>,
    /// What should have been seen, and was not.
    pub unseen: Vec<&'static str>,
}

impl Report {
    /// Every invariant holds in every state, and everything was seen that it is checked for.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty() && self.unseen.is_empty()
    }
}

/// Goes through all states of the shop as it runs.
pub fn check(scope: Scope, threads: usize) -> Result<Report, TableError> {
    Ok(run(ShopModel::new(AsItRuns, scope)?, threads, HasDiscoveries::All))
}

/// Looks for a way in which other rules break one invariant.
pub fn refute(
    rules: impl Rules + 'static,
    scope: Scope,
    invariant: &'static str,
    threads: usize,
) -> Result<Option<Vec<Action>>, TableError> {
    let finish = HasDiscoveries::AnyOf(BTreeSet::from([invariant]));
    let report = run(ShopModel::new(rules, scope)?, threads, finish);
    let found = report.broken.into_iter().find(|(name, _)| *name == invariant);
    Ok(found.map(|(_, actions)| actions))
}

fn run(model: ShopModel, threads: usize, finish: HasDiscoveries) -> Report {
    let (name, orders) = (model.scope.name, model.table.size());
    let began = Instant::now();
    let checker = model.checker().threads(threads).finish_when(finish).spawn_bfs().join();
    let time = began.elapsed();
    let mut discoveries = checker.discoveries();
    let (mut broken, mut unseen) = (Vec::new(), Vec::new());
    for property in checker.model().properties() {
        match (property.expectation, discoveries.remove(property.name)) {
            (Expectation::Sometimes, None) => unseen.push(property.name),
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                broken.push((property.name, path.into_actions()));
            }
            _ => {}
        }
    }
    Report {
        name,
        orders,
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        time,
        broken,
        unseen,
    }
}
