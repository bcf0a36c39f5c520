//! Orders in Redis. Reads documents; writes by script only, one script per effect, on keys of payments alone.

use std::sync::Arc;

use jiff::Timestamp;
use redis::Script;
use shopwright_domain::UnixMilliseconds;
use shopwright_domain::keys::ShopKeys;
use shopwright_kit::Redis;

mod commit;
mod due;
mod error;
mod list;
mod read;

pub use commit::{ADVANCE, Committed, Mark};
pub use error::StoreError;
pub use read::{Grounds, Loaded, LoadedMany};

struct Scripts {
    advance: Script,
    /// Of `advance`, for a Redis that has not seen it.
    advance_source: String,
    take_due: Script,
    forget_due: Script,
}

/// The orders of one shop. Cloning is cheap.
#[derive(Clone)]
pub struct Store {
    redis: Redis,
    keys: Arc<ShopKeys>,
    scripts: Arc<Scripts>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The orders of the shop with these keys.
    pub fn new(redis: Redis, keys: ShopKeys) -> Self {
        Self::with_advance(redis, keys, ADVANCE)
    }

    /// The same with another script than [`ADVANCE`]: tests hand in ones with a hole, to see that it is noticed.
    pub fn with_advance(redis: Redis, keys: ShopKeys, source: &str) -> Self {
        let scripts = Scripts {
            advance: Script::new(source),
            advance_source: source.to_owned(),
            take_due: Script::new(include_str!("take_due.lua")),
            forget_due: Script::new(include_str!("forget_due.lua")),
        };
        Self {
            redis,
            keys: Arc::new(keys),
            scripts: Arc::new(scripts),
        }
    }

    /// Where everything is.
    pub fn keys(&self) -> &ShopKeys {
        &self.keys
    }
}

/// A time as the API and events write it, always with three decimals, so that text sorts as time does.
pub fn rfc3339(at: UnixMilliseconds) -> String {
    Timestamp::from_millisecond(at)
        .map(|time| format!("{time:.3}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_decimals() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_379_679_720), "2026-11-22T20:34:39.720Z");
    }
}
