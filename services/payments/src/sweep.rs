//! The sweeper: turns due times into a state change or a job, which wakes the consumers. Runs scripts only, never calls
//! the provider, and may run in any number of processes at once.

use std::sync::Arc;
use std::time::Duration;

use shopwright_domain::ids::OrderId;
use shopwright_domain::order::Input;
use shopwright_kit::crash;
use tokio_util::sync::CancellationToken;

use crate::act::{ActError, Actor, OrderInput};
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

/// One round; how many were taken. Fails only when Redis is away for them; an order that cannot be seen to is counted.
pub async fn sweep(actor: &Actor) -> Result<usize, Arc<ActError>> {
    let members = actor.store.take_due(LEASE, BATCH).await.map_err(failed)?;
    if members.is_empty() {
        return Ok(0);
    }
    crash::point("payments.sweep.after_lease");
    let mut due = Vec::with_capacity(members.len());
    for member in &members {
        if let Ok(id) = member.parse::<OrderId>() {
            due.push(OrderInput {
                order: id,
                input: Input::Due,
                entry: None,
            });
        } else {
            tracing::error!("a due time names no order; it is dropped");
            actor.store.drop_due(member).await.map_err(failed)?;
        }
    }
    let answers = actor.act_all(&due).await;
    crash::point("payments.sweep.after_store");
    let mut outage = None;
    for (OrderInput { order: id, .. }, answer) in due.iter().zip(answers) {
        match answer.as_ref().map_err(AsRef::as_ref) {
            Ok(()) => {}
            Err(ActError::Missing) => {
                tracing::error!(order = %id, "a due time names an order that does not exist; it is dropped");
                actor.store.forget_due(*id).await.map_err(failed)?;
            }
            Err(ActError::Store(error)) if error.is_passing() => outage = answer.err(),
            // The lease ends, and it is tried again. Those behind it must not wait for that.
            Err(error) => {
                actor.metrics.due_failed.inc();
                tracing::warn!(order = %id, %error, "a due order was left for later");
            }
        }
    }
    // Met by all of them at once, so that the caller logs it once.
    match outage {
        Some(error) => Err(error),
        None => Ok(members.len()),
    }
}

fn failed(error: StoreError) -> Arc<ActError> {
    Arc::new(error.into())
}
