//! What kind of server answers: alone, or one of a cluster. Reads only.

use super::Client;
use crate::error::Error;
use redis::Value;

/// How a Redis server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Alone, or with replicas: every key is here.
    Standalone,
    /// A node of a Redis Cluster: most keys are elsewhere.
    Cluster,
}

impl Client {
    /// Asks the server how it runs. HELLO needs no right of its own, unlike INFO; without arguments it changes nothing.
    pub async fn mode(&self) -> Result<Mode, Error> {
        let reply: Value = redis::cmd("HELLO").query_async(&mut self.shared().repeating()).await?;
        // A server that does not say so is taken for what nearly all are.
        Ok(match field(&reply, "mode").as_deref() {
            Some("cluster") => Mode::Cluster,
            _ => Mode::Standalone,
        })
    }
}

fn field(reply: &Value, name: &str) -> Option<String> {
    let text = |value: &Value| redis::from_redis_value_ref::<String>(value).ok();
    match reply {
        Value::Array(items) => items
            .chunks_exact(2)
            .find(|pair| text(&pair[0]).as_deref() == Some(name))
            .and_then(|pair| text(&pair[1])),
        Value::Map(pairs) => pairs
            .iter()
            .find(|(key, _)| text(key).as_deref() == Some(name))
            .and_then(|(_, value)| text(value)),
        _ => None,
    }
}
