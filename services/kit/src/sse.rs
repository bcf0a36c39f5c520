//! Server-sent events: bounded in number, kept alive by comments, ended by the shutdown.
//!
//! A reader that is slower than its stream gets what the stream yields next when there is room again: coalesce in the
//! stream (a `watch` channel does), never in a queue. A reader that has gone is noticed by a heartbeat at the latest; one
//! that no longer reads, yet stays, holds its place until the connection ends, and a shutdown for the drain time.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::problem::ApiError;

/// Below the idle time-outs of usual proxies.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How many may watch at the same time. Cloning is cheap; every clone is the same bound.
#[derive(Debug, Clone)]
pub struct Places(Arc<Semaphore>);

/// One reader's place, free again when dropped.
#[derive(Debug)]
pub struct Place(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Places {
    /// So many places.
    pub fn new(number: usize) -> Self {
        Self(Arc::new(Semaphore::new(number)))
    }

    /// A place, or 503 `capacity` when all are taken.
    pub fn take(&self) -> Result<Place, ApiError> {
        let permit = Arc::clone(&self.0).try_acquire_owned();
        permit.map(Place).map_err(|_| ApiError::capacity())
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.0.available_permits()
    }
}

/// A reply that yields the stream's events until the stream ends, the reader goes or `shutdown` is cancelled, with a
/// comment after every 5 s of silence. It holds the place for as long.
pub fn reply<S>(events: S, place: Place, shutdown: CancellationToken) -> Response
where
    S: Stream<Item = Event> + Send + 'static,
{
    let events = events.take_until(shutdown.cancelled_owned()).map(move |event| {
        let _held = &place;
        Ok::<_, Infallible>(event)
    });
    let keep_alive = KeepAlive::new().interval(HEARTBEAT).text("heartbeat");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep events back until its buffer is full.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
