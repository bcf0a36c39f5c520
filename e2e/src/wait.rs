//! Waiting for conditions. A deadline is how long a slow machine may take, never how long something should take.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::time::{sleep, timeout};

const INTERVAL: Duration = Duration::from_millis(200);

/// One probe that hangs (a connection to a paused server) must not eat the whole deadline.
const PROBE_LIMIT: Duration = Duration::from_secs(25);

/// For everything that the cluster does by itself: pods that start, objects that go.
pub const LONG: Duration = Duration::from_mins(5);

/// For what the operator does by itself once it has seen a change.
pub const SHORT: Duration = Duration::from_mins(2);

/// Tries `probe` until it succeeds. An error means "not yet"; the last one is part of the failure, so it should say what was seen.
pub async fn until<T, F, P>(what: &str, deadline: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> P,
    P: Future<Output = Result<T>>,
{
    let started = Instant::now();
    loop {
        let outcome = timeout(PROBE_LIMIT, probe())
            .await
            .unwrap_or_else(|_| Err(anyhow!("the probe itself got no answer")));
        match outcome {
            Ok(value) => return Ok(value),
            Err(last) if started.elapsed() >= deadline => {
                return Err(last).with_context(|| format!("waited {} s for {what}", deadline.as_secs()));
            }
            Err(_) => sleep(INTERVAL).await,
        }
    }
}

/// Asks `probe` again and again for `window`; the first error is the failure. A question that the API server did not answer
/// is none: it is asked again, and the last one must have been answered.
pub async fn holds<F, P>(what: &str, window: Duration, mut probe: F) -> Result<()>
where
    F: FnMut() -> P,
    P: Future<Output = Result<()>>,
{
    let started = Instant::now();
    let mut unanswered = false;
    while started.elapsed() < window || (unanswered && started.elapsed() < window + SHORT) {
        let outcome = probe().await;
        unanswered = outcome.as_ref().is_err_and(is_unanswered);
        if !unanswered {
            outcome.with_context(|| format!("{what} did not hold for {} s", window.as_secs()))?;
        }
        sleep(INTERVAL).await;
    }
    ensure!(!unanswered, "{what}: the API server gave no answer any more");
    Ok(())
}

fn is_unanswered(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::HyperError(_) | kube::Error::Service(_)) => true,
        Some(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
        _ => false,
    }
}
