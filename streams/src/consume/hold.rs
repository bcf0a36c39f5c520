//! The entries in hand: which they are, and the renewal that keeps peers from claiming them.

use super::{Counters, Settings};
use crate::connection::Shared;
use crate::entry_id::EntryId;
use crate::error::Error;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Ids renewed with one command, so that no call is slow.
const RENEWAL_BATCH: usize = 256;

/// The entries in hand, shared by the loop, the handlers and the renewal.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    ids: Arc<Mutex<BTreeSet<EntryId>>>,
    counters: Arc<Counters>,
}

/// Keeps an entry in hand until dropped, however its handler ends.
#[derive(Debug)]
pub(super) struct Held {
    holding: Holding,
    id: EntryId,
}

impl Holding {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self {
            ids: Arc::default(),
            counters,
        }
    }

    /// Takes an entry in hand; none when it is there already, which a claim after a long stall can bring about.
    pub(super) fn take(&self, id: EntryId) -> Option<Held> {
        let taken = self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        taken.then(|| {
            self.counters.in_hand.fetch_add(1, Ordering::Relaxed);
            Held {
                holding: self.clone(),
                id,
            }
        })
    }

    /// What is in hand now.
    pub(super) fn ids(&self) -> Vec<EntryId> {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .copied()
            .collect()
    }

    /// Renews what is in hand each third of `claim_min_idle`, until dropped. A failed renewal is tried at the next turn:
    /// two may fail before a peer takes the entry.
    pub(super) async fn renew(self, shared: Shared, settings: Arc<Settings>) {
        loop {
            tokio::time::sleep(settings.claim_min_idle / 3).await;
            for ids in self.ids().chunks(RENEWAL_BATCH) {
                if let Err(error) = renew(&shared, &settings, ids).await {
                    self.counters.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(stream = settings.key, %error, "entries in hand were not renewed");
                }
            }
        }
    }
}

/// XCLAIM by the owner itself resets the idle time; JUSTID leaves the delivery count alone. An entry acknowledged
/// meanwhile is not pending and stays away.
async fn renew(shared: &Shared, settings: &Settings, ids: &[EntryId]) -> Result<(), Error> {
    let mut command = redis::cmd("XCLAIM");
    command
        .arg(&settings.key)
        .arg(&settings.group)
        .arg(&settings.consumer)
        .arg(0);
    for id in ids {
        command.arg(id.to_string());
    }
    command.arg("JUSTID").exec_async(&mut shared.repeating()).await?;
    Ok(())
}

impl Drop for Held {
    fn drop(&mut self) {
        self.holding
            .ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
        self.holding.counters.in_hand.fetch_sub(1, Ordering::Relaxed);
    }
}
