//! Ctrl-C and SIGTERM during a command that owns something. The process's own children get Ctrl-C themselves.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a process ended by SIGINT, as shells write it.
const INTERRUPTED: i32 = 130;

/// Ctrl-C or SIGTERM, from the moment this is made on; within a runtime.
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns when the first of them has come.
    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// From now on an interrupt runs `clean_up` and ends the process.
pub(crate) fn clean_up_with(clean_up: impl FnOnce() + Send + 'static) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut interrupt = {
        let _entered = runtime.enter();
        Interrupt::new()?
    };
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            runtime.block_on(interrupt.received());
            eprintln!("interrupted: cleaning up");
            clean_up();
            std::process::exit(INTERRUPTED);
        })?;
    Ok(())
}
