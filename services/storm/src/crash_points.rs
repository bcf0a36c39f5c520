//! A shop of its own for each named crash point: orders come until a process has died there; another takes over; everything
//! ends, and every book is compared.

use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Result, bail};
use shopwright_load::products::Products;
use shopwright_load::{Load, journal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::arena::within;
use crate::books::Books;
use crate::plan::Durability;
use crate::shop::{Binaries, Shop, Tempo};
use crate::stock_book::StockBook;
use crate::{duties, traffic};

/// Shops at once: most of the time each waits for something.
const AT_ONCE: usize = 3;
/// How long orders come until the point must have been passed.
const PATIENCE: Duration = Duration::from_secs(40);
const RATE: f64 = 25.0;
/// One wave of orders. While nobody has died, another one follows.
const WAVE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(100);
/// How often the books are compared until they agree.
const COMPARE: Duration = Duration::from_millis(500);
/// How long the books may take to agree: many deadlines, since the machine may be busy with something else.
const SETTLE: Duration = Duration::from_secs(60);

/// What came of a death at a crash point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where.
    pub point: &'static str,
    /// Accepted orders, all of them ended.
    pub orders: usize,
    /// From the first order to the comparison.
    pub took: Duration,
    /// What must not be, one line each.
    pub violations: Vec<String>,
}

impl Display for Outcome {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (point, seconds) = (self.point, self.took.as_secs_f64());
        write!(out, "{point:<34}{:>4} orders in {seconds:.1} s, ", self.orders)?;
        match self.violations.len() {
            0 => write!(out, "all is well"),
            count => write!(out, "{count} VIOLATIONS\n  {}", self.violations.join("\n  ")),
        }
    }
}

/// Dies at each of `points`, a few at once. Blocks. An error when a point was not passed at all; it names the folder that is
/// kept. `told` hears of each outcome as soon as it is there.
pub fn each(binaries: &Binaries, points: &[&'static str], mut told: impl FnMut(&Outcome)) -> Result<Vec<Outcome>> {
    let (sender, receiver) = mpsc::channel();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody listens any more: an earlier point failed.
                    if sender.send(one(binaries, point)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut outcomes = Vec::new();
        for outcome in receiver {
            let outcome = outcome?;
            told(&outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    })
}

fn one(binaries: &Binaries, point: &'static str) -> Result<Outcome> {
    let (mut outcome, kept) = within(
        async |folder| die_at(binaries, point, folder).await,
        |outcome| outcome.violations.is_empty(),
    )?;
    if let Some(kept) = kept {
        outcome
            .violations
            .push(format!("data and logs are in {}", kept.display()));
    }
    Ok(outcome)
}

async fn die_at(binaries: &Binaries, point: &'static str, folder: &Path) -> Result<Outcome> {
    let shop = Shop::start(binaries.clone(), Durability::Always, Tempo::BRISK, 1, folder).await?;
    tokio::select! {
        never = shop.fleet.supervise() => match never? {},
        never = duties::keep_groups(&shop) => match never? {},
        outcome = drive(&shop, point, folder) => outcome,
    }
}

async fn drive(shop: &Shop, point: &'static str, folder: &Path) -> Result<Outcome> {
    let (products, opening) = traffic::products(shop, RATE * WAVE.as_secs_f64()).await?;
    let mut stock = StockBook::new(opening);
    let began = Instant::now();
    shop.fleet.arm(point)?;
    let died = CancellationToken::new();
    let watching = async {
        while !shop.fleet.deaths().crashed.contains_key(point) {
            if began.elapsed() > PATIENCE {
                bail!("within {} s nobody came to the crash point {point}", PATIENCE.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
        // The others of its kind, which are armed as well, have done their part.
        shop.fleet.disarm()?;
        died.cancel();
        Ok(())
    };
    let journal = folder.join("journal");
    let (mut violations, ..) = tokio::try_join!(
        waves(shop, products, &journal, &died),
        watching,
        stock.keep(shop, 1, &died),
        duties::trouble_provider(shop, 1, &died),
    )?;
    let until = Instant::now() + SETTLE;
    let journal = journal::read(&journal)?;
    let (orders, found) = loop {
        let books = Books::compare(shop, &journal, &stock, &[]).await?;
        let found: Vec<String> = books.violations().collect();
        if found.is_empty() || Instant::now() > until {
            break (books.fates.accepted, found);
        }
        tokio::time::sleep(COMPARE).await;
    };
    violations.extend(found);
    violations.extend(shop.fleet.panics()?.iter().map(|line| format!("panic: {line}")));
    Ok(Outcome {
        point,
        orders,
        took: began.elapsed(),
        violations,
    })
}

/// Waves of orders, until one has come after the death; returns what clients saw and should not have.
async fn waves(shop: &Shop, products: Products, journal: &Path, died: &CancellationToken) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for seed in 1.. {
        let is_last = died.is_cancelled();
        let load = traffic::load(shop, products.clone(), RATE, WAVE, seed, journal)?;
        let report = traffic::run(Load {
            follow: WAVE,
            readers: 0,
            ..load
        })
        .await?;
        let seen = report.violations.iter();
        violations.extend(seen.map(|(kind, count)| format!("seen by clients: {kind}, {count} times")));
        if is_last {
            break;
        }
    }
    Ok(violations)
}
