//! Commands and configuration. Every flag is also an environment variable; secrets are read from the environment only.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use shopwright_domain::access::User;
use shopwright_domain::money::{Amount, Currency, FeePercent, MoneyError};
use shopwright_domain::order::Policy;
use shopwright_kit::RedisSettings;
use shopwright_kit::config::{
    AdminArguments, ConsumerArguments, IdempotencyArguments, ListenArguments, LogArguments, PodArguments,
    RedisArguments, ShopArguments,
};
use shopwright_kit::secret::SecretError;

use crate::provider::LONGEST_CALL;

/// Orders and money.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The two processes of this binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the HTTP API, and see to due times
    Serve(Serve),
    /// Consume stock answers and provider jobs
    Consume(Consume),
}

/// Configuration of `serve`. The environment also holds `REDIS_PASSWORD`, `MIGRATION_PASSWORD`, `ADMIN_KEY` and
/// `ORDER_TOKEN_KEYS`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Which shop
    #[command(flatten)]
    pub shop: ShopArguments,
    /// Public address
    #[command(flatten)]
    pub listen: ListenArguments,
    /// Admin address
    #[command(flatten)]
    pub admin: AdminArguments,
    /// Where Redis is
    #[command(flatten)]
    pub redis: RedisArguments,
    /// Logs
    #[command(flatten)]
    pub log: LogArguments,
    /// Rules of orders
    #[command(flatten)]
    pub orders: OrderArguments,
    /// How often due times are looked at
    #[arg(long, env = "SWEEP_INTERVAL_MILLISECONDS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    pub sweep_interval_milliseconds: u64,
    /// How long requests are known
    #[command(flatten)]
    pub idempotency: IdempotencyArguments,
}

/// Configuration of `consume`. The environment also holds `REDIS_PASSWORD` and `PROVIDER_PASSWORD`.
#[derive(Debug, Args)]
pub struct Consume {
    /// Which shop
    #[command(flatten)]
    pub shop: ShopArguments,
    /// Admin address
    #[command(flatten)]
    pub admin: AdminArguments,
    /// Where Redis is
    #[command(flatten)]
    pub redis: RedisArguments,
    /// Logs
    #[command(flatten)]
    pub log: LogArguments,
    /// Rules of orders
    #[command(flatten)]
    pub orders: OrderArguments,
    /// Consumer's name
    #[command(flatten)]
    pub pod: PodArguments,
    /// Times of the loops
    #[command(flatten)]
    pub consumer: ConsumerArguments,
    /// The provider
    #[command(flatten)]
    pub provider: ProviderArguments,
    /// Stock answers in hand at once; up to 64 of them are handled together
    #[arg(long, env = "STOCK_CONCURRENCY", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    pub stock_concurrency: u16,
    /// Provider calls at once: a limit of their own, so that a slow provider never holds up stock answers
    #[arg(long, env = "JOB_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub job_concurrency: u16,
}

/// What orders are worth and how long they may take.
#[derive(Debug, Args)]
pub struct OrderArguments {
    /// The shop's currency, ISO 4217
    #[arg(long, env = "SHOP_CURRENCY", default_value = "EUR")]
    pub shop_currency: Currency,
    /// The shop's fee in percent of an order's subtotal
    #[arg(long, env = "FEE_PERCENT", default_value = "20")]
    pub fee_percent: FeePercent,
    /// Patience with inventory, and again with the provider
    #[arg(long, env = "ORDER_DEADLINE_SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..))]
    pub order_deadline_seconds: u32,
    /// First wait before the provider is asked again; doubles
    #[arg(long, env = "CHARGE_RETRY_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub charge_retry_seconds: u32,
    /// First wait before inventory is reminded, or a refund asked for again; doubles
    #[arg(long, env = "RELEASE_RETRY_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub release_retry_seconds: u32,
    /// The longest wait of both
    #[arg(long, env = "LONGEST_RETRY_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    pub longest_retry_seconds: u32,
}

impl OrderArguments {
    /// As the rules want it.
    pub fn policy(&self) -> Policy {
        let milliseconds = |seconds: u32| i64::from(seconds) * 1_000;
        Policy {
            order_deadline: milliseconds(self.order_deadline_seconds),
            charge_retry: milliseconds(self.charge_retry_seconds),
            release_retry: milliseconds(self.release_retry_seconds),
            longest_retry: milliseconds(self.longest_retry_seconds),
            fee: self.fee_percent,
        }
    }
}

/// The simulated provider. The environment also holds `PROVIDER_PASSWORD`.
#[derive(Debug, Args)]
pub struct ProviderArguments {
    /// Host of the Redis with the provider's book; default: the shop's
    #[arg(long, env = "PROVIDER_REDIS_HOST")]
    pub provider_redis_host: Option<String>,
    /// Port of the Redis with the provider's book; default: the shop's
    #[arg(long, env = "PROVIDER_REDIS_PORT")]
    pub provider_redis_port: Option<u16>,
    /// How long one call takes; less than the 20 s after which a call is given up
    #[arg(long, env = "PROVIDER_LATENCY_MILLISECONDS", default_value_t = 500, value_parser = latency)]
    pub provider_latency_milliseconds: u64,
    /// Charges above this many minor units are declined
    #[arg(long, env = "PROVIDER_DECLINE_ABOVE_MINOR", value_parser = amount)]
    pub provider_decline_above_minor: Option<Amount>,
}

impl ProviderArguments {
    /// Where the provider keeps its book: in the shop's own Redis, unless told otherwise.
    pub fn settings(&self, shop: &RedisArguments) -> Result<RedisSettings, SecretError> {
        let settings = shop.settings_as(User::Provider.name(), "PROVIDER_PASSWORD")?;
        Ok(RedisSettings {
            host: self.provider_redis_host.clone().unwrap_or(settings.host),
            port: self.provider_redis_port.unwrap_or(settings.port),
            ..settings
        })
    }

    /// See `provider_latency_milliseconds`.
    pub fn latency(&self) -> Duration {
        Duration::from_millis(self.provider_latency_milliseconds)
    }
}

/// A call as long as the patience with it would never be answered, and no order would ever be paid.
fn latency(text: &str) -> Result<u64, String> {
    let milliseconds = text.parse().map_err(|error| format!("{error}"))?;
    if Duration::from_millis(milliseconds) < LONGEST_CALL {
        return Ok(milliseconds);
    }
    Err(format!(
        "a call is given up after {} ms, so it must take less",
        LONGEST_CALL.as_millis()
    ))
}

fn amount(text: &str) -> Result<Amount, MoneyError> {
    text.parse()
        .map_err(|_| MoneyError::AmountOutOfRange)
        .and_then(Amount::new)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_defaults_are_the_documented_ones() {
        Arguments::command().debug_assert();
        let given = [
            "shopwright-payments",
            "consume",
            "--shop-name=demo",
            "--redis-host=redis",
            "--redis-username=payments",
        ];
        let Command::Consume(consume) = Arguments::parse_from(given).command else {
            panic!("not consume")
        };
        let policy = consume.orders.policy();
        assert_eq!(
            (
                policy.order_deadline,
                policy.charge_retry,
                policy.release_retry,
                policy.longest_retry
            ),
            (900_000, 5_000, 30_000, 300_000)
        );
        assert_eq!(consume.provider.latency(), Duration::from_millis(500));

        let mut given = given;
        given[1] = "serve";
        let Command::Serve(serve) = Arguments::parse_from(given).command else {
            panic!("not serve")
        };
        assert_eq!(serve.idempotency.retention(), shopwright_kit::idempotency::RETENTION);
    }

    #[test]
    fn a_provider_that_would_never_be_waited_for_is_refused() {
        let given = |latency: &str| {
            let latency = format!("--provider-latency-milliseconds={latency}");
            let shop = ["--shop-name=demo", "--redis-host=redis", "--redis-username=payments"];
            Arguments::try_parse_from([&["shopwright-payments", "consume"], &shop[..], &[latency.as_str()]].concat())
        };
        assert!(given("19999").is_ok());
        for latency in ["20000", "3600000"] {
            let error = given(latency).unwrap_err().to_string();
            assert!(error.contains("given up after 20000 ms"), "{error}");
        }
        assert!(given("soon").is_err());
    }
}
