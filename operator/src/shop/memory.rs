//! What the controller remembers of each Shop between reconciles, so that one at rest costs no request. Losing all of it
//! costs requests, never correctness.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use jiff::Timestamp;
use shopwright_api::{ShopStatus, names::Component};

use super::{credentials::Credentials, kinds::Kind};

/// A child as it was after we last applied it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Hash of what was applied.
    pub desired: u64,
    /// Fingerprint of what the API server made of it.
    pub fingerprint: u64,
}

/// Credentials, and when they were read.
#[derive(Clone, Debug)]
pub struct KnownCredentials {
    /// What was read.
    pub credentials: Credentials,
    /// When.
    pub read: Instant,
}

/// What is remembered of one Shop.
#[derive(Debug, Default)]
pub struct Memory {
    /// Of which Shop: another UID is another Shop.
    pub uid: String,
    /// Children, as applied.
    pub records: HashMap<(Kind, String), Record>,
    /// The passwords and the admin key.
    pub credentials: Option<KnownCredentials>,
    /// The status that we wrote last, and when.
    pub status: Option<(ShopStatus, Instant)>,
    /// Since when consumers are wanted and none is available; `None` before the first look.
    pub starved: Option<BTreeMap<Component, Timestamp>>,
}

/// Namespace and name.
pub type Key = (String, String);

/// The memories of all Shops, and how often each has failed in a row.
#[derive(Debug, Default)]
pub struct Memories {
    shops: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Memory>>>>,
    failures: Mutex<HashMap<Key, u32>>,
}

impl Memories {
    /// The memory of one Shop. At most one reconcile of it is under way, so its lock never waits for long.
    pub fn of(&self, key: &Key) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut shops = self.shops.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shops.entry(key.clone()).or_default())
    }

    /// The Shop is gone.
    pub fn forget(&self, key: &Key) {
        self.shops.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.succeeded(key);
    }

    /// Forgets every Shop for which `is_there` says no.
    pub fn keep(&self, is_there: &impl Fn(&Key) -> bool) {
        self.shops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|key, _| is_there(key));
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|key, _| is_there(key));
    }

    /// All that was known may be out of date: another operator led in between.
    pub fn forget_all(&self) {
        self.shops.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Counts a failure; the answer is how many there were in a row.
    pub fn failed(&self, key: &Key) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// Ends a row of failures.
    pub fn succeeded(&self, key: &Key) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_per_shop_and_end_with_success_and_with_the_shop() {
        let memories = Memories::default();
        let (one, other) = (("shops".into(), "one".into()), ("shops".into(), "other".into()));
        assert_eq!(
            (memories.failed(&one), memories.failed(&one), memories.failed(&other)),
            (1, 2, 1)
        );
        memories.succeeded(&one);
        assert_eq!(memories.failed(&one), 1);
        memories.forget(&other);
        assert_eq!(memories.failed(&other), 1);
    }
}
