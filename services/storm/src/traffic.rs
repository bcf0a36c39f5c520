//! Shoppers and staff for a shop in a storm: products, and the load on them. Talks HTTP to the one storefront.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use shopwright_load::mix::{Mix, Part};
use shopwright_load::products::{NewProducts, Products};
use shopwright_load::report::Report;
use shopwright_load::{AdminKey, Load, ShopUrl};
use tokio_util::sync::CancellationToken;

use crate::shop::{CURRENCY, Shop};

/// A flash sale that sells out, and a tail that does not.
const HOT_STOCK: u32 = 500;
const STOCK: u32 = 100_000;
const COUNT: u32 = 20;
/// A gateway that gives up answers sooner; one that stands still does not answer at all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that moves stock or money; nobody who only looks.
fn mix() -> Result<Mix> {
    Ok(Mix::new(&[
        (Part::LongTail, 4),
        (Part::FlashSale, 1),
        (Part::Refunds, 2),
        (Part::Cancels, 2),
        (Part::Twice, 2),
    ])?)
}

/// Products of a shop that was just started; with it the shop is open.
pub async fn products(shop: &Shop) -> Result<(Products, Vec<i64>)> {
    let new = NewProducts {
        count: COUNT,
        hot_stock: HOT_STOCK,
        stock: STOCK,
        currency: CURRENCY.parse()?,
    };
    let products = Products::create(&url(shop)?, &AdminKey::new(&shop.admin_key), new)
        .await
        .context("the shop did not open")?;
    let opening = (0..products.as_slice().len()).map(|number| i64::from(if number == 0 { HOT_STOCK } else { STOCK }));
    let opening = opening.collect();
    Ok((products, opening))
}

/// Arrivals at this rate, for so long; then what was accepted is followed for as long as `follow`.
pub fn load(
    shop: &Shop,
    products: Products,
    rate: f64,
    duration: Duration,
    seed: u64,
    journal: &Path,
) -> Result<Load> {
    Ok(Load {
        admin_key: Some(AdminKey::new(&shop.admin_key)),
        mix: mix()?,
        rate,
        duration,
        seed,
        journal: Some(journal.to_owned()),
        readers: 20,
        timeout: TIMEOUT,
        ..Load::new(url(shop)?, products)
    })
}

/// Runs it until it is done or dropped.
pub async fn run(load: Load) -> Result<Report> {
    Ok(load.run(CancellationToken::new()).await?)
}

fn url(shop: &Shop) -> Result<ShopUrl> {
    Ok(shop.url().parse()?)
}
