//! The command line: what each command takes. Wiring is in `serve` and `consume`.

use clap::{Args, Parser, Subcommand};
use shopwright_domain::money::Currency;
use shopwright_kit::config::{
    AdminArguments, ConsumerArguments, IdempotencyArguments, ListenArguments, LogArguments, PodArguments,
    RedisArguments, ShopArguments,
};

/// Products, prices, stock and reservations of one shop.
#[derive(Debug, Parser)]
#[command(
    name = "shopwright-inventory",
    version,
    after_help = "Secrets come from the environment only: REDIS_PASSWORD; for serve also ADMIN_KEY and MIGRATION_PASSWORD."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The two halves of the service.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API for products and stock
    Serve(Box<ServeArguments>),
    /// Read the events of payments and reserve, commit and release stock
    Consume(Box<ConsumeArguments>),
}

/// What both commands take.
#[derive(Debug, Clone, Args)]
pub struct CommonArguments {
    /// Which shop.
    #[command(flatten)]
    pub shop: ShopArguments,
    /// Where Redis is.
    #[command(flatten)]
    pub redis: RedisArguments,
    /// Where probes and metrics are served.
    #[command(flatten)]
    pub admin: AdminArguments,
    /// How logs are written.
    #[command(flatten)]
    pub log: LogArguments,
}

/// What `serve` takes.
#[derive(Debug, Clone, Args)]
pub struct ServeArguments {
    /// What both commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// Where the API is served.
    #[command(flatten)]
    pub listen: ListenArguments,
    /// Currency of every price, as three capital letters
    #[arg(long, env = "SHOP_CURRENCY")]
    pub shop_currency: Currency,
    /// How long requests are known.
    #[command(flatten)]
    pub idempotency: IdempotencyArguments,
}

/// What `consume` takes.
#[derive(Debug, Clone, Args)]
pub struct ConsumeArguments {
    /// What both commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The consumer's name.
    #[command(flatten)]
    pub pod: PodArguments,
    /// The consumer's times.
    #[command(flatten)]
    pub consumer: ConsumerArguments,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::time::Duration;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn requests_are_known_for_two_days_unless_told_otherwise() {
        let retention = |more: &[&str]| {
            let given = "shopwright-inventory serve --shop-name=demo --redis-host=redis --shop-currency=EUR";
            let given = given.split(' ').chain(more.iter().copied());
            let Command::Serve(serve) = Cli::parse_from(given).command else {
                panic!("not serve")
            };
            serve.idempotency.retention()
        };
        assert_eq!(retention(&[]), shopwright_kit::idempotency::RETENTION);
        assert_eq!(retention(&["--idempotency-hours=3"]), Duration::from_hours(3));
    }

    #[test]
    fn no_flag_takes_a_secret() {
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                assert!(!name.contains("password") && !name.contains("key"), "{name}");
            }
        }
    }
}
