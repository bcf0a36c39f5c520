//! Many documents of one kind, read in few round trips. Reads the Redis it is given.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use redis::aio::MultiplexedConnection;

/// Documents a round trip.
pub(crate) const BATCH: usize = 500;
const KEYS: usize = 10_000;

/// Every key that begins so, once.
pub(crate) async fn keys(redis: &mut MultiplexedConnection, prefix: &str) -> Result<Vec<String>> {
    let (mut keys, mut cursor) = (BTreeSet::new(), 0_u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(format!("{prefix}*"))
            .arg("COUNT")
            .arg(KEYS);
        let (next, found): (u64, Vec<String>) = scan.query_async(redis).await?;
        keys.extend(found);
        cursor = next;
        if cursor == 0 {
            return Ok(keys.into_iter().collect());
        }
    }
}

/// Each with what the path finds in it, an array in JSON.
pub(crate) async fn read(
    redis: &mut MultiplexedConnection,
    keys: &[String],
    path: &str,
) -> Result<Vec<(String, String)>> {
    let mut documents = Vec::with_capacity(keys.len());
    for batch in keys.chunks(BATCH) {
        let texts: Vec<Option<String>> = redis::cmd("JSON.MGET").arg(batch).arg(path).query_async(redis).await?;
        for (key, text) in batch.iter().zip(texts) {
            documents.push((key.clone(), text.with_context(|| format!("{key} has gone"))?));
        }
    }
    Ok(documents)
}
