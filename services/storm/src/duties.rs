//! What others do for a shop while it is in a storm: the operator, which makes its groups again, and a provider that is not at
//! its best. Touches the streams' groups in the main Redis, and the list of faults in the provider's.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS, ShopKeys};
use shopwright_streams::group::{StartFrom, ensure};
use shopwright_streams::{Client, Endpoint, Secret};
use tokio_util::sync::CancellationToken;

use crate::connection::patient;
use crate::database::Database;
use crate::shop::Shop;

/// How soon the operator notices a group that is gone.
const LOOK: Duration = Duration::from_millis(500);
/// The provider's list of faults takes in one so often, and the next call meets it.
const PROVIDER_FAULT: Duration = Duration::from_millis(700);
/// As the simulated provider calls them.
const FAULTS: [&str; 3] = ["effect_then_timeout", "stored_error", "busy"];

/// Every group that reads a stream of the shop.
pub(crate) fn groups(keys: &ShopKeys) -> [(String, &'static str); 3] {
    [
        (keys.payments_events(), GROUP_INVENTORY),
        (keys.inventory_events(), GROUP_PAYMENTS),
        (keys.payments_jobs(), GROUP_PAYMENTS),
    ]
}

/// With all rights, past the proxy.
pub(crate) fn client(database: &Database) -> Result<Client> {
    let (user, password) = database.harness()?;
    let address = database.address();
    let endpoint = Endpoint::new(address.ip().to_string(), address.port());
    Ok(Client::new(endpoint.with_user(user, Secret::new(password))))
}

/// Makes every group that is not there, at the beginning of its stream.
pub async fn ensure_groups(database: &Database, keys: &ShopKeys) -> Result<()> {
    let client = client(database)?;
    for (stream, group) in groups(keys) {
        ensure(&client.shared(), &stream, group, StartFrom::Beginning).await?;
    }
    Ok(())
}

/// Does so again and again, whatever becomes of Redis; returns only when it cannot even begin.
pub async fn keep_groups(shop: &Shop) -> Result<Infallible> {
    let client = client(&shop.database)?;
    loop {
        for (stream, group) in groups(&shop.keys) {
            // Redis is away: the next look may find it.
            let _ = ensure(&client.shared(), &stream, group, StartFrom::Beginning).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Has the provider answer badly now and then, until it is `over`; afterwards no fault is left.
pub async fn trouble_provider(shop: &Shop, seed: u64, over: &CancellationToken) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let faults = shop.keys.provider_faults();
    let mut provider = patient(&shop.provider.client()?).await?;
    while !over.is_cancelled() {
        let fault = FAULTS[random.random_range(0..FAULTS.len())];
        // Not one on top of another, or there would be only faults when the shop has been closed for a while.
        redis::cmd("DEL").arg(&faults).exec_async(&mut provider).await?;
        redis::cmd("RPUSH")
            .arg(&faults)
            .arg(fault)
            .exec_async(&mut provider)
            .await?;
        tokio::select! {
            () = tokio::time::sleep(PROVIDER_FAULT) => {}
            () = over.cancelled() => {}
        }
    }
    redis::cmd("DEL").arg(&faults).exec_async(&mut provider).await?;
    Ok(())
}
