//! Knows when Redis's memory is nearly used up, so that no new work is begun that could not be finished. Touches `INFO`.
//!
//! Above 80 % of `maxmemory`, what begins work is refused with 503 `capacity`, while work under way goes on in the rest.
//! Within its limits: the figure is up to a second old, and each process looks for itself. Memory that fills faster than
//! that is refused by Redis (`OOM`) before a script's first write, which [`ApiError`] tells with the same code.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::RedisResult;
use tokio_util::sync::CancellationToken;

use crate::{connection::Redis, problem::ApiError};

const INTERVAL: Duration = Duration::from_secs(1);
/// Percent of `maxmemory` from which no new work is begun.
const FULL_PERCENT: u128 = 80;

/// Whether Redis is nearly full. Cloning is cheap; every clone is the same figure.
///
/// While it is not known (nobody watches, Redis does not answer or does not permit `INFO`) Redis is not full: then either
/// it refuses the work itself, or there is room.
#[derive(Debug, Clone, Default)]
pub struct Capacity(Arc<AtomicBool>);

impl Capacity {
    /// Whether memory was at 80 % of `maxmemory` when last looked at. Without a `maxmemory` never.
    pub fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// 503 `capacity` when full.
    pub fn require_room(&self) -> Result<(), ApiError> {
        if self.is_full() {
            Err(ApiError::capacity())
        } else {
            Ok(())
        }
    }

    /// Looks each second until `shutdown`, and logs each change.
    ///
    /// Commands used: INFO.
    pub async fn watch(self, redis: Redis, shutdown: CancellationToken) {
        loop {
            let memory = tokio::select! {
                () = shutdown.cancelled() => return,
                memory = memory(&redis) => memory,
            };
            let is_full = matches!(&memory, Ok(Some(memory)) if memory.is_full());
            if self.0.swap(is_full, Ordering::Relaxed) != is_full {
                match memory {
                    Ok(Some(Memory { used, maximum })) if is_full => {
                        tracing::warn!(used, maximum, "Redis is nearly full; no new work is begun");
                    }
                    _ => tracing::info!("Redis is no longer known to be full"),
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }
}

async fn memory(redis: &Redis) -> RedisResult<Option<Memory>> {
    let text: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut redis.idempotent())
        .await?;
    Ok(Memory::parse(&text))
}

/// Bytes, as Redis compares them before a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    used: u64,
    /// 0 for no limit.
    maximum: u64,
}

impl Memory {
    /// None when a figure is missing.
    fn parse(information: &str) -> Option<Self> {
        let figure = |name: &str| {
            let mut values = information
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            values.next()?.trim().parse::<u64>().ok()
        };
        Some(Self {
            // Buffers of replicas and of the append-only file are not counted against the limit.
            used: figure("used_memory")?.saturating_sub(figure("mem_not_counted_for_evict").unwrap_or(0)),
            maximum: figure("maxmemory")?,
        })
    }

    fn is_full(self) -> bool {
        self.maximum > 0 && u128::from(self.used) * 100 >= u128::from(self.maximum) * FULL_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_full(text: &str) -> Option<bool> {
        Memory::parse(text).map(Memory::is_full)
    }

    #[test]
    fn eighty_percent_of_a_limit_is_full() {
        for (used, maximum, full) in [
            (79, 100, false),
            (80, 100, true),
            (u64::MAX, u64::MAX, true),
            (u64::MAX, 0, false),
            (0, 1, false),
        ] {
            let text = format!("# Memory\r\nused_memory:{used}\r\nused_memory_human:1B\r\nmaxmemory:{maximum}\r\n");
            assert_eq!(is_full(&text), Some(full), "{used} of {maximum}");
        }
    }

    #[test]
    fn what_is_not_counted_is_left_out_and_what_is_missing_unknown() {
        assert_eq!(
            is_full("used_memory:85\nmaxmemory:100\nmem_not_counted_for_evict:6\n"),
            Some(false)
        );
        assert_eq!(is_full("used_memory:85\n"), None);
        assert_eq!(is_full("used_memory:lots\nmaxmemory:100\n"), None);
        assert_eq!(is_full(""), None);
    }
}
