//! Connections to one Redis: one shared handle that reconnects, and private ones for blocking calls.

mod address;
mod endpoint;
mod shared;

pub use address::Vet;
pub use endpoint::{Endpoint, Secret};
pub use shared::Shared;

use crate::error::Error;
use address::VettedResolver;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use std::sync::Arc;
use std::time::Duration;

/// Name resolution, TCP and authentication together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest wait for a reply on the shared connection, and beyond its BLOCK on a private one.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Probes find a peer that vanished without a word, which a connection at rest would never notice.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Requests that may wait for the socket; the library's own limit of 50 stalls bursts.
const PIPELINE_BUFFER: usize = 1024;

/// One Redis server as one user. Cheap to clone; clones share the connection of [`shared`](Self::shared).
#[derive(Clone, Debug)]
pub struct Client {
    dialer: Arc<Dialer>,
    shared: Shared,
}

impl Client {
    /// A client that dials whatever the endpoint's name resolves to. Nothing is dialled yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self::build(endpoint, None)
    }

    /// A client that dials only addresses for which `vet` answers true. Asked on every dial, after name resolution.
    pub fn vetted(endpoint: Endpoint, vet: Vet) -> Self {
        Self::build(endpoint, Some(vet))
    }

    fn build(endpoint: Endpoint, vet: Option<Vet>) -> Self {
        let dialer = Arc::new(Dialer { endpoint, vet });
        let shared = Shared::new(Arc::clone(&dialer));
        Self { dialer, shared }
    }

    /// Where it connects to, and as whom.
    pub fn endpoint(&self) -> &Endpoint {
        &self.dialer.endpoint
    }

    /// The connection that all non-blocking calls share.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// A new connection for blocking calls of at most `block`: a blocked reader would hold up everybody on a shared
    /// one. Dropping it closes it, which is the way to end a blocking call early.
    pub async fn private(&self, block: Duration) -> Result<MultiplexedConnection, Error> {
        self.dialer.dial(block + RESPONSE_TIMEOUT).await.map_err(Error::from)
    }

    /// An authenticated PING on the shared connection.
    pub async fn ping(&self) -> Result<(), Error> {
        redis::cmd("PING")
            .exec_async(&mut self.shared.repeating())
            .await
            .map_err(Error::from)
    }
}

/// Opens connections.
#[derive(Debug)]
struct Dialer {
    endpoint: Endpoint,
    vet: Option<Vet>,
}

impl Dialer {
    async fn dial(&self, response_timeout: Duration) -> redis::RedisResult<MultiplexedConnection> {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let client = redis::Client::open(self.endpoint.connection_info()?.set_tcp_settings(tcp))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(response_timeout))
            .set_pipeline_buffer_size(PIPELINE_BUFFER)
            .set_dns_resolver(VettedResolver(self.vet.clone()));
        client.get_multiplexed_async_connection_with_config(&config).await
    }
}
