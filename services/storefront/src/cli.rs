//! The command line.

use clap::{Args, Parser, Subcommand};
use shopwright_kit::config::{AdminArguments, ListenArguments, LogArguments};

use crate::gateway::Upstream;

/// One address for a shop: its API and a page.
#[derive(Debug, Parser)]
#[command(name = "shopwright-storefront", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the page at / and the services' API under /api
    Serve(Box<ServeArguments>),
}

/// What `serve` takes.
#[derive(Debug, Clone, Args)]
pub struct ServeArguments {
    /// Where the page and the API are served.
    #[command(flatten)]
    pub listen: ListenArguments,
    /// Where probes and metrics are served.
    #[command(flatten)]
    pub admin: AdminArguments,
    /// How logs are written.
    #[command(flatten)]
    pub log: LogArguments,
    /// Where inventory is: scheme http, host and port
    #[arg(long, env = "INVENTORY_URL", value_name = "http://HOST:PORT")]
    pub inventory_url: Upstream,
    /// Where payments is: scheme http, host and port
    #[arg(long, env = "PAYMENTS_URL", value_name = "http://HOST:PORT")]
    pub payments_url: Upstream,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
