//! Lets a plan come true for a shop. Touches the shop's processes, proxy and main Redis.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::database::{Growth, NotTried, locked};
use crate::plan::{Fault, Wrong};
use crate::proxy::Weather;
use crate::shop::Shop;

/// What came true, by kind. Deaths are counted where they are noticed.
#[derive(Clone, Debug, Default)]
pub struct Struck {
    /// Processes that were frozen.
    pub frozen: u32,
    /// Kinds of weather.
    pub weather: BTreeMap<&'static str, u32>,
    /// Times of slow fsyncs.
    pub slow_disk: u32,
    /// Why there was none.
    pub slow_disk_not_tried: Option<NotTried>,
    /// Deaths of Redis that were put off until it had run long enough, or that did not come for that reason.
    pub put_off: u32,
}

/// Whom a plan befalls.
pub struct Stage<'a> {
    shop: &'a Shop,
    growth: &'a Growth,
    folder: &'a Path,
    struck: Mutex<Struck>,
}

impl<'a> Stage<'a> {
    /// Of one shop, whose file's growth is being watched. Logs go to `folder`.
    pub fn new(shop: &'a Shop, growth: &'a Growth, folder: &'a Path) -> Self {
        Self {
            shop,
            growth,
            folder,
            struck: Mutex::default(),
        }
    }

    /// What has come true so far.
    pub fn struck(&self) -> Struck {
        locked(&self.struck).clone()
    }

    /// Every fault at its time; returns when all are over and so is `duration`.
    pub async fn conduct(&self, plan: &[Fault], duration: Duration) -> Result<()> {
        let began = Instant::now();
        let end = began + duration;
        let mut under_way = FuturesUnordered::new();
        for fault in plan {
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(began + fault.at) => break,
                    Some(done) = under_way.next() => done?,
                }
            }
            under_way.push(self.strike(fault.what, end));
        }
        while let Some(done) = under_way.next().await {
            done?;
        }
        tokio::time::sleep_until(end).await;
        Ok(())
    }

    async fn strike(&self, what: Wrong, end: Instant) -> Result<()> {
        let shop = self.shop;
        match what {
            Wrong::Kill { role, replica } => shop.fleet.kill(role, replica)?,
            Wrong::Freeze {
                role,
                replica,
                duration,
            } => {
                if shop.fleet.freeze(role, replica)?.is_some() {
                    self.count(|struck| struck.frozen += 1);
                    tokio::time::sleep(duration).await;
                    shop.fleet.thaw()?;
                }
            }
            Wrong::Redis(death) => {
                let safe_in = shop.database.safe_in();
                if !safe_in.is_zero() {
                    self.count(|struck| struck.put_off += 1);
                    if Instant::now() + safe_in > end {
                        return Ok(());
                    }
                    tokio::time::sleep(safe_in).await;
                }
                shop.database.die(death, self.growth).await?;
            }
            Wrong::SlowDisk { delay, duration } => self.slow_disk(delay, duration).await?,
            Wrong::Network { weather, duration } => {
                self.count(|struck| *struck.weather.entry(name(weather)).or_default() += 1);
                shop.proxy.set(weather);
                tokio::time::sleep(duration).await;
                shop.proxy.set(Weather::Clear);
            }
        }
        Ok(())
    }

    async fn slow_disk(&self, delay: Duration, duration: Duration) -> Result<()> {
        match self
            .shop
            .database
            .slow_disk(delay, &self.folder.join("strace.log"))
            .await?
        {
            Ok(slow) => {
                self.count(|struck| struck.slow_disk += 1);
                tokio::time::sleep(duration).await;
                // It waits for the tracer to let go.
                tokio::task::spawn_blocking(move || drop(slow)).await?;
                self.shop.database.note_disk_recovered(delay);
            }
            Err(reason) => self.count(|struck| struck.slow_disk_not_tried = Some(reason)),
        }
        Ok(())
    }

    fn count(&self, change: impl FnOnce(&mut Struck)) {
        change(&mut locked(&self.struck));
    }
}

fn name(weather: Weather) -> &'static str {
    match weather {
        Weather::Clear => "clear",
        Weather::Delaying { .. } => "delaying",
        Weather::Halving => "halving",
        Weather::Resetting => "resetting",
        Weather::Silent => "silent",
    }
}
