//! The command line: `shopwright-load`, and `cargo xtask load`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use shopwright_domain::money::Currency;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::products::{NewProducts, Products};
use crate::{AdminKey, Arrivals, Load, ShopUrl, machine, mix::Mix};

/// Open files beside those of calls and readers.
const OTHER_FILES: u64 = 64;
/// A month.
const LONGEST_SECONDS: u64 = 30 * 24 * 3600;

/// What to do to which shop. The environment's `ADMIN_KEY`, when it is set, lets products be created and orders refunded.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The storefront, like `http://127.0.0.1:8080`; requests go nowhere else
    #[arg(long)]
    pub url: ShopUrl,
    /// Parts with weights: browse, flash-sale, long-tail, refunds, cancels, twice
    #[arg(long, default_value_t)]
    pub mix: Mix,
    /// Arrivals a second, whatever the shop does
    #[arg(long, default_value_t = 10.0)]
    pub rate: f64,
    /// How arrivals lie in time
    #[arg(long, value_enum, default_value = "poisson")]
    pub arrivals: Arrivals,
    /// Seconds of arrivals
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=LONGEST_SECONDS))]
    pub duration: u64,
    /// The most arrivals
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    pub count: u64,
    /// The same seed with the same options makes the same arrivals
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Append every accepted order, cancellation and refund to this file, as JSON lines
    #[arg(long)]
    pub journal: Option<PathBuf>,
    /// Live streams of orders to read
    #[arg(long, default_value_t = 0)]
    pub readers: usize,
    /// The most arrivals under way at once; those beyond wait and are counted as late
    #[arg(long, default_value_t = 256, value_parser = bound)]
    pub in_flight: usize,
    /// The most orders followed at once
    #[arg(long, default_value_t = 256, value_parser = bound)]
    pub followers: usize,
    /// Seconds after the last arrival in which orders are still followed to their end
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=LONGEST_SECONDS))]
    pub follow: u64,
    /// Seconds to wait for a reply
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=LONGEST_SECONDS))]
    pub timeout: u64,
    /// The most attempts of one POST, all under one key
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: u32,
    /// Products to create when `ADMIN_KEY` is set; the first is the hot one
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub products: u32,
    /// Pieces of the hot product
    #[arg(long, default_value_t = 1_000)]
    pub hot_stock: u32,
    /// Pieces of each other product
    #[arg(long, default_value_t = 100_000)]
    pub stock: u32,
    /// The shop's currency
    #[arg(long, default_value = "EUR")]
    pub currency: Currency,
}

fn bound(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=1_000_000).contains(number))
        .ok_or_else(|| "a number from 1 to 1000000".to_owned())
}

/// Loads the shop until it is done or Ctrl-C, and prints the report; an error when the shop broke a promise.
pub fn run(arguments: Arguments) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(load(arguments))
}

async fn load(arguments: Arguments) -> Result<()> {
    let key = AdminKey::from_environment();
    let allowed = machine::raise_open_files();
    // An arrival may make the same call twice at once.
    let wanted = 2 * arguments.in_flight + arguments.followers + arguments.readers;
    if u64::try_from(wanted)?.saturating_add(OTHER_FILES) > allowed {
        bail!(
            "{wanted} connections at once need more than the {allowed} open files that the system allows: ulimit -Hn"
        );
    }
    let products = match &key {
        Some(key) => {
            let new = NewProducts {
                count: arguments.products,
                hot_stock: arguments.hot_stock,
                stock: arguments.stock,
                currency: arguments.currency,
            };
            Products::create(&arguments.url, key, new).await?
        }
        None => Products::existing(&arguments.url).await?,
    };
    let load = Load {
        admin_key: key,
        mix: arguments.mix,
        rate: arguments.rate,
        arrivals: arguments.arrivals,
        duration: Duration::from_secs(arguments.duration),
        count: arguments.count,
        seed: arguments.seed,
        journal: arguments.journal,
        in_flight: arguments.in_flight,
        followers: arguments.followers,
        follow: Duration::from_secs(arguments.follow),
        readers: arguments.readers,
        timeout: Duration::from_secs(arguments.timeout),
        attempts: arguments.attempts,
        ..Load::new(arguments.url, products)
    };
    let report = load.run(cancelled_by_signals()?).await?;
    println!("{report}");
    match report.violation_count() {
        0 => Ok(()),
        count => bail!("{count} violations"),
    }
}

/// Cancelled by the first Ctrl-C or SIGTERM.
fn cancelled_by_signals() -> Result<CancellationToken> {
    let cancel = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = cancel.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    });
    Ok(cancel)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn the_command_line_is_sound() {
        <CommandLine as clap::CommandFactory>::command().debug_assert();
        let given = [
            "load",
            "--url",
            "http://127.0.0.1:1",
            "--mix",
            "flash-sale=2,twice",
            "--readers=1000",
        ];
        let arguments = CommandLine::parse_from(given).arguments;
        assert_eq!(arguments.mix.to_string(), "flash-sale=2,twice=1");
        assert_eq!((arguments.readers, arguments.rate, arguments.seed), (1000, 10.0, 1));
        for wrong in [["--in-flight=0"], ["--mix=sale"], ["--url=https://shop"]] {
            assert!(CommandLine::try_parse_from(["load", "--url=http://a"].iter().chain(&wrong)).is_err());
        }
    }
}
