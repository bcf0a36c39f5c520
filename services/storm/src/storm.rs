//! A shop under a plan and under load, then calm, then every book compared.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use shopwright_load::machine::Machine;
use shopwright_load::{Load, journal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::arena::within;
use crate::books::Books;
use crate::conduct::Stage;
use crate::connection::patient;
use crate::database::Growth;
use crate::plan::{Durability, Forecast, plan};
use crate::proxy::Weather;
use crate::report::Report;
use crate::shop::{Binaries, Shop, Tempo};
use crate::stock_book::StockBook;
use crate::{duties, traffic};

/// The shortest time between two deaths of Redis in a plan. Three times what it takes to load is waited for in any case.
const REDIS_GAP: Duration = Duration::from_secs(8);
/// Of the longest deadline: so long the shop is left alone before its books are compared.
const SETTLE_TIMES: u32 = 3;
/// On a machine that is busy with something else they may agree later; the report says when they did.
const PATIENCE: Duration = Duration::from_secs(90);
const AGAIN: Duration = Duration::from_secs(1);
/// How long clients still watch their orders, before the shop is left alone to settle.
const FOLLOW: Duration = Duration::from_secs(5);

/// A storm.
#[derive(Clone, Debug)]
pub struct Options {
    /// The shop's programs.
    pub binaries: Binaries,
    /// How long faults and load go on.
    pub duration: Duration,
    /// The same seed makes the same plan and the same load. When each fault meets which call is up to the machine.
    pub seed: u64,
    /// When Redis writes to its disk.
    pub durability: Durability,
    /// Arrivals a second; each places an order.
    pub rate: f64,
    /// Of what is being tried, for the report.
    pub version: String,
}

/// Runs it to its end, or to Ctrl-C. Blocks. Read [`Report::is_whole`].
pub fn run(options: &Options) -> Result<Report> {
    let (mut report, kept) = within(async |folder| storm(options, folder).await, Report::is_whole)?;
    report.kept = kept;
    Ok(report)
}

async fn storm(options: &Options, folder: &Path) -> Result<Report> {
    let shop = Shop::start(
        options.binaries.clone(),
        options.durability,
        Tempo::STORM,
        options.seed,
        folder,
    )
    .await?;
    let growth = Growth::default();
    tokio::select! {
        never = shop.fleet.supervise() => match never? {},
        never = duties::keep_groups(&shop) => match never? {},
        never = growth.watch(&shop.database) => match never {},
        report = phases(options, &shop, &growth, folder) => report,
    }
}

async fn phases(options: &Options, shop: &Shop, growth: &Growth, folder: &Path) -> Result<Report> {
    let Options { duration, seed, .. } = *options;
    let (products, opening) = traffic::products(shop, options.rate * duration.as_secs_f64()).await?;
    let mut stock = StockBook::new(opening);
    let stage = Stage::new(shop, growth, folder);
    let journal = folder.join("journal");
    let load = traffic::load(shop, products, options.rate, duration, seed, &journal)?;
    let load = Load { follow: FOLLOW, ..load };

    let faults = plan(&Forecast {
        duration,
        seed,
        durability: options.durability,
        claim_min_idle: Duration::from_millis(Tempo::STORM.claim_min_idle_milliseconds.into()),
        redis_gap: REDIS_GAP,
    });
    let over = CancellationToken::new();
    let raging = async {
        shop.fleet.arm_newcomers();
        stage.conduct(&faults, duration).await?;
        over.cancel();
        calm(shop)
    };
    let (load, ..) = tokio::try_join!(
        traffic::run(load),
        raging,
        stock.keep(shop, seed, &over),
        duties::trouble_provider(shop, seed, &over),
    )?;
    let calm_since = Instant::now();
    tokio::time::sleep(Tempo::STORM.longest_deadline() * SETTLE_TIMES).await;

    let journal = journal::read(&journal)?;
    let redis_deaths = shop.database.deaths();
    let permitting = match options.durability {
        Durability::Always => Vec::new(),
        Durability::EverySecond => redis_deaths.clone(),
    };
    let (books, settled) = loop {
        let settled = calm_since.elapsed();
        let books = Books::compare(shop, &journal, &stock, &permitting).await?;
        if books.violations().next().is_none() || settled > PATIENCE {
            break (books, settled);
        }
        tokio::time::sleep(AGAIN).await;
    };
    Ok(Report {
        seed,
        durability: options.durability,
        versions: [options.version.clone(), redis_version(shop).await?],
        machine: Machine::here(),
        lasted: [duration, settled],
        load,
        books,
        deaths: shop.fleet.deaths(),
        redis_deaths,
        struck: stage.struck(),
        panics: shop.fleet.panics()?,
        kept: None,
    })
}

/// The end of all faults.
fn calm(shop: &Shop) -> Result<()> {
    shop.proxy.set(Weather::Clear);
    shop.fleet.thaw()?;
    shop.fleet.disarm()
}

async fn redis_version(shop: &Shop) -> Result<String> {
    let mut redis = patient(shop.database.client()).await?;
    let information: String = redis::cmd("INFO").arg("server").query_async(&mut redis).await?;
    information
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .map(|version| version.trim().to_owned())
        .context("Redis does not say its version")
}
