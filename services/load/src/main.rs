//! `shopwright-load --url http://HOST:PORT`.

use clap::Parser;
use shopwright_load::cli::{self, Arguments};

/// Loads a shop by HTTP and reports what it did.
#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> anyhow::Result<()> {
    cli::run(CommandLine::parse().arguments)
}
