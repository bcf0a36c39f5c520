//! How what was taken with one call is handled: entry by entry, or together. Pure.

use super::entry::Entry;
use super::{BatchHandler, Handler, Outcome};
use std::future::Future;
use std::sync::Arc;

/// The one difference between the two loops.
pub(super) trait Handling: Send + Sync + 'static {
    /// Whether what one call brought goes to one task.
    const TOGETHER: bool;

    /// An outcome for each entry, in their order.
    fn handle(&self, entries: &[Entry]) -> impl Future<Output = Vec<Outcome>> + Send;
}

/// Each entry in a task of its own.
#[derive(Debug)]
pub(super) struct Singly<H>(pub(super) Arc<H>);

impl<H: Handler> Handling for Singly<H> {
    const TOGETHER: bool = false;

    async fn handle(&self, entries: &[Entry]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            outcomes.push(self.0.handle(entry).await);
        }
        outcomes
    }
}

/// What one call brought in one task.
#[derive(Debug)]
pub(super) struct Together<H>(pub(super) Arc<H>);

impl<H: BatchHandler> Handling for Together<H> {
    const TOGETHER: bool = true;

    fn handle(&self, entries: &[Entry]) -> impl Future<Output = Vec<Outcome>> + Send {
        self.0.handle(entries)
    }
}
