//! Counts what happens while it happens. Everything is bounded, however long the run and whatever the shop answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shopwright_domain::order::State;

use crate::call::Call;
use crate::report::latency::Histogram;
use crate::report::{Calls, Failure, Placed, Requested, Streams};
use crate::violation::{Violation, ViolationKind};

/// The most violations that are kept with their details; all are counted.
const MOST_DETAILS: usize = 100;
/// The most kinds of failure that are told apart: a garbling shop could make up codes without end.
const MOST_FAILURES: usize = 200;

/// Everything that is counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) started: u64,
    pub(crate) late: u64,
    pub(crate) never_started: u64,
    pub(crate) start_delay: Histogram,
    pub(crate) calls: BTreeMap<Call, Calls>,
    pub(crate) failures: BTreeMap<Failure, u64>,
    pub(crate) placed: Placed,
    pub(crate) cancels: Requested,
    pub(crate) refunds: Requested,
    pub(crate) refunds_unsettled: u64,
    pub(crate) ended: BTreeMap<State, u64>,
    pub(crate) unfinished: BTreeMap<Option<State>, u64>,
    pub(crate) placed_to_terminal: Histogram,
    pub(crate) streams: Streams,
    pub(crate) violations: BTreeMap<ViolationKind, u64>,
    pub(crate) details: Vec<Violation>,
}

#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Counts>);

impl Recorder {
    /// Counts something.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A call came to its end, good or bad, so long after its intended start.
    pub(crate) fn finished(&self, call: Call, took: Duration, is_answered: bool) {
        self.count(|counts| {
            let calls = counts.calls.entry(call).or_default();
            calls.given_up += u64::from(!is_answered);
            calls.latency.record(took);
        });
    }

    pub(crate) fn failure(&self, failure: Failure) {
        self.count(|counts| {
            let known = counts.failures.contains_key(&failure);
            let failure = if known || counts.failures.len() < MOST_FAILURES {
                failure
            } else {
                Failure {
                    code: "(others)".to_owned(),
                    ..failure
                }
            };
            *counts.failures.entry(failure).or_default() += 1;
        });
    }

    pub(crate) fn violation(&self, kind: ViolationKind, subject: &impl ToString, detail: impl Into<String>) {
        let violation = Violation {
            kind,
            subject: subject.to_string(),
            detail: detail.into(),
        };
        self.count(|counts| {
            *counts.violations.entry(kind).or_default() += 1;
            if counts.details.len() < MOST_DETAILS {
                counts.details.push(violation);
            }
        });
    }

    pub(crate) fn snapshot(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
