//! What there is: the ids of everything, by one walk over each Redis. What is there from the walk's beginning to its end is
//! found; what comes meanwhile may be.

use std::collections::BTreeSet;
use std::str::FromStr;

use shopwright_domain::ids::{OrderId, ProductId};

use crate::connection::{Books, Place, VerifyError};

/// Keys asked for with one call, so that none is slow.
const PAGE: usize = 1_000;

/// Ids found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Of orders, reservations and charges alike: what one party knows, all are asked about.
    pub(crate) orders: BTreeSet<OrderId>,
    /// Of orders alone.
    pub(crate) stored_orders: BTreeSet<OrderId>,
    /// Members of the set of due times.
    pub(crate) due: BTreeSet<String>,
    pub(crate) products: BTreeSet<ProductId>,
}

pub(crate) async fn everything(books: &mut Books) -> Result<Found, VerifyError> {
    let mut found = Found::default();
    let keys = books.keys.clone();
    let order_prefix = keys.order_prefix();
    let stock_prefix = keys.stock_prefix();
    let reservation_prefix = keys.inventory_prefix() + "reservation:";
    let charge_prefix = keys.provider_prefix() + "charge:";
    let take = |key: &str, found: &mut Found| {
        if let Some(id) = id_behind(key, &order_prefix) {
            found.orders.insert(id);
            found.stored_orders.insert(id);
        } else if let Some(id) = id_behind(key, &reservation_prefix).or_else(|| id_behind(key, &charge_prefix)) {
            found.orders.insert(id);
        } else if let Some(id) = id_behind(key, &stock_prefix) {
            found.products.insert(id);
        }
    };
    let places = if books.is_one() {
        &[Place::Shop][..]
    } else {
        &[Place::Shop, Place::Provider]
    };
    for place in places {
        let mut cursor = 0_u64;
        loop {
            let mut command = redis::cmd("SCAN");
            command
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("{{{}-*", keys.shop()))
                .arg("COUNT")
                .arg(PAGE);
            let (next, page): (u64, Vec<String>) = books.ask(*place, &command).await?;
            for key in &page {
                take(key, &mut found);
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    let due: Vec<String> = books
        .ask(Place::Shop, redis::cmd("ZRANGE").arg(keys.due()).arg(0).arg(-1))
        .await?;
    found.due = due.into_iter().collect();
    found
        .orders
        .extend(found.due.iter().filter_map(|member| member.parse::<OrderId>().ok()));
    Ok(found)
}

fn id_behind<T: FromStr>(key: &str, prefix: &str) -> Option<T> {
    key.strip_prefix(prefix)?.parse().ok()
}
