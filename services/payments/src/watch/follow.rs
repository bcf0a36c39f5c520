//! The hints: one subscription a process, on a connection of its own, made again whenever it ends.

use std::time::Duration;

use futures::StreamExt;
use redis::aio::PubSubStream;
use redis::{Client, RedisResult};
use shopwright_domain::ids::OrderId;
use tokio_util::sync::CancellationToken;

use super::Watch;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

impl Watch {
    pub(super) async fn follow(&self, client: &Client, channel: &str, shutdown: &CancellationToken) {
        let mut wait = FIRST_WAIT;
        let mut was_told = false;
        loop {
            let subscription = tokio::select! {
                () = shutdown.cancelled() => return,
                subscription = subscribe(client, channel) => subscription,
            };
            match subscription {
                Ok(hints) => {
                    if was_told {
                        tracing::info!("changes of orders are followed again");
                    }
                    (wait, was_told) = (FIRST_WAIT, false);
                    self.listen(hints, shutdown).await;
                }
                Err(error) if !was_told => {
                    tracing::warn!(kind = ?error.kind(), code = error.code(), "changes of orders are not followed");
                    was_told = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Until the connection ends.
    async fn listen(&self, mut hints: PubSubStream, shutdown: &CancellationToken) {
        // What changed before the subscription, nobody will tell.
        self.want_all();
        loop {
            let hint = tokio::select! {
                () = shutdown.cancelled() => return,
                hint = hints.next() => hint,
            };
            let Some(hint) = hint else { return };
            if let Some((id, version)) = parse(hint.get_payload_bytes()) {
                self.hear(id, version);
            } else {
                tracing::debug!("a hint that is none");
            }
        }
    }
}

async fn subscribe(client: &Client, channel: &str) -> RedisResult<PubSubStream> {
    let subscribing = async {
        let mut connection = client.get_async_pubsub().await?;
        connection.subscribe(channel).await?;
        Ok(connection.into_on_message())
    };
    tokio::time::timeout(CONNECT_TIMEOUT, subscribing)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

/// `ORDER VERSION`.
fn parse(hint: &[u8]) -> Option<(OrderId, u64)> {
    let (id, version) = std::str::from_utf8(hint).ok()?.split_once(' ')?;
    Some((id.parse().ok()?, version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_an_order_and_its_version() {
        let id = OrderId::generate();
        assert_eq!(parse(format!("{id} 7").as_bytes()), Some((id, 7)));
        for wrong in [
            format!("{id}"),
            format!("{id} "),
            format!("{id} 7 8"),
            format!("{id} -1"),
            " 7".into(),
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse(b"\xff 7"), None);
    }
}
