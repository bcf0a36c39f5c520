//! Entry point: reads the command line and serves.

use clap::Parser;
use shopwright_storefront::{
    cli::{Cli, Command},
    serve,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(arguments) => serve::run(*arguments).await,
    }
}
