//! Which version of a service's data is in Redis, so that a program too old for it refuses to run instead of misreading or
//! overwriting what it does not know. Touches one hash: `version` and `oldest_compatible`.
//!
//! Two versions of a service live together during a roll as long as the older one is at least `oldest_compatible`: it is
//! raised only by a program whose data the ones before cannot bear, when these have been replaced. A program that runs is
//! told within five seconds; what it wrote until then it wrote, so such a change still comes in two steps (first a version
//! that reads both, then one that writes the new).

use std::{fmt, time::Duration};

use redis::RedisResult;
use tokio_util::sync::CancellationToken;

use crate::connection::{Redis, is_passing};

/// While Redis is away.
const WAITING_INTERVAL: Duration = Duration::from_millis(500);
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Raises both numbers, and never lowers one; so a caller that is too old changes nothing. Answers what is stored then.
/// KEYS: the hash. ARGV: version, oldest compatible, 1 to raise.
const ADMIT: &str = r"
local stored = redis.call('HMGET', KEYS[1], 'version', 'oldest_compatible')
local version, oldest = tonumber(stored[1] or 0), tonumber(stored[2] or 0)
if not version or not oldest then return {-1, -1} end
if ARGV[3] == '1' then
  local higher, newer = math.max(version, tonumber(ARGV[1])), math.max(oldest, tonumber(ARGV[2]))
  if higher ~= version or newer ~= oldest then
    redis.call('HSET', KEYS[1], 'version', string.format('%d', higher), 'oldest_compatible', string.format('%d', newer))
  end
  version, oldest = higher, newer
end
return {version, oldest}
";

/// The version of the data that this program writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The hash in Redis.
    pub key: String,
    /// Counted from 1, one more with every change of what is stored.
    pub version: u32,
    /// The oldest version whose programs can work on data of this one; at most `version`.
    pub oldest_compatible: u32,
}

/// Whether a program writes its version down, or is only told whether it may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Raises the stored numbers to its own: what `serve` does.
    Raise,
    /// Leaves them: what everybody else does.
    Check,
}

/// What stands in Redis; zeros when nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The newest version that has run.
    pub version: u32,
    /// The oldest version that still may.
    pub oldest_compatible: u32,
}

/// Why this program must not run.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The data has been changed in a way that this program does not know.
    #[error(
        "the data in Redis is of version {} ({key}) and needs a program of version {} or later, and this one is of version \
         {own}: run the later version of the service, or restore a backup from before it ran",
        stored.version,
        stored.oldest_compatible
    )]
    TooOld {
        /// Where it is stored.
        key: String,
        /// What is stored.
        stored: Stored,
        /// Of this program.
        own: u32,
    },
    /// What is stored there is no version.
    #[error("{key} in Redis holds no version of the data: was it written by another program?")]
    Unreadable {
        /// Where it is stored.
        key: String,
    },
    /// Redis refused for a reason that does not pass by itself.
    #[error("the version of the data could not be read from Redis ({0})")]
    Redis(Code),
}

/// Redis's code word; its sentence could quote what it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code(String);

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Schema {
    /// Whether this program may run, asked until Redis answers. None when `shutdown` came first.
    ///
    /// Waits, and logs that it does, while Redis is away, loading, full, read-only or does not let us in.
    ///
    /// Commands used: EVAL, HMGET, and HSET to raise.
    pub async fn admit(
        &self,
        redis: &Redis,
        duty: Duty,
        shutdown: &CancellationToken,
    ) -> Result<Option<Stored>, SchemaError> {
        let mut is_first = true;
        loop {
            let answer = tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                answer = self.ask(redis, duty) => answer,
            };
            match answer {
                Ok(stored) => return self.judge(stored).map(Some),
                Err(error) if is_passing(&error) => {
                    if std::mem::take(&mut is_first) {
                        tracing::warn!(kind = ?error.kind(), code = error.code(), "waiting for Redis to tell the version of its data");
                    }
                }
                Err(error) if error.code() == Some("WRONGTYPE") => {
                    return Err(SchemaError::Unreadable { key: self.key.clone() });
                }
                Err(error) => {
                    let word = error
                        .code()
                        .map_or_else(|| format!("{:?}", error.kind()), str::to_owned);
                    return Err(SchemaError::Redis(Code(word)));
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                () = tokio::time::sleep(WAITING_INTERVAL) => {}
            }
        }
    }

    /// [`admit`](Self::admit) every five seconds: ends with the shutdown, or with an error when a later version has made
    /// this one too old, upon which the program has to end. A Redis that lost its data gets the version again.
    pub async fn keep(self, redis: Redis, duty: Duty, shutdown: CancellationToken) -> Result<(), SchemaError> {
        while self.admit(&redis, duty, &shutdown).await?.is_some() {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(CHECK_INTERVAL) => {}
            }
        }
        Ok(())
    }

    async fn ask(&self, redis: &Redis, duty: Duty) -> RedisResult<(i64, i64)> {
        redis::cmd("EVAL")
            .arg(ADMIT)
            .arg(1)
            .arg(&self.key)
            .arg(self.version)
            .arg(self.oldest_compatible)
            .arg(u8::from(duty == Duty::Raise))
            .query_async(&mut redis.idempotent())
            .await
    }

    fn judge(&self, (version, oldest_compatible): (i64, i64)) -> Result<Stored, SchemaError> {
        let number = |number: i64| u32::try_from(number).map_err(|_| SchemaError::Unreadable { key: self.key.clone() });
        let stored = Stored {
            version: number(version)?,
            oldest_compatible: number(oldest_compatible)?,
        };
        if stored.oldest_compatible > self.version {
            return Err(SchemaError::TooOld {
                key: self.key.clone(),
                stored,
                own: self.version,
            });
        }
        Ok(stored)
    }
}
