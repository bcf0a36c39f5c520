//! Connections of the storm itself, past the proxy. Touches either Redis.

use std::time::Duration;

use anyhow::Result;
use redis::aio::MultiplexedConnection;

/// For one answer: the machine may be busy with everything else, and a script may read many documents.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that waits for its answers: what is too slow for a service is no reason to end a storm.
pub(crate) async fn patient(client: &redis::Client) -> Result<MultiplexedConnection> {
    let configuration = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    Ok(client
        .get_multiplexed_async_connection_with_config(&configuration)
        .await?)
}
