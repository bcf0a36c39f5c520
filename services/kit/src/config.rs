//! Typed pieces of configuration. A service flattens those it needs into its own clap type; every flag is also an
//! environment variable, except secrets, which are read from the environment only.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use shopwright_streams::consume::Settings;

use crate::{
    connection::RedisSettings,
    secret::{Secret, SecretError},
};

/// Which shop this process belongs to.
#[derive(Debug, Clone, Args)]
pub struct ShopArguments {
    /// Name of the shop: the first part of every Redis key
    #[arg(long, env = "SHOP_NAME", value_parser = shop_name)]
    pub shop_name: String,
}

/// Where the public API listens.
#[derive(Debug, Clone, Args)]
pub struct ListenArguments {
    /// Address and port of the public API
    #[arg(long, env = "LISTEN_ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen_address: SocketAddr,
}

/// Where the admin port listens.
#[derive(Debug, Clone, Args)]
pub struct AdminArguments {
    /// Address and port of /livez, /readyz and /metrics
    #[arg(long, env = "ADMIN_ADDRESS", default_value = "0.0.0.0:9090")]
    pub admin_address: SocketAddr,
}

/// Where Redis is. The password is read from `REDIS_PASSWORD`.
#[derive(Debug, Clone, Args)]
pub struct RedisArguments {
    /// Host name or address of Redis
    #[arg(long, env = "REDIS_HOST")]
    pub redis_host: String,
    /// Port of Redis
    #[arg(long, env = "REDIS_PORT", default_value_t = 6379)]
    pub redis_port: u16,
    /// ACL user; the password comes from the environment variable `REDIS_PASSWORD`
    #[arg(long, env = "REDIS_USERNAME")]
    pub redis_username: Option<String>,
}

impl RedisArguments {
    /// Adds the password of the environment. Without one the connection is made without a password.
    pub fn settings(&self) -> Result<RedisSettings, SecretError> {
        Ok(RedisSettings {
            host: self.redis_host.clone(),
            port: self.redis_port,
            username: self.redis_username.clone(),
            password: Secret::optional_from_environment("REDIS_PASSWORD")?,
        })
    }

    /// The same Redis as another ACL user, whose password is in `password_variable`.
    pub fn settings_as(&self, username: &str, password_variable: &str) -> Result<RedisSettings, SecretError> {
        Ok(RedisSettings {
            host: self.redis_host.clone(),
            port: self.redis_port,
            username: Some(username.to_owned()),
            password: Some(Secret::from_environment(password_variable)?),
        })
    }
}

/// How long requests are known.
#[derive(Debug, Clone, Args)]
pub struct IdempotencyArguments {
    /// How long a request is known by its Idempotency-Key
    #[arg(long, env = "IDEMPOTENCY_HOURS", default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=8_760))]
    pub idempotency_hours: u32,
}

impl IdempotencyArguments {
    /// See `idempotency_hours`.
    pub fn retention(&self) -> Duration {
        Duration::from_hours(u64::from(self.idempotency_hours))
    }
}

/// How logs are written.
#[derive(Debug, Clone, Args)]
pub struct LogArguments {
    /// What is logged: a level, or a list such as `info,shopwright_inventory=debug`
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
    /// How a line is written
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The name under which this process reads its consumer group.
#[derive(Debug, Clone, Args)]
pub struct PodArguments {
    /// Name of the pod, used as the consumer's name; default: the host's name
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
}

impl PodArguments {
    /// The given name, else the host's, else the process id: never empty, because Redis takes an empty consumer name.
    pub fn consumer_name(&self) -> String {
        let given = self.pod_name.clone().filter(|name| !name.trim().is_empty());
        let host = || {
            std::fs::read_to_string("/proc/sys/kernel/hostname")
                .ok()
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
        };
        given
            .or_else(host)
            .unwrap_or_else(|| format!("process-{}", std::process::id()))
    }
}

/// Times of the consumer loop. The defaults are for production; tests shorten them.
#[derive(Debug, Clone, Args)]
pub struct ConsumerArguments {
    /// How long an entry must rest with another consumer before this one claims it
    #[arg(long, env = "CLAIM_MIN_IDLE_MILLISECONDS", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub claim_min_idle_milliseconds: u64,
    /// How long one read waits for new entries
    #[arg(long, env = "BLOCK_MILLISECONDS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    pub block_milliseconds: u64,
    /// How long work in hand may take after SIGTERM; then it is handed over to other consumers
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 30)]
    pub drain_seconds: u64,
    /// How often an entry is delivered before it goes to the dead-letter stream; 0 for ever
    #[arg(long, env = "MAX_DELIVERIES", default_value_t = 5)]
    pub max_deliveries: u32,
}

impl ConsumerArguments {
    /// How to read `key` through `group` as `consumer`, with these times and as many deliveries.
    pub fn settings(&self, key: String, group: &str, consumer: String) -> Settings {
        Settings {
            claim_min_idle: Duration::from_millis(self.claim_min_idle_milliseconds),
            block: Duration::from_millis(self.block_milliseconds),
            drain: Duration::from_secs(self.drain_seconds),
            max_deliveries: self.max_deliveries,
            ..Settings::new(key, group, consumer)
        }
    }
}

/// The same rule as the Shop's name: at most 40 of `[a-z0-9-]`, starting with a letter, not ending with a hyphen.
fn shop_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let valid = text.len() <= 40
        && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && text.bytes().all(allowed)
        && !text.ends_with('-');
    if valid {
        Ok(text.to_owned())
    } else {
        Err("must be at most 40 of a-z, 0-9 and '-', start with a letter and not end with '-'".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shop_names_follow_the_rule_of_the_resource() {
        for valid in ["demo", "a", "a-1", &"a".repeat(40)] {
            assert!(shop_name(valid).is_ok(), "{valid}");
        }
        for invalid in ["", "1a", "-a", "a-", "Demo", "a b", "a}", &"a".repeat(41), "é"] {
            assert!(shop_name(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_consumer_name_is_never_empty() {
        let given = PodArguments {
            pod_name: Some("demo-1".to_owned()),
        };
        assert_eq!(given.consumer_name(), "demo-1");
        let blank = PodArguments {
            pod_name: Some(" ".to_owned()),
        };
        assert!(!blank.consumer_name().trim().is_empty());
    }
}
