//! What a process died of, and how often which death came. Pure.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use crate::role::Role;

/// What crash points write before they abort.
const CRASHED: &str = "crash point ";
/// What Rust writes when code panics.
const PANICKED: &str = "panicked at";
const SIGABRT: i32 = 6;

/// What a process died of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// The storm killed it.
    Killed,
    /// It came to the crash point it was armed with.
    CrashPoint(String),
    /// By itself, which none should.
    Unasked(String),
}

/// Judges by who asked for it, how it ended, and what its log says.
pub fn judge(killed: bool, status: ExitStatus, log: &str) -> Death {
    let crashed = log.lines().rev().find_map(|line| line.strip_prefix(CRASHED));
    match (status.signal(), crashed) {
        (Some(SIGABRT), Some(point)) => Death::CrashPoint(point.trim().to_owned()),
        // One that ended by itself in the moment of its killing cannot be told from one that was killed.
        _ if killed => Death::Killed,
        _ => {
            let last = log.lines().next_back().unwrap_or("its log is empty");
            Death::Unasked(format!("{status}: {last}"))
        }
    }
}

/// The lines of a log that tell of a panic.
pub fn panics(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter(|line| line.contains(PANICKED))
}

/// How often which death came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    /// By the storm, of each role.
    pub killed: BTreeMap<Role, u32>,
    /// At each crash point.
    pub crashed: BTreeMap<String, u32>,
    /// By itself: whose, and how.
    pub unasked: Vec<(Role, String)>,
}

impl Deaths {
    /// Counts one.
    pub fn count(&mut self, role: Role, death: Death) {
        match death {
            Death::Killed => *self.killed.entry(role).or_default() += 1,
            Death::CrashPoint(point) => *self.crashed.entry(point).or_default() += 1,
            Death::Unasked(how) => self.unasked.push((role, how)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: i32 = 9;

    #[test]
    fn a_crash_point_is_one_only_with_its_signal_and_its_word() {
        let log = "INFO listening\ncrash point payments.job.after_call\n";
        let crashed = Death::CrashPoint("payments.job.after_call".into());
        assert_eq!(judge(false, ExitStatus::from_raw(SIGABRT), log), crashed);
        assert_eq!(
            judge(true, ExitStatus::from_raw(SIGABRT), log),
            crashed,
            "before the kill came"
        );
        assert_eq!(judge(true, ExitStatus::from_raw(KILL), log), Death::Killed);
        assert_eq!(judge(true, ExitStatus::from_raw(KILL), ""), Death::Killed);
        assert!(matches!(
            judge(false, ExitStatus::from_raw(SIGABRT), "double free"),
            Death::Unasked(_)
        ));
        assert!(
            matches!(judge(false, ExitStatus::from_raw(1 << 8), log), Death::Unasked(how) if how.contains("exit status: 1"))
        );
    }

    #[test]
    fn a_panic_in_a_task_shows_though_the_process_lives() {
        let log = "INFO a\nthread 'tokio-rt-worker' (7) panicked at services/x.rs:1:2:\nINFO b\n";
        assert_eq!(panics(log).count(), 1);
        assert_eq!(panics("INFO a\n").count(), 0);
    }
}
