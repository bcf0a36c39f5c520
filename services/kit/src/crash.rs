//! Named points at which a test can end a process as `kill -9` does. Nothing is there unless the cargo feature
//! `crash-points` is on, and then only in a process that is given `CRASH_AT=NAME` or `CRASH_AT=NAME:NTH`.
//!
//! A process that crashes writes `crash point NAME` to standard error and aborts: no destructor runs, no socket is closed
//! in order, nothing more is sent. What it had handed to the kernel before is still sent, as after a kill.

/// Every point there is, as `SERVICE.STEP.BEFORE_OR_AFTER_WHAT`.
pub const POINTS: [&str; 15] = [
    "payments.place.before_store",
    "payments.place.after_store",
    "payments.stock.before_store",
    "payments.stock.after_store",
    "payments.job.before_record",
    "payments.job.after_record",
    "payments.job.before_call",
    "payments.job.after_call",
    "payments.job.after_store",
    "payments.sweep.after_lease",
    "payments.sweep.after_store",
    "payments.provider.after_effect",
    "inventory.react.before_store",
    "inventory.react.after_store",
    "inventory.adjust.after_store",
];

/// Ends the process here, if this is the pass that `CRASH_AT` names.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_: &'static str) {}

/// Ends the process here, if this is the pass that `CRASH_AT` names.
///
/// A `CRASH_AT` that names no point ends the process at its first one, whichever that is: a test that waited for a crash
/// at a mistyped name would prove nothing.
#[cfg(feature = "crash-points")]
pub fn point(name: &'static str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };
    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSES: AtomicU64 = AtomicU64::new(0);

    let plan = PLAN.get_or_init(|| std::env::var("CRASH_AT").ok().map(|text| plan(&text)));
    let Some((wanted, nth)) = plan else { return };
    if !POINTS.contains(&wanted.as_str()) || *nth == 0 {
        eprintln!("CRASH_AT names no crash point: {wanted}");
        std::process::abort();
    }
    if wanted == name && PASSES.fetch_add(1, Ordering::Relaxed) + 1 == *nth {
        eprintln!("crash point {name}");
        std::process::abort();
    }
}

/// A name, and at which pass; 0 when that is no number.
#[cfg(feature = "crash-points")]
fn plan(text: &str) -> (String, u64) {
    match text.split_once(':') {
        Some((name, nth)) => (name.to_owned(), nth.parse().unwrap_or(0)),
        None => (text.to_owned(), 1),
    }
}
