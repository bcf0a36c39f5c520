//! One connection to an order's stream.

use std::time::Duration;

use reqwest::Response;

use super::sse::{Event, Parser};

/// The shop sends a heartbeat every 5 s; four missed ones are a connection that nobody serves any more.
const SILENCE: Duration = Duration::from_secs(20);

/// Why a connection brings nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// Ended or broken by the other side.
    Ended,
    /// Not even a heartbeat.
    Silent,
}

#[derive(Debug)]
pub(super) struct Connection {
    response: Response,
    parser: Parser,
    /// Whether an event has come: the first one is a snapshot and may repeat what was known.
    pub(super) is_under_way: bool,
}

impl Connection {
    pub(super) fn new(response: Response) -> Self {
        Self {
            response,
            parser: Parser::default(),
            is_under_way: false,
        }
    }

    /// The next event. May be dropped while it waits: what has come stays here.
    pub(super) async fn next(&mut self) -> Result<Event, Closed> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(event);
            }
            match tokio::time::timeout(SILENCE, self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.parser.push(&bytes).map_err(|_| Closed::Ended)?,
                Ok(Ok(None) | Err(_)) => return Err(Closed::Ended),
                Err(_) => return Err(Closed::Silent),
            }
        }
    }
}
