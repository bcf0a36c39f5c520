//! Ctrl-C and SIGTERM during a command that owns something: clean up, then exit. The process's own children get Ctrl-C themselves.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a process ended by SIGINT, as shells write it.
const INTERRUPTED: i32 = 130;

/// From now on an interrupt runs `clean_up` and ends the process.
pub(crate) fn clean_up_with(clean_up: impl FnOnce() + Send + 'static) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            eprintln!("interrupted: cleaning up");
            clean_up();
            std::process::exit(INTERRUPTED);
        })?;
    Ok(())
}
