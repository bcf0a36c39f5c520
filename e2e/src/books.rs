//! A shop's books compared from outside, as `cargo xtask verify` does it: as the user `verify`, through a forward.

use anyhow::{Result, ensure};
use shopwright_verify::{Books, Expected, Options, Report, verify};

use crate::shop::Shop;
use crate::wait;

/// Waits until every book agrees with every other and with what is known to have been accepted, and nothing is left to do.
pub async fn settled(shop: &Shop, expected: &Expected) -> Result<Report> {
    let options = &Options {
        settled: true,
        expected: Some(expected.clone()),
        ..Options::default()
    };
    wait::until("the books to agree", wait::LONG, || async move {
        // A new connection each time: Redis may have been restarted.
        let link = shop.redis("verify").await?;
        let report = verify(&mut Books::new(shop.keys(), link.connection()), options).await?;
        // Not clean either when something could not be judged.
        ensure!(
            report.is_clean(),
            "they do not, or not all of them could be judged:\n{report}"
        );
        Ok(report)
    })
    .await
}
