//! The developer's and CI's one entry: `cargo xtask --help`.

mod bench;
mod chart_schema;
mod charts;
mod cluster_tests;
mod dev;
mod down;
mod example;
mod fuzz;
mod generate;
mod image;
mod install;
mod interrupt;
mod load;
mod model;
mod order_tables;
mod preflight;
mod report;
mod steps;
mod storefront;
mod storm;
mod test;
mod up;
mod verify;
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
    /// Run `examples/consumer-group` on the cluster that `up` runs.
    Example {
        /// The namespace; it must exist.
        #[arg(long, default_value = "default")]
        namespace: String,
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
    /// Go through every reachable state of orders, reservations, streams and provider, with faults at every step.
    Model {
        /// Only these scopes, by name.
        scopes: Vec<String>,
    },
    /// Run the shop on loopback under kills, freezes, a bad network and a slow disk, and prove that nothing is lost or doubled.
    Storm(storm::Arguments),
    /// Try a part on random hostile histories for as long as you like; `test` does so for a few seconds.
    Fuzz {
        #[command(subcommand)]
        what: Fuzz,
    },
    /// Load a shop by its URL, at a rate that does not wait for it, and report; fails when the shop broke a promise.
    Load(Box<shopwright_load::cli::Arguments>),
    /// Compare all books of a shop: orders, stock, money, the provider, the streams. Fails when something does not hold.
    Verify(verify::Arguments),
    /// Measure on the cluster that `up` runs.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
}

#[derive(Subcommand)]
enum Fuzz {
    /// The exact backlog, against full listings of a real Redis Stack; ends at the first wrong sample with its history.
    Backlog {
        /// How many samples.
        #[arg(long, default_value_t = 1_000_000)]
        samples: u64,
        /// The seed of the first history. The same seed makes the same histories.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// How consumers follow their backlog: one message from zero, a dump, outages, scaling in under load, many groups.
    Scaling(bench::Scaling),
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
        Command::Example { namespace } => example::run(&namespace),
        Command::Down => down::run(),
        Command::Test { quick, yes } => test::run(quick, yes),
        Command::Gen { check: true } => generate::check(),
        Command::Gen { check: false } => generate::write(),
        Command::Image { output } => image::run(&output),
        Command::Model { scopes } => model::run(&scopes),
        Command::Storm(arguments) => storm::run(&arguments),
        Command::Fuzz {
            what: Fuzz::Backlog { samples, seed },
        } => fuzz::backlog(samples, seed),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Load(arguments) => load::run(*arguments),
        Command::Bench {
            what: Bench::Scaling(what),
        } => bench::scaling(&what),
    }
}
