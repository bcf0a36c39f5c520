//! Compares every product's stock with all reservations. Reservations change while they are read; but each change writes an
//! event by the same script, so one script that reads the stock, the events since the beginning, and the reservations that
//! they name, has both sides at one moment.

use std::collections::{BTreeMap, HashMap};

use redis::Value;
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::reservation::Reservation;

use crate::books::{Document, ReservationBook};
use crate::connection::{Books, Place, VerifyError};
use crate::orders::Reservations;
use crate::report::{Finding, Invariant, Report};
use crate::scan::Found;

/// Products compared by one script.
const PAGE: usize = 200;
/// Changed reservations that one script may read; beyond, it would hold up the shop.
const MOST_CHANGES: usize = 5_000;

/// KEYS: events of inventory, then stocks. ARGV: id of the last entry before the comparison, what a reservation's key
/// begins with, most entries. Answers {changed: flat list of order and document, stocks}, or nothing when too much changed.
const COMPARE: &str = r"#!lua flags=no-writes
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[3])
if #entries == tonumber(ARGV[3]) then return false end
local changed, seen = {}, {}
for _, entry in ipairs(entries) do
  local fields = entry[2]
  for index = 1, #fields, 2 do
    local order = fields[index + 1]
    if fields[index] == 'subject' and not seen[order] then
      seen[order] = true
      local key = ARGV[2] .. order
      changed[#changed + 1] = order
      changed[#changed + 1] = redis.call('EXISTS', key) == 1 and redis.call('JSON.GET', key)
    end
  end
end
local stocks = {}
for index = 2, #KEYS do stocks[index - 1] = redis.call('HGETALL', KEYS[index]) end
return {changed, stocks}
";

/// What all reservations together hold and have sold of a product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    held: i64,
    sold: i64,
}

/// The newest entry of inventory's events; `0-0` when there is none.
pub(crate) async fn last_change(books: &mut Books) -> Result<String, VerifyError> {
    let key = books.keys.inventory_events();
    let newest: Vec<(String, Value)> = books
        .ask(
            Place::Shop,
            redis::cmd("XREVRANGE").arg(key).arg(&["+", "-", "COUNT", "1"]),
        )
        .await?;
    Ok(newest.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id))
}

pub(crate) async fn check(
    books: &mut Books,
    found: &Found,
    reservations: Reservations,
    since: &str,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let base = sums(reservations.values());
    let products: Vec<ProductId> = found.products.iter().copied().collect();
    report.products = products.len() as u64;
    for page in products.chunks(PAGE) {
        let Some((changed, stocks)) = compare(books, page, since).await? else {
            report.undecided += page.len() as u64;
            continue;
        };
        // The changed ones count as they are now, and not as they were when they were read.
        let before = sums(changed.keys().filter_map(|order| reservations.get(order)));
        let now = sums(changed.values().filter_map(Document::present));
        for (product, stock) in page.iter().zip(stocks) {
            let of = |sums: &BTreeMap<ProductId, Sums>| sums.get(product).copied().unwrap_or_default();
            let (base, before, now) = (of(&base), of(&before), of(&now));
            let sums = Sums {
                held: base.held - before.held + now.held,
                sold: base.sold - before.sold + now.sold,
            };
            judge(*product, &stock, sums, report);
        }
    }
    Ok(())
}

/// The stock of each product, in the order in which they were asked for.
type Stocks = Vec<HashMap<String, i64>>;
type Compared = (BTreeMap<OrderId, Document<ReservationBook>>, Stocks);

async fn compare(books: &mut Books, products: &[ProductId], since: &str) -> Result<Option<Compared>, VerifyError> {
    let keys = books.keys.clone();
    let mut command = redis::cmd("EVAL_RO");
    command
        .arg(COMPARE)
        .arg(products.len() + 1)
        .arg(keys.inventory_events());
    for product in products {
        command.arg(keys.stock(*product));
    }
    command
        .arg(since)
        .arg(keys.inventory_prefix() + "reservation:")
        .arg(MOST_CHANGES);
    let answer: Option<(Vec<Value>, Stocks)> = books.ask(Place::Shop, &command).await?;
    let Some((flat, stocks)) = answer else { return Ok(None) };
    let mut changed = BTreeMap::new();
    let mut flat = flat.into_iter();
    while let (Some(order), Some(document)) = (flat.next(), flat.next()) {
        let order: String = redis::from_redis_value(order)?;
        if let Ok(order) = order.parse() {
            changed.insert(order, Document::read(document));
        }
    }
    Ok(Some((changed, stocks)))
}

fn sums<'a>(reservations: impl Iterator<Item = &'a ReservationBook>) -> BTreeMap<ProductId, Sums> {
    let mut sums = BTreeMap::<ProductId, Sums>::new();
    for reservation in reservations {
        for line in &reservation.lines {
            let sum = sums.entry(line.product_id).or_default();
            match reservation.state {
                Reservation::Reserved => sum.held += i64::from(line.quantity),
                Reservation::Committed => sum.sold += i64::from(line.quantity),
                _ => {}
            }
        }
    }
    sums
}

fn judge(product: ProductId, stock: &HashMap<String, i64>, sums: Sums, report: &mut Report) {
    let mut wrong = |invariant, detail: String| {
        report.findings.push(Finding {
            invariant,
            order: None,
            product: Some(product),
            detail,
        });
    };
    let field = |name: &str| stock.get(name).copied();
    let (Some(on_hand), Some(reserved), Some(received)) = (field("on_hand"), field("reserved"), field("received"))
    else {
        return wrong(Invariant::Documents, "its stock is incomplete".into());
    };
    if on_hand < 0 || reserved < 0 || reserved > on_hand {
        wrong(
            Invariant::StockBounds,
            format!("{on_hand} on hand, {reserved} reserved"),
        );
    }
    if reserved != sums.held {
        let detail = format!("{reserved} reserved, but reservations hold {}", sums.held);
        wrong(Invariant::StockReserved, detail);
    }
    if received - sums.sold != on_hand {
        let detail = format!("{received} received, {} sold, {on_hand} on hand", sums.sold);
        wrong(Invariant::StockConservation, detail);
    }
}
