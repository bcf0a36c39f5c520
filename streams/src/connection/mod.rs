//! Connections to one Redis: one shared handle that reconnects, and private ones for blocking calls.

mod address;
mod endpoint;
mod mode;
mod shared;
mod tls;

pub use address::Vet;
pub use endpoint::{Endpoint, Secret};
pub use mode::Mode;
pub use shared::Shared;
pub(crate) use tls::is_tls_failure;
pub use tls::{InvalidTls, Tls};

use crate::error::{Error, TLS_FAILED};
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
        Self::dialling(Dialer {
            endpoint,
            vet,
            response_timeout: RESPONSE_TIMEOUT,
        })
    }

    fn dialling(dialer: Dialer) -> Self {
        let dialer = Arc::new(dialer);
        let shared = Shared::new(Arc::clone(&dialer));
        Self { dialer, shared }
    }

    /// A client of the same server that waits so long for a reply, instead of [`RESPONSE_TIMEOUT`], on connections of its
    /// own. A server that stores every write before it answers may need it.
    #[must_use]
    pub fn with_response_timeout(self, response_timeout: Duration) -> Self {
        Self::dialling(Dialer {
            response_timeout,
            ..(*self.dialer).clone()
        })
    }

    /// How long it waits for a reply.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.dialer.response_timeout
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
        self.dialer.dial(block).await.map_err(Error::from)
    }

    /// An authenticated PING on the shared connection.
    pub async fn ping(&self) -> Result<(), Error> {
        redis::cmd("PING")
            .exec_async(&mut self.shared.repeating())
            .await
            .map_err(Error::from)
    }
}

/// Names a connection that was cut, rather than refused or never answered, a failure of TLS.
fn cut_is_tls(error: redis::RedisError) -> redis::RedisError {
    if error.is_connection_dropped() && !error.is_connection_refusal() {
        return redis::make_extension_error(TLS_FAILED.to_owned(), None);
    }
    error
}

/// Opens connections.
#[derive(Clone, Debug)]
struct Dialer {
    endpoint: Endpoint,
    vet: Option<Vet>,
    response_timeout: Duration,
}

impl Dialer {
    /// A connection on which calls may block for `block`.
    async fn dial(&self, block: Duration) -> redis::RedisResult<MultiplexedConnection> {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = self.endpoint.connection_info()?.set_tcp_settings(tcp);
        let client = match &self.endpoint.tls {
            None => redis::Client::open(info)?,
            Some(tls) => redis::Client::build_with_tls(info, tls.certificates())?,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(block + self.response_timeout))
            .set_pipeline_buffer_size(PIPELINE_BUFFER)
            .set_dns_resolver(VettedResolver {
                host: self.endpoint.host.clone(),
                vet: self.vet.clone(),
            });
        let dialled = client.get_multiplexed_async_connection_with_config(&config).await;
        if self.endpoint.tls.is_none() {
            return dialled;
        }
        // In TLS 1.3 the server refuses our certificate only after the handshake, and the client library loses the alert:
        // a session that is cut before its first answer is how that looks. The command needs no right.
        let mut connection = dialled.map_err(cut_is_tls)?;
        match redis::cmd("HELLO")
            .exec_async(&mut connection)
            .await
            .map_err(cut_is_tls)
        {
            Err(error) if error.is_io_error() || is_tls_failure(&error) => Err(error),
            _ => Ok(connection),
        }
    }
}
