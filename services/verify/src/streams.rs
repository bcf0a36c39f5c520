//! Looks at the streams: what is left to do, what was given up, and what must have been told once only.

use std::collections::{BTreeMap, HashMap};

use redis::Value;
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS, ShopKeys};

use crate::Options;
use crate::connection::{Books, Place, VerifyError};
use crate::events;
use crate::report::{Invariant, Report};

/// What is told by the step that makes it so, and by no repetition: more than one of an order is a double effect.
const TOLD_ONCE: [&str; 4] = ["order.placed", "order.completed", "order.rejected", "order.refunded"];

pub(crate) async fn check(books: &mut Books, options: &Options, report: &mut Report) -> Result<(), VerifyError> {
    let keys = books.keys.clone();
    for (stream, group) in [
        (keys.payments_events(), GROUP_INVENTORY),
        (keys.inventory_events(), GROUP_PAYMENTS),
        (keys.payments_jobs(), GROUP_PAYMENTS),
    ] {
        let dead: u64 = books
            .ask(
                Place::Shop,
                redis::cmd("XLEN").arg(ShopKeys::dead_letters(&stream, group)),
            )
            .await?;
        report.dead_letters += dead;
        if options.settled {
            if dead > 0 {
                report.add(Invariant::Loss, format!("{dead} dead letters of {group} at {stream}"));
            }
            nothing_left(books, &stream, group, report).await?;
        }
    }
    told_once(books, options, &keys, report).await
}

async fn nothing_left(books: &mut Books, stream: &str, group: &str, report: &mut Report) -> Result<(), VerifyError> {
    let exists: u8 = books.ask(Place::Shop, redis::cmd("EXISTS").arg(stream)).await?;
    if exists == 0 {
        report.add(Invariant::Loss, format!("the stream {stream} is not there"));
        return Ok(());
    }
    let newest = events::newest(books, stream).await?;
    let groups: Vec<HashMap<String, Value>> = books
        .ask(Place::Shop, redis::cmd("XINFO").arg("GROUPS").arg(stream))
        .await?;
    let text = |map: &HashMap<String, Value>, name: &str| {
        map.get(name)
            .and_then(|value| redis::from_redis_value_ref::<String>(value).ok())
    };
    let Some(found) = groups.iter().find(|map| text(map, "name").as_deref() == Some(group)) else {
        report.add(Invariant::Loss, format!("{stream} has no group {group}"));
        return Ok(());
    };
    let pending = text(found, "pending").unwrap_or_default();
    if pending != "0" {
        report.add(
            Invariant::Loss,
            format!("{pending} entries of {stream} are pending at {group}"),
        );
    }
    if let Some(newest) = newest
        && text(found, "last-delivered-id").is_none_or(|last| last != newest)
    {
        report.add(
            Invariant::Loss,
            format!("{stream} has entries that {group} was never given"),
        );
    }
    Ok(())
}

async fn told_once(
    books: &mut Books,
    options: &Options,
    keys: &ShopKeys,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut told = BTreeMap::<(String, String), u32>::new();
    let mut behind = events::START.to_owned();
    loop {
        let page = events::page(books, &keys.payments_events(), &behind, "+").await?;
        for event in &page {
            if let (Some(kind), Some(subject)) = (event.text("type"), event.text("subject"))
                && TOLD_ONCE.contains(&kind.as_str())
            {
                *told.entry((subject, kind)).or_default() += 1;
            }
        }
        options.allow(told.len())?;
        let is_last = page.len() < events::PAGE;
        match page.into_iter().next_back() {
            Some(last) if !is_last => behind = last.id,
            _ => break,
        }
    }
    for ((subject, kind), count) in told.into_iter().filter(|(_, count)| *count > 1) {
        report.findings.push(crate::Finding {
            invariant: Invariant::DoubleEffect,
            order: subject.parse().ok(),
            product: None,
            detail: format!("{kind} was told {count} times"),
        });
    }
    Ok(())
}
