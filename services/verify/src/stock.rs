//! Compares every product's stock with all reservations. Reservations change while they are read; but each change writes an
//! event by the same script. So whatever the events since the beginning name is read again, until little is left; and one
//! script that reads the stock, the last events, and the reservations that they name, has both sides at one moment.

use std::collections::{BTreeSet, HashMap};

use redis::Value;
use shopwright_domain::ids::{OrderId, ProductId};

use crate::Options;
use crate::books::Document;
use crate::connection::{Books, Place, VerifyError};
use crate::events::{self, PAGE as MOST_CHANGES};
use crate::report::{Finding, Invariant, Report};
use crate::reservations::{Reservations, Sums};
use crate::scan::Found;

/// Products compared by one script.
const PAGE: usize = 200;
/// Tries to come so close to a busy shop that one script can read the rest. Each begins with less to catch up on.
const TRIES: u32 = 5;
/// What is not known of a product that could not be compared.
const JUDGED: [Invariant; 3] = [
    Invariant::StockBounds,
    Invariant::StockConservation,
    Invariant::StockReserved,
];

/// KEYS: events of inventory, then stocks. ARGV: id of the last entry that is known, what a reservation's key begins with,
/// how many entries are too many: it would hold up the shop. Answers {id of the last entry, changed: flat list of order and
/// document, stocks}, or nothing when too much changed.
const COMPARE: &str = r"#!lua flags=no-writes
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[3])
if #entries == tonumber(ARGV[3]) then return false end
local last, changed, seen = ARGV[1], {}, {}
for _, entry in ipairs(entries) do
  local fields = entry[2]
  last = entry[1]
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
return {last, changed, stocks}
";

/// The stock of each product, in the order in which they were asked for.
type Stocks = Vec<HashMap<String, i64>>;

/// Before anything is read: whatever changes from here on is in the stream behind this id.
pub(crate) async fn begin(books: &mut Books) -> Result<Reservations, VerifyError> {
    let events = books.keys.inventory_events();
    let newest = events::newest(books, &events).await?;
    Ok(Reservations::since(newest.unwrap_or_else(|| events::START.to_owned())))
}

pub(crate) async fn check(
    books: &mut Books,
    found: &Found,
    options: &Options,
    reservations: &mut Reservations,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let products: Vec<ProductId> = found.products.iter().copied().collect();
    report.products = products.len() as u64;
    for page in products.chunks(PAGE) {
        let Some(stocks) = stocks(books, page, options, reservations).await? else {
            for invariant in JUDGED {
                report.leave_undecided(invariant, page.len() as u64);
            }
            continue;
        };
        for (product, stock) in page.iter().zip(stocks) {
            judge(*product, &stock, reservations.sums(*product), report);
        }
    }
    Ok(())
}

/// The stocks, with all reservations as they were at that moment; or nothing, when they change faster than they can be read.
async fn stocks(
    books: &mut Books,
    products: &[ProductId],
    options: &Options,
    reservations: &mut Reservations,
) -> Result<Option<Stocks>, VerifyError> {
    for _ in 0..TRIES {
        catch_up(books, options, reservations).await?;
        if let Some(stocks) = compare(books, products, reservations).await? {
            options.allow(reservations.lines())?;
            return Ok(Some(stocks));
        }
    }
    Ok(None)
}

/// Reads again what the events name that are there by now. A reservation is read after its event, so that whatever changes
/// it later is behind what `since` becomes.
async fn catch_up(books: &mut Books, options: &Options, reservations: &mut Reservations) -> Result<(), VerifyError> {
    let keys = books.keys.clone();
    let stream = keys.inventory_events();
    let Some(newest) = events::newest(books, &stream).await? else {
        return Ok(());
    };
    loop {
        let page = events::page(books, &stream, &reservations.since, &newest).await?;
        let changed = page.iter().filter_map(|event| event.text("subject")?.parse().ok());
        let changed: Vec<OrderId> = changed.collect::<BTreeSet<_>>().into_iter().collect();
        let mut pipeline = redis::pipe();
        for order in &changed {
            pipeline.cmd("JSON.GET").arg(keys.reservation(*order));
        }
        let documents = books.ask_all(Place::Shop, &pipeline).await?;
        for (order, document) in changed.into_iter().zip(documents) {
            reservations.note(order, Document::read(document).into_present());
        }
        options.allow(reservations.lines())?;
        let is_last = page.len() < events::PAGE;
        if let Some(last) = page.into_iter().next_back() {
            reservations.since = last.id;
        }
        if is_last {
            return Ok(());
        }
    }
}

async fn compare(
    books: &mut Books,
    products: &[ProductId],
    reservations: &mut Reservations,
) -> Result<Option<Stocks>, VerifyError> {
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
        .arg(&reservations.since)
        .arg(keys.inventory_prefix() + "reservation:")
        .arg(MOST_CHANGES);
    let answer: Option<(String, Vec<Value>, Stocks)> = books.ask(Place::Shop, &command).await?;
    let Some((last, changed, stocks)) = answer else {
        return Ok(None);
    };
    let mut changed = changed.into_iter();
    while let (Some(order), Some(document)) = (changed.next(), changed.next()) {
        let order: String = redis::from_redis_value(order)?;
        if let Ok(order) = order.parse() {
            reservations.note(order, Document::read(document).into_present());
        }
    }
    reservations.since = last;
    Ok(Some(stocks))
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
