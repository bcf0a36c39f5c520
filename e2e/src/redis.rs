//! Redis connections from here into the cluster, as one of the users that a Secret names.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};

use crate::cluster::Cluster;
use crate::forward::Forward;

const PORT: i32 = 6379;

/// A write is answered when it is on disk, and a disk may stall. One that was given up on may be done all the same.
const ANSWER: Duration = Duration::from_mins(1);

/// A connection and the forward that carries it.
pub struct RedisLink {
    connection: MultiplexedConnection,
    _forward: Forward,
}

impl RedisLink {
    /// Signs in to the Redis behind `service` with the `username` and `password` of a Secret.
    pub async fn open(cluster: &Cluster, namespace: &str, service: &str, secret: &str) -> Result<Self> {
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), namespace);
        let found = secrets.get(secret).await?;
        let username = secret_text(&found, "username")?;
        let password = secret_text(&found, "password")?;
        let forward = Forward::open(&cluster.client, namespace, service, PORT).await?;
        let address = forward.address();
        let info = ConnectionAddr::Tcp(address.ip().to_string(), address.port())
            .into_connection_info()?
            .set_redis_settings(
                RedisConnectionInfo::default()
                    .set_username(username)
                    .set_password(password)
                    .set_skip_set_lib_name(),
            );
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(30)))
            .set_response_timeout(Some(ANSWER));
        let connection = Client::open(info)?
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .with_context(|| format!("connect to {service} as the user of {secret}"))?;
        Ok(Self {
            connection,
            _forward: forward,
        })
    }

    /// A handle to send commands with.
    pub fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Entries of the group that are with a consumer and not acknowledged.
    pub async fn pending(&self, stream: &str, group: &str) -> Result<i64> {
        let summary: redis::Value = redis::cmd("XPENDING")
            .arg(stream)
            .arg(group)
            .query_async(&mut self.connection())
            .await?;
        match summary {
            redis::Value::Array(parts) => Ok(redis::from_redis_value(
                parts.into_iter().next().context("an empty answer")?,
            )?),
            other => anyhow::bail!("XPENDING answered {other:?}"),
        }
    }
}

/// The text under `key` of a Secret.
pub fn secret_text(secret: &Secret, key: &str) -> Result<String> {
    let data = secret.data.as_ref().context("a Secret without data")?;
    let bytes = data.get(key).with_context(|| format!("no key {key} in the Secret"))?;
    Ok(String::from_utf8(bytes.0.clone())?)
}
