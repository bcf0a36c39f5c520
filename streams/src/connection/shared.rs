//! One connection that many callers share and that is replaced when it breaks.

use super::Dialer;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A handle to the shared connection of a [`Client`](super::Client); use it as any connection of the `redis` crate.
///
/// It dials on first use and again after a failure; each call waits at most the connect and the response timeout.
/// A timed-out write is *unknown*, not failed: it may still happen.
#[derive(Clone)]
pub struct Shared {
    slot: Arc<Slot>,
    repeat: bool,
    /// The dial whose connection answered this handle's last call.
    answered_by: u64,
}

struct Slot {
    dialer: Arc<Dialer>,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts dials, so that a late failure on an old connection does not tear down its successor.
    dials: u64,
    /// When and how the last dial failed, so that callers who waited for it share the failure instead of dialling one
    /// after the other, each for the whole connect timeout.
    failure: Option<(Instant, RedisError)>,
}

/// What is sent: one command or a pipeline with the place of its replies.
enum Request<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline, usize, usize),
}

impl Request<'_> {
    async fn send(&self, connection: &mut MultiplexedConnection) -> RedisResult<Vec<Value>> {
        match self {
            Self::Command(command) => Ok(vec![connection.req_packed_command(command).await?]),
            Self::Pipeline(pipeline, offset, count) => connection.req_packed_commands(pipeline, *offset, *count).await,
        }
    }
}

impl Shared {
    pub(super) fn new(dialer: Arc<Dialer>) -> Self {
        let slot = Slot {
            dialer,
            current: Mutex::new(Current::default()),
        };
        Self {
            slot: Arc::new(slot),
            repeat: false,
            answered_by: 0,
        }
    }

    /// The same connection for calls that may run twice without harm: when it turns out to be closed, the call is sent
    /// once more on a new one. A connection that Redis closed at rest is noticed only by the first call on it.
    #[must_use]
    pub fn repeating(&self) -> Self {
        Self {
            slot: Arc::clone(&self.slot),
            repeat: true,
            answered_by: self.answered_by,
        }
    }

    /// The same as [`repeating`](Self::repeating), for the owner of a handle.
    pub(crate) fn into_repeating(self) -> Self {
        Self { repeat: true, ..self }
    }

    /// Which dial made the connection that answered the last call of this very handle, 0 before any: a number that
    /// changes when the connection was replaced, behind which the server may have restarted.
    pub(crate) fn answered_by(&self) -> u64 {
        self.answered_by
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let asked = Instant::now();
        let mut current = self.slot.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((current.dials, connection.clone()));
        }
        if let Some((failed, error)) = &current.failure
            && *failed > asked
        {
            return Err(error.clone());
        }
        let dialled = self.slot.dialer.dial(Duration::ZERO).await;
        current.dials += 1;
        match dialled {
            Ok(connection) => {
                current.connection = Some(connection.clone());
                current.failure = None;
                Ok((current.dials, connection))
            }
            Err(error) => {
                current.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn discard(&self, dial: u64) {
        let mut current = self.slot.current.lock().await;
        if current.dials == dial {
            current.connection = None;
        }
    }

    async fn call(&mut self, request: Request<'_>) -> RedisResult<Vec<Value>> {
        let mut may_repeat = self.repeat;
        loop {
            let (dial, mut connection) = self.connection().await?;
            let result = request.send(&mut connection).await;
            self.answered_by = dial;
            let Err(error) = &result else { return result };
            // A timeout counts as broken: behind it may be a peer that is gone, and a reply that comes late is of no use.
            if !(error.is_io_error() || error.is_unrecoverable_error()) {
                return result;
            }
            self.discard(dial).await;
            if !may_repeat || error.is_timeout() {
                return result;
            }
            may_repeat = false;
        }
    }
}

impl ConnectionLike for Shared {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move { Ok(self.call(Request::Command(cmd)).await?.pop().unwrap_or(Value::Nil)) })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.call(Request::Pipeline(pipeline, offset, count)))
    }

    fn get_db(&self) -> i64 {
        i64::from(self.slot.dialer.endpoint.database)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shared")
            .field("endpoint", &self.slot.dialer.endpoint)
            .finish_non_exhaustive()
    }
}
