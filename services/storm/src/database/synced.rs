//! How much of Redis' file an fsync has covered, so that a lost power can take the rest. Reads the folder, writes one key of
//! its own, and cuts the file of a dead server.
//!
//! SIGKILL alone loses nothing that Redis has written: the kernel goes on and has it. What `everysec` may lose, only a machine
//! that goes down loses.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;

use super::append_file::{AppendFile, cut, newest};
use super::{Database, locked};

/// How often another measurement begins. Each ends with the fsync that covers it, a second later.
const INTERVAL: Duration = Duration::from_millis(100);
/// Longer than the slowest fsync of a storm.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// In no owner's part of the data.
const KEY: &str = "storm:synced";

/// The length up to which the file is known to have reached the disk. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Synced(Arc<Mutex<Option<AppendFile>>>);

impl Synced {
    /// Measures for ever.
    pub async fn watch(&self, database: &Database) {
        let mut measurements = tokio::task::JoinSet::new();
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            ticks.tick().await;
            while measurements.try_join_next().is_some() {}
            let (client, directory) = (database.client().clone(), database.directory.clone());
            let synced = self.clone();
            measurements.spawn(async move {
                // Redis is away, or died before its answer: this measurement counts for nothing.
                if let Ok(Some(file)) = measure(&client, &directory).await {
                    synced.raise(file);
                }
            });
        }
    }

    fn raise(&self, file: AppendFile) {
        let mut known = locked(&self.0);
        let newer = known
            .as_ref()
            .is_none_or(|known| known.path != file.path || known.length < file.length);
        if newer {
            *known = Some(file);
        }
    }

    pub(super) fn forget(&self) {
        *locked(&self.0) = None;
    }

    /// Takes from the file of a dead server what no fsync is known to have covered; returns how many bytes. Nothing, when
    /// the server had begun a new file whose beginning was not measured yet.
    pub(super) fn cut(&self, directory: &Path) -> Result<u64> {
        let known = locked(&self.0).clone();
        match (known, newest(directory)?) {
            (Some(known), Some(last)) if known.path == last.path => Ok(cut(&last.path, known.length)?),
            _ => Ok(0),
        }
    }
}

/// What was in the file before a write that an fsync has then covered.
async fn measure(client: &redis::Client, directory: &Path) -> Result<Option<AppendFile>> {
    let configuration = redis::AsyncConnectionConfig::new().set_response_timeout(Some(LONGEST_WAIT));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&configuration)
        .await?;
    let file = newest(directory)?;
    redis::cmd("SET").arg(KEY).arg("").exec_async(&mut connection).await?;
    let wait = LONGEST_WAIT.as_millis().to_string();
    let (local, _): (u64, u64) = redis::cmd("WAITAOF")
        .arg(&["1", "0", &wait])
        .query_async(&mut connection)
        .await?;
    Ok(file.filter(|_| local == 1))
}
