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

/// One round; how many were taken. Fails only when Redis is away for all of them; an order that cannot be seen to is counted.
pub async fn sweep(actor: &Actor) -> Result<usize, StoreError> {
    let due = actor.store.take_due(LEASE, BATCH).await?;
    for member in &due {
        match see_to(actor, member).await {
            Ok(()) => {}
            // The rest of the batch would meet the same.
            Err(ActError::Store(error)) if error.is_passing() => return Err(error),
            // The lease ends, and it is tried again. Those behind it must not wait for that.
            Err(error) => {
                actor.metrics.due_failed.inc();
                tracing::warn!(order = member, %error, "a due order was left for later");
            }
        }
    }
    Ok(due.len())
}

async fn see_to(actor: &Actor, member: &str) -> Result<(), ActError> {
    let Ok(id) = member.parse() else {
        tracing::error!("a due time names no order; it is dropped");
        return Ok(actor.store.drop_due(member).await?);
    };
    match actor.act(id, &Happening::Input(Input::Due)).await {
        Ok(_) => Ok(()),
        Err(ActError::Missing) => {
            tracing::error!(order = %id, "a due time names an order that does not exist; it is dropped");
            Ok(actor.store.forget_due(id).await?)
        }
        Err(error) => Err(error),
    }
}
