//! `GET /v1/orders/{id}/events`: an order as it changes, as server-sent events.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use futures::{Stream, stream};
use shopwright_kit::{ApiError, sse};

use super::access::OrderAccess;
use super::{ApiState, error};
use crate::watch::{Snapshot, Watcher};

/// The order as it is now, unless that is what the caller saw last, and from then on the newest version each time it is a
/// higher one. A caller that is slow skips versions. The stream ends with the process, or when what it said no longer
/// counts; whoever comes again says in `Last-Event-ID` what they saw last.
pub(super) async fn watch(
    State(state): State<ApiState>,
    access: OrderAccess,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let place = state.places.take()?;
    let watcher = state.watch.join(access.id).await.map_err(error::of_watch)?;
    let is_seen = last_seen(&headers) == Some(watcher.current().version);
    Ok(sse::reply(events(watcher, is_seen), place, state.shutdown.clone()))
}

/// The version that the caller says it has. What is no version is none.
fn last_seen(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

fn events(watcher: Watcher, is_seen: bool) -> impl Stream<Item = Event> + Send + 'static {
    stream::unfold((watcher, is_seen), |(mut watcher, is_seen)| async move {
        let snapshot = if is_seen {
            watcher.next().await?
        } else {
            watcher.current()
        };
        let event = event(snapshot);
        Some((event, (watcher, true)))
    })
}

fn event(snapshot: &Snapshot) -> Event {
    let id = snapshot.version.to_string();
    Event::default().event("order").id(id).data(&snapshot.text)
}
