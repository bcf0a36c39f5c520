//! One shared Redis connection a process, which starts without Redis and keeps trying.
//!
//! Blocking reads must not use it: they hold up everyone else's commands. `shopwright-streams` opens its own.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError, RedisFuture,
    RedisResult, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use shopwright_streams::Class;
use tokio_util::sync::CancellationToken;

use crate::secret::Secret;

/// How long Redis may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To accept a connection and its user.
    pub connect: Duration,
    /// To answer one command. Far longer than Redis needs, because giving up on a write leaves its outcome unknown, which
    /// is worse than a wait: with every write synced, one answer takes as long as the disk does, seconds on a busy one.
    /// Below [`serve::Limits`](crate::serve::Limits), so that a read that got no answer is told as such.
    pub response: Duration,
    /// To answer a ping, which decides on readiness and is noticed early.
    pub ping: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            response: Duration::from_secs(8),
            ping: Duration::from_secs(2),
        }
    }
}

/// Unanswered bytes for this long end a connection whose peer vanished without a word (node loss); the connection
/// manager by itself would time out on it for ever, because a time-out is no reason to reconnect for it.
const USER_TIMEOUT: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_millis(500);

/// Where Redis is and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// ACL user; none is `default`.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

impl RedisSettings {
    /// A client with our TCP settings: no delay, keepalive, a bound on unanswered bytes.
    pub fn client(&self) -> RedisResult<Client> {
        let mut user = RedisConnectionInfo::default();
        if let Some(username) = &self.username {
            user = user.set_username(username);
        }
        if let Some(password) = &self.password {
            user = user.set_password(password.expose());
        }
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(5))
            .with_interval(Duration::from_secs(1))
            .with_retries(3);
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive)
            .set_user_timeout(USER_TIMEOUT);
        let information = ConnectionAddr::Tcp(self.host.clone(), self.port)
            .into_connection_info()?
            .set_redis_settings(user)
            .set_tcp_settings(tcp);
        Client::open(information)
    }

    /// The client of a consumer loop, which makes its own connections and is as patient as the shared one: a reply that
    /// nobody waited for is a delivery that nobody handled.
    pub fn consumer_client(&self) -> shopwright_streams::Client {
        shopwright_streams::Client::new(self.into()).with_response_timeout(Timeouts::default().response)
    }
}

/// For the consumer loop, which makes its own connections.
impl From<&RedisSettings> for shopwright_streams::Endpoint {
    fn from(settings: &RedisSettings) -> Self {
        let endpoint = Self::new(&settings.host, settings.port);
        let password = settings
            .password
            .as_ref()
            .map(|password| shopwright_streams::Secret::new(password.expose()));
        match password {
            Some(password) => endpoint.with_user(settings.username.as_deref().unwrap_or("default"), password),
            None => endpoint,
        }
    }
}

/// Whether Redis is away, not ready, or has us locked out for now; what it says about one entry alone is none of these.
pub fn is_passing(error: &RedisError) -> bool {
    matches!(
        classify(error).class(),
        Class::Unreachable | Class::NotReady | Class::Denied
    )
}

/// What can be done about an error, of a command or of several. What a pipeline or a transaction failed with stands in its
/// commands' errors, of which the first tells the reason; the whole has no code word.
pub fn classify(error: &RedisError) -> shopwright_streams::Error {
    match error.clone().into_server_errors().as_deref() {
        Some([(_, first), ..]) => RedisError::from(first.clone()).into(),
        _ => error.into(),
    }
}

struct Shared {
    client: Client,
    timeouts: Timeouts,
    manager: RwLock<ConnectionManager>,
    reachable: AtomicBool,
}

/// The shared connection. Cloning is cheap; every clone is the same connection.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

impl std::fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Redis")
            .field("reachable", &self.reachable())
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Prepares the connection; dials on first use. Needs a running Tokio runtime.
    pub fn new(settings: &RedisSettings) -> RedisResult<Self> {
        Self::with_timeouts(settings, Timeouts::default())
    }

    /// The same with other time limits than the default ones.
    pub fn with_timeouts(settings: &RedisSettings, timeouts: Timeouts) -> RedisResult<Self> {
        let client = settings.client()?;
        let manager = RwLock::new(manager(&client, timeouts)?);
        Ok(Self(Arc::new(Shared {
            client,
            timeouts,
            manager,
            reachable: AtomicBool::new(false),
        })))
    }

    /// The bare shared connection: a command that meets a dropped connection fails, and its outcome is unknown.
    pub fn once(&self) -> ConnectionManager {
        self.0.manager.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same connection for calls that may be repeated without a second effect (reads, and scripts that recognise a
    /// repetition): a command that meets a dropped connection is sent once more over the new one.
    pub fn idempotent(&self) -> Idempotent {
        Idempotent { redis: self.clone() }
    }

    /// Whether the last ping was answered. Kept true or false by [`Redis::watch`].
    pub fn reachable(&self) -> bool {
        self.0.reachable.load(Ordering::Relaxed)
    }

    /// Pings once, and makes the connection usable again when it was refused for another reason than the network
    /// (wrong password, loading): the manager would keep that first refusal for ever. Gives up long before other calls do.
    pub async fn ping(&self) -> RedisResult<()> {
        let mut connection = self.idempotent();
        let ping = redis::cmd("PING");
        let outcome = tokio::time::timeout(self.0.timeouts.ping, ping.query_async::<()>(&mut connection))
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
        self.0.reachable.store(outcome.is_ok(), Ordering::Relaxed);
        if let Err(error) = &outcome
            && error.kind() != ErrorKind::Io
        {
            let fresh = manager(&self.0.client, self.0.timeouts)?;
            *self.0.manager.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        outcome
    }

    /// Pings twice a second until `shutdown`, and logs each change between reachable and not.
    pub async fn watch(self, shutdown: CancellationToken) {
        let mut was_reachable = None;
        loop {
            let outcome = self.ping().await;
            if was_reachable != Some(outcome.is_ok()) {
                match &outcome {
                    Ok(()) => tracing::info!("Redis answers"),
                    Err(error) => {
                        tracing::warn!(kind = ?error.kind(), code = error.code(), "Redis does not answer");
                    }
                }
                was_reachable = Some(outcome.is_ok());
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(PING_INTERVAL) => {}
            }
        }
    }

    /// A readiness check: `unreachable` until Redis answers.
    pub fn readiness(&self) -> impl Fn() -> std::future::Ready<Result<(), &'static str>> + Send + Sync + 'static {
        let redis = self.clone();
        move || std::future::ready(if redis.reachable() { Ok(()) } else { Err("unreachable") })
    }
}

/// No retries inside the manager: a caller waits for one attempt at most, and each failure starts the next attempt.
fn manager(client: &Client, timeouts: Timeouts) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(timeouts.connect))
        .set_response_timeout(Some(timeouts.response))
        .set_number_of_retries(0)
        .set_pipeline_buffer_size(1_024);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// See [`Redis::idempotent`].
#[derive(Clone, Debug)]
pub struct Idempotent {
    redis: Redis,
}

/// The command did not reach a live connection, or its answer was lost with the connection. A time-out is neither:
/// the same Redis is busy, and asking again would add to its load.
fn was_dropped(error: &RedisError) -> bool {
    error.is_connection_dropped()
}

/// What to tell of two attempts. A second one that did not run says nothing about the first, which may have had its effect,
/// unless that was never sent.
fn of_both<T>(first: RedisError, second: RedisResult<T>, did_run: impl Fn(&T) -> bool) -> RedisResult<T> {
    if first.is_connection_refusal() || second.as_ref().is_ok_and(did_run) {
        second
    } else {
        Err(first)
    }
}

/// Whether a command ran, as far as its reply tells: a Redis that is loading its data refuses all of them. One that lost its
/// scripts is sent the whole script next, which finds what an earlier one did.
fn did_run(reply: &Value) -> bool {
    match reply {
        Value::ServerError(error) => error.code() == "NOSCRIPT",
        _ => true,
    }
}

impl ConnectionLike for Idempotent {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            match self.redis.once().send_packed_command(command).await {
                Err(first) if was_dropped(&first) => {
                    let again = self.redis.once().send_packed_command(command).await;
                    of_both(first, again, did_run)
                }
                outcome => outcome,
            }
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            match self.redis.once().send_packed_commands(pipeline, offset, count).await {
                Err(first) if was_dropped(&first) => {
                    let again = self.redis.once().send_packed_commands(pipeline, offset, count).await;
                    of_both(first, again, |replies| replies.iter().all(did_run))
                }
                outcome => outcome,
            }
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}
