//! Entry point: reads the command line and starts one of the two halves.

use clap::Parser;
use shopwright_inventory::{
    cli::{Cli, Command},
    consume, serve,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(arguments) => serve::run(*arguments).await,
        Command::Consume(arguments) => consume::run(*arguments).await,
    }
}
