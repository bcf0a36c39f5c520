//! The sweeper: turns due times into a state change or a job, which wakes the consumers. Runs scripts only, never calls
//! the provider, and may run in any number of processes at once.

use std::time::Duration;

use shopwright_domain::order::Input;
use tokio_util::sync::CancellationToken;

use crate::act::{ActError, Actor, Happening};
use crate::store::StoreError;

/// How long others leave alone what was taken. A change of the order puts the real due time in its place.
const LEASE: Duration = Duration::from_secs(5);
/// Orders taken at once.
const BATCH: usize = 64;

/// Sweeps every `interval` until `shutdown`.
pub async fn run(actor: Actor, interval: Duration, shutdown: CancellationToken) {
    let mut was_failing = false;
    while !shutdown.is_cancelled() {
        let more = match sweep(&actor).await {
            Ok(taken) => {
                was_failing = false;
                taken == BATCH
            }
            Err(error) => {
                // Redis may be away for long; one line says so.
                if !was_failing {
                    tracing::warn!(%error, "due times cannot be seen to");
                }
                was_failing = true;
                false
            }
        };
        if !more {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(interval) => {}
            }
        }
    }
}

/// One round; how many were taken.
pub async fn sweep(actor: &Actor) -> Result<usize, StoreError> {
    let due = actor.store.take_due(LEASE, BATCH).await?;
    for member in &due {
        let Ok(id) = member.parse() else {
            tracing::error!("a due time names no order; it is dropped");
            actor.store.drop_due(member).await?;
            continue;
        };
        match actor.act(id, &Happening::Input(Input::Due)).await {
            Ok(_) => {}
            Err(ActError::Missing) => {
                tracing::error!(order = %id, "a due time names an order that does not exist; it is dropped");
                actor.store.forget_due(id).await?;
            }
            Err(ActError::Store(error)) => return Err(error),
            // The lease ends, and it is tried again.
            Err(error) => tracing::warn!(order = %id, %error, "a due order was left for later"),
        }
    }
    Ok(due.len())
}
