//! All books of a shop, each compared with what it must say. Reads both Redis.

use anyhow::Result;
use shopwright_load::journal::Record;

use crate::database::Died;
use crate::orders::{self, Fates};
use crate::shop::Shop;
use crate::stock_book::{Compared, StockBook};
use crate::verified::{self, Verified};

/// How they compare.
#[derive(Clone, Debug)]
pub struct Books {
    /// What has become of orders, by the clients' journal.
    pub fates: Fates,
    /// How stock compares with the staff's own book.
    pub stock: Compared,
    /// What `verify` found.
    pub verified: Verified,
}

impl Books {
    /// Reads and compares everything. `deaths` are those that permit losses.
    pub async fn compare(shop: &Shop, journal: &[Record], stock: &StockBook, deaths: &[Died]) -> Result<Self> {
        let fates = orders::fates(shop, journal, deaths).await?;
        Ok(Self {
            stock: stock.compare(shop, deaths).await?,
            verified: verified::check(shop, journal, &fates.changed, deaths).await?,
            fates,
        })
    }

    /// Everything that must not be, one line each.
    pub fn violations(&self) -> impl Iterator<Item = String> {
        let stock = self.stock.differing.iter().map(|line| format!("stock: {line}"));
        let verified = self.verified.violations.iter().cloned();
        self.fates.violations().chain(stock).chain(verified)
    }
}
