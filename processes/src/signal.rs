//! Signals to own children. Touches the one child it is given.

use std::io;
use std::process::Child;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// Signals a child whose end has not been waited for, so that its id cannot have become another process's meanwhile.
/// A child that has ended by itself takes the signal without effect.
pub fn signal(child: &mut Child, signal: Signal) -> io::Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    Ok(kill_process(Pid::from_child(child), signal)?)
}
