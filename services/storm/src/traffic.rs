//! Shoppers and staff for a shop in a storm: products, and the load on them. Talks HTTP to the one storefront.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use shopwright_domain::ids::ProductId;
use shopwright_load::mix::{Mix, Part};
use shopwright_load::products::{NewProducts, Products};
use shopwright_load::report::Report;
use shopwright_load::{AdminKey, Load, ShopUrl};
use tokio_util::sync::CancellationToken;

use crate::shop::{CURRENCY, Shop};

/// Of the hot product there is so much for each order that is to come: it sells out before the end.
const HOT_STOCK_SHARE: f64 = 0.4;
/// The others do not.
const STOCK: u32 = 1_000_000;
const COUNT: u32 = 20;
/// A gateway that gives up answers sooner; one that stands still does not answer at all.
const TIMEOUT: Duration = Duration::from_secs(5);
/// So few that some shoppers never have a definite reply.
const ATTEMPTS: u32 = 3;

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

/// Products of a shop that was just started, and what there is of each; with them the shop is open. About so many `orders`
/// will come.
pub async fn products(shop: &Shop, orders: f64) -> Result<(Products, Vec<(ProductId, i64)>)> {
    // A float out of range becomes the nearest number that is in range.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let hot_stock = (orders * HOT_STOCK_SHARE) as u32;
    let new = NewProducts {
        count: COUNT,
        hot_stock,
        stock: STOCK,
        currency: CURRENCY.parse()?,
    };
    let products = Products::create(&url(shop)?, &AdminKey::new(&shop.admin_key), new)
        .await
        .context("the shop did not open")?;
    let stocks = std::iter::once(hot_stock)
        .chain(std::iter::repeat(STOCK))
        .map(i64::from);
    let opening = products
        .as_slice()
        .iter()
        .map(|product| product.id)
        .zip(stocks)
        .collect();
    Ok((products, opening))
}

/// Arrivals at this rate, for so long; then what was accepted is followed for as long as `follow`.
pub fn load(shop: &Shop, products: Products, rate: f64, duration: Duration, seed: u64, journal: &Path) -> Result<Load> {
    Ok(Load {
        admin_key: Some(AdminKey::new(&shop.admin_key)),
        mix: mix()?,
        rate,
        duration,
        seed,
        journal: Some(journal.to_owned()),
        readers: 20,
        timeout: TIMEOUT,
        attempts: ATTEMPTS,
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
