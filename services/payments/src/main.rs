//! `shopwright-payments serve` and `shopwright-payments consume`.

use clap::Parser;
use shopwright_payments::{cli::Arguments, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    run::run(Arguments::parse()).await
}
