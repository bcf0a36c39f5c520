//! `shopwright-operator`: parse, set up logging, run.

use clap::Parser;
use shopwright_operator::{
    cli::{Cli, Command},
    run, telemetry,
};

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Crds => {
            print!("{}", shopwright_api::crds());
            Ok(())
        }
        Command::Run(arguments) => {
            telemetry::init(&arguments.log, arguments.log_format)?;
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?
                .block_on(run::run(*arguments))
        }
    }
}
