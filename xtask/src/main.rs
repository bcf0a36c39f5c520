//! The developer's and CI's one entry: `cargo xtask --help`.

mod chart_schema;
mod charts;
mod cluster_tests;
mod dev;
mod down;
mod generate;
mod image;
mod install;
mod interrupt;
mod preflight;
mod processes;
mod report;
mod steps;
mod storefront;
mod test;
mod up;
mod wake;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs, tests and packages Shopwright from a checkout.
#[derive(Parser)]
#[command(name = "cargo xtask", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run Redis Stack and the services as processes on loopback, without root or a cluster, and place an order.
    Dev {
        /// End after the first order instead of staying up until Ctrl-C.
        #[arg(long)]
        once: bool,
    },
    /// Boot a real Kubernetes, install the operator, apply a Shop and place an order. Run it again after an edit.
    Up {
        /// The Shop to apply.
        #[arg(short, long, default_value = "examples/shop.yaml")]
        file: PathBuf,
        /// Install missing Debian packages without asking.
        #[arg(long)]
        yes: bool,
    },
    /// End what `up` started and remove every trace of it.
    Down,
    /// Prove everything: formatting, lints, unit tests, real Redis, real Kubernetes.
    Test {
        /// Stop before the cluster.
        #[arg(long)]
        quick: bool,
        /// Install missing Debian packages without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Write the files that are made from code.
    Gen {
        /// Only compare; fail on a difference.
        #[arg(long)]
        check: bool,
    },
    /// Build the images as OCI archives.
    Image {
        /// The folder to write them to.
        #[arg(long, default_value = "target/images")]
        output: PathBuf,
    },
    /// Measure on the cluster that `up` runs.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// One message to a consumer at zero: time to the scale write and to the ack.
    Wake {
        /// How many messages, one after another.
        #[arg(long, default_value_t = 20)]
        trials: u32,
    },
}

fn main() -> ExitCode {
    // A cluster's own processes are this program again.
    if let Some(ended) = shopwright_cluster::run_if_asked() {
        return ended;
    }
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Dev { once } => workspace::block_on(dev::run(once))?,
        Command::Up { file, yes } => up::run(&file, yes),
        Command::Down => down::run(),
        Command::Test { quick, yes } => test::run(quick, yes),
        Command::Gen { check: true } => generate::check(),
        Command::Gen { check: false } => generate::write(),
        Command::Image { output } => image::run(&output),
        Command::Bench {
            what: Bench::Wake { trials },
        } => wake::run(trials),
    }
}
