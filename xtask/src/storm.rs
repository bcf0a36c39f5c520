//! A shop under faults. Builds the services with their crash points, and leaves the rest to `shopwright-storm`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use shopwright_storm::plan::Durability;
use shopwright_storm::role::Role;
use shopwright_storm::shop::Binaries;
use shopwright_storm::{crash_points, storm};

use crate::workspace;

/// Which storm.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Minutes of faults and load.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// The same seed makes the same plan of faults and the same load.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// When Redis writes to its disk.
    #[arg(long, value_enum, default_value = "always")]
    durability: DurabilityArgument,
    /// Orders a second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Instead, die once at each named crash point.
    #[arg(long, conflicts_with_all = ["minutes", "durability", "rate", "seed"])]
    crash_points: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum DurabilityArgument {
    /// Before each reply: nothing may be lost.
    Always,
    /// Each second: what is lost must lie within two seconds before a death of Redis.
    EverySecond,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binaries = binaries()?;
    if arguments.crash_points {
        return die_at_each_crash_point(&binaries);
    }
    let durability = match arguments.durability {
        DurabilityArgument::Always => Durability::Always,
        DurabilityArgument::EverySecond => Durability::EverySecond,
    };
    blow(
        &binaries,
        Duration::from_secs(arguments.minutes * 60),
        arguments.seed,
        durability,
        arguments.rate,
    )
}

/// One storm; its report goes to standard output.
pub(crate) fn blow(
    binaries: &Binaries,
    duration: Duration,
    seed: u64,
    durability: Durability,
    rate: f64,
) -> Result<()> {
    let report = storm::run(&storm::Options {
        binaries: binaries.clone(),
        duration,
        seed,
        durability,
        rate,
        version: version(),
    })?;
    println!("{report}");
    match report.violations().len() {
        0 => Ok(()),
        count => bail!("{count} violations"),
    }
}

/// A shop for each crash point, which dies there.
pub(crate) fn die_at_each_crash_point(binaries: &Binaries) -> Result<()> {
    let outcomes = crash_points::each(binaries, &Role::all_crash_points(), |outcome| {
        println!("{outcome}");
    })?;
    match outcomes.iter().filter(|outcome| !outcome.violations.is_empty()).count() {
        0 => Ok(()),
        count => bail!("{count} crash points were not survived"),
    }
}

/// The services with their crash points, in a folder of their own: the ordinary binaries stay what they are.
pub(crate) fn binaries() -> Result<Binaries> {
    const NAMES: [&str; 3] = ["shopwright-inventory", "shopwright-payments", "shopwright-storefront"];
    let folder = workspace::target()?.join("crash-points");
    std::fs::create_dir_all(&folder)?;
    let crashing = [
        "--package",
        "shopwright-kit",
        "--features",
        "shopwright-kit/crash-points",
    ];
    let mut copies: Vec<PathBuf> = Vec::new();
    // One set of dependencies serves both builds, at the price of the services' own places: so copy, and build again.
    for built in workspace::build_binaries_with(&NAMES, &crashing)? {
        let copy = folder.join(built.file_name().unwrap_or_default());
        // A storm that is still running keeps the file it has open.
        let _ = std::fs::remove_file(&copy);
        std::fs::copy(&built, &copy)?;
        copies.push(copy);
    }
    workspace::build_binaries(&NAMES)?;
    let [inventory, payments, storefront] = copies
        .try_into()
        .map_err(|_| anyhow::anyhow!("three binaries make a shop"))?;
    Ok(Binaries {
        inventory,
        payments,
        storefront,
    })
}

/// The version and, in a checkout, what is checked out.
fn version() -> String {
    let described = workspace::root().and_then(|root| {
        let mut git = Command::new("git");
        git.current_dir(root).args(["describe", "--always", "--dirty"]);
        workspace::capture(&mut git)
    });
    match described {
        Ok(described) => format!("{} ({})", env!("CARGO_PKG_VERSION"), described.trim()),
        Err(_) => env!("CARGO_PKG_VERSION").to_owned(),
    }
}
