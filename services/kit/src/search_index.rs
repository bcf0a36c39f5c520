//! Keeps one search index over JSON documents in being, in versions behind an alias: `NAME` is the alias that every search
//! goes by, `NAME:vN` the index of version N. Made over a second, short connection as the user who may, looked at over the
//! service's own.
//!
//! A new version is built beside the old one, which answers until the new one's first scan is done; then one script moves
//! the alias and drops what is older, so that a search meets one whole index or the other, and never neither. The alias
//! never goes back: a program that finds a newer version than its own leaves it alone and searches by it. So a version must
//! answer the searches of the one before it: fields are added in one version, and removed at the earliest in the next.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{RedisError, RedisResult, Value, aio::ConnectionLike};
use tokio_util::sync::CancellationToken;

use crate::connection::{Redis, RedisSettings};

const BUILDING_INTERVAL: Duration = Duration::from_millis(250);
/// Redis may come back empty after lost data; a missing index is then noticed and made again within this time.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// What to index.
#[derive(Debug, Clone)]
pub struct SearchIndex {
    /// Name of the alias, and of the index without its version; a key pattern of the ACLs of both users must cover it and
    /// what begins with it, because to Redis the names of indexes and aliases are keys.
    pub name: String,
    /// Version of the index, from 1: one more with every change of `prefix` or `schema`.
    pub version: u32,
    /// What every indexed document's key begins with.
    pub prefix: String,
    /// Arguments after `SCHEMA`.
    pub schema: &'static [&'static str],
}

/// Whether the index is there and its first scan done.
#[derive(Debug, Clone, Default)]
pub struct IndexReady(Arc<AtomicBool>);

impl IndexReady {
    /// Whether it is.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A readiness check: `not_built` until the index is ready.
    pub fn readiness(&self) -> impl Fn() -> std::future::Ready<Result<(), &'static str>> + Send + Sync + 'static {
        let ready = self.clone();
        move || std::future::ready(if ready.is_ready() { Ok(()) } else { Err("not_built") })
    }
}

/// Does the next step, whatever it is, unless the alias is at this version or a newer one: creates the index, waits for its
/// scan, or moves the alias and drops what is older. What it looks at cannot change before it acts, whoever else runs it.
/// The bare name is that of an index where a program from before versions made it; an alias of the same name is hidden
/// behind it until it is dropped, and then answers at once.
/// KEYS: alias, index, older indexes. ARGV: version, what creates the index.
const STEP: &str = r"
local function text(value)
  return type(value) == 'table' and value.ok or tostring(value)
end
local function look(name)
  local found = redis.pcall('FT.INFO', name)
  if not found.err then
    local facts = {}
    for i = 1, #found - 1, 2 do facts[text(found[i])] = text(found[i + 1]) end
    return facts
  end
  local said = string.lower(found.err)
  if string.find(said, 'unknown index', 1, true) or string.find(said, 'no such index', 1, true) then return nil end
  return nil, found
end
local target, failure = look(KEYS[1])
if failure then return failure end
local at = target and target.index_name or ''
local prefix = KEYS[1] .. ':v'
if string.sub(at, 1, #prefix) == prefix and (tonumber(string.sub(at, #prefix + 1)) or 0) >= tonumber(ARGV[1]) then
  return 'kept'
end
local index, failure = look(KEYS[2])
if failure then return failure end
if not index then
  redis.call('FT.CREATE', KEYS[2], unpack(ARGV, 2))
  return 'created'
end
if index.indexing ~= '0' or index.percent_indexed ~= '1' then return 'scanning' end
if at == KEYS[1] then redis.call('FT.DROPINDEX', KEYS[1]) end
redis.call('FT.ALIASUPDATE', KEYS[1], KEYS[2])
for i = 3, #KEYS do
  if look(KEYS[i]) then redis.call('FT.DROPINDEX', KEYS[i]) end
end
return 'moved'
";

impl SearchIndex {
    /// Makes the index whenever it is missing and moves the alias to it, until `shutdown`.
    ///
    /// `ready` is set while the alias leads to this version or a newer one whose first scan is done. It is not while an
    /// older one answers, which may lack a field, and not while Redis is away; a Redis that comes back empty gets index and
    /// alias again within five seconds. What fails is logged and tried again.
    ///
    /// Commands used: FT.INFO as the service; EVAL, FT.INFO, FT.CREATE, FT.ALIASUPDATE, FT.DROPINDEX as `migration`.
    pub async fn keep(self, redis: Redis, migration: RedisSettings, ready: IndexReady, shutdown: CancellationToken) {
        loop {
            let state = self.state(&mut redis.idempotent()).await;
            let built = matches!(state, Ok(State::Ready));
            if ready.0.swap(built, Ordering::Relaxed) != built {
                tracing::info!(index = %self.name, version = self.version, ready = built, "search index changed");
            }
            if matches!(state, Ok(State::Due)) {
                self.step(&migration).await;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(if built { CHECK_INTERVAL } else { BUILDING_INTERVAL }) => {}
            }
        }
    }

    fn index(&self, version: u32) -> String {
        format!("{}:v{version}", self.name)
    }

    /// The version behind a name that `FT.INFO` gave; an index of another name is older than every version.
    fn version_of(&self, index: &str) -> u32 {
        let version = index.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix(":v"));
        version.and_then(|version| version.parse().ok()).unwrap_or(0)
    }

    async fn state(&self, connection: &mut impl ConnectionLike) -> RedisResult<State> {
        let target = look(connection, &self.name).await?;
        if let Some(target) = target
            && self.version_of(&target.index) >= self.version
        {
            return Ok(if target.is_scanned {
                State::Ready
            } else {
                State::Scanning
            });
        }
        // Until the scan is done there is nothing to do as the other user.
        let own = look(connection, &self.index(self.version)).await?;
        Ok(if own.is_some_and(|own| !own.is_scanned) {
            State::Scanning
        } else {
            State::Due
        })
    }

    async fn step(&self, migration: &RedisSettings) {
        match self.try_step(migration).await.as_deref() {
            Ok(step) => tracing::info!(index = %self.name, version = self.version, step, "search index migrated"),
            Err(error) => {
                tracing::warn!(index = %self.name, kind = ?error.kind(), code = error.code(), "search index not migrated");
            }
        }
    }

    async fn try_step(&self, migration: &RedisSettings) -> RedisResult<String> {
        let configuration = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(Duration::from_secs(5)));
        let mut connection = migration
            .client()?
            .get_multiplexed_async_connection_with_config(&configuration)
            .await?;
        let older = (1..self.version).map(|version| self.index(version));
        let keys: Vec<String> = [self.name.clone(), self.index(self.version)]
            .into_iter()
            .chain(older)
            .collect();
        redis::cmd("EVAL")
            .arg(STEP)
            .arg(keys.len())
            .arg(keys)
            .arg(self.version)
            // Without STOPWORDS 0 a product called "The Who" could not be found.
            .arg(&["ON", "JSON", "PREFIX", "1", &self.prefix, "STOPWORDS", "0", "SCHEMA"])
            .arg(self.schema)
            .query_async(&mut connection)
            .await
    }
}

enum State {
    /// Something is to be created, moved or dropped.
    Due,
    Scanning,
    Ready,
}

/// What a name, of an index or an alias, leads to.
struct Found {
    index: String,
    is_scanned: bool,
}

async fn look(connection: &mut impl ConnectionLike, name: &str) -> RedisResult<Option<Found>> {
    match redis::cmd("FT.INFO").arg(name).query_async::<Value>(connection).await {
        Ok(information) => Ok(Some(Found {
            index: fact(&information, "index_name").unwrap_or_default(),
            is_scanned: is_scanned(&information),
        })),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error of the search engine says that there is no such index.
///
/// It says so in words of its own, `Unknown index name` or `NAME: no such index`, and has no code word: the client takes the first
/// word for one.
pub fn is_missing(error: &RedisError) -> bool {
    let text = format!(
        "{} {}",
        error.code().unwrap_or_default(),
        error.detail().unwrap_or_default()
    );
    let text = text.to_ascii_lowercase();
    text.contains("unknown index") || text.contains("no such index")
}

/// `FT.INFO` answers pairs; `indexing` is 1 while the first scan runs.
fn is_scanned(information: &Value) -> bool {
    fact(information, "indexing").as_deref() == Some("0")
        && fact(information, "percent_indexed").as_deref() == Some("1")
}

fn fact(information: &Value, name: &str) -> Option<String> {
    let Value::Array(items) = information else { return None };
    items
        .chunks_exact(2)
        .find(|pair| text(&pair[0]).as_deref() == Some(name))
        .and_then(|pair| text(&pair[1]))
}

fn text(value: &Value) -> Option<String> {
    redis::from_redis_value_ref(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_name() {
        let index = SearchIndex {
            name: "{a}:idx".to_owned(),
            version: 12,
            prefix: String::new(),
            schema: &[],
        };
        assert_eq!(index.version_of(&index.index(12)), 12);
        for other in ["", "{a}:idx", "{a}:idx:v", "{a}:idx:vx", "{b}:idx:v1", "{a}:idxes:v1"] {
            assert_eq!(index.version_of(other), 0, "{other}");
        }
    }
}
