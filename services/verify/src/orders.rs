//! Looks at every order, and twice at those that seem wrong.

use std::collections::BTreeSet;

use shopwright_domain::ids::OrderId;

use crate::books::{Document, OrderBooks};
use crate::connection::{Books, Place, VerifyError};
use crate::report::{Finding, Invariant, Report};
use crate::reservations::Reservations;
use crate::rules::{Fault, Judgement, faults};
use crate::scan::Found;
use crate::{Options, look};

/// Orders read with one round trip.
const PAGE: usize = 100;
/// Tries to see at one moment an order that changes while it is looked at.
const LOOKS: u32 = 3;

pub(crate) async fn check(
    books: &mut Books,
    found: &Found,
    options: &Options,
    reservations: &mut Reservations,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let ids: Vec<OrderId> = found.orders.iter().copied().collect();
    for page in ids.chunks(PAGE) {
        let judgement = judgement(books, options).await?;
        let mut suspects = Vec::new();
        for seen in look::first(books, page).await? {
            if let Document::Present(order) = &seen.order {
                report.orders += 1;
                *report.states.entry(order.state.as_str()).or_default() += 1;
            }
            reservations.note(seen.id, seen.reservation.present().cloned());
            options.allow(reservations.lines())?;
            if !faults(&seen, judgement).is_empty() {
                suspects.push(seen);
            }
        }
        for suspect in suspects {
            confirm(books, suspect, options, report).await?;
        }
    }
    for member in found.due.iter().filter(|member| member.parse::<OrderId>().is_err()) {
        report.add(
            Invariant::Documents,
            format!("a due time of '{}', which is no order", printable(member)),
        );
    }
    Ok(())
}

/// Only what a second look shows counts: it sees one moment. It may show another fault than the first look did.
async fn confirm(
    books: &mut Books,
    suspect: OrderBooks,
    options: &Options,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut before = suspect;
    for _ in 0..LOOKS {
        let judgement = judgement(books, options).await?;
        if let Some(seen) = look::second(books, &before).await? {
            let confirmed = faults(&seen, judgement);
            if confirmed.is_empty() {
                report.passing += 1;
            }
            report
                .findings
                .extend(confirmed.into_iter().map(|fault| finding(seen.id, fault)));
            return Ok(());
        }
        let again = look::first(books, &[before.id]).await?;
        before = again.into_iter().next().ok_or(VerifyError::Answer("one order"))?;
    }
    let suspected = faults(&before, judgement(books, options).await?);
    if suspected.is_empty() {
        // As good as any order that was looked at once.
        report.passing += 1;
    }
    let invariants: BTreeSet<Invariant> = suspected.into_iter().map(|(invariant, _)| invariant).collect();
    for invariant in invariants {
        report.leave_undecided(invariant, 1);
    }
    Ok(())
}

fn finding(id: OrderId, (invariant, detail): Fault) -> Finding {
    Finding {
        invariant,
        order: Some(id),
        product: None,
        detail,
    }
}

async fn judgement(books: &mut Books, options: &Options) -> Result<Judgement, VerifyError> {
    let (seconds, microseconds): (i64, i64) = books.ask(Place::Shop, &redis::cmd("TIME")).await?;
    Ok(Judgement {
        now: seconds * 1_000 + microseconds / 1_000,
        patience: i64::try_from(options.patience.as_millis()).unwrap_or(i64::MAX),
        settled: options.settled,
    })
}

/// What stands in Redis may be anything: no control characters on a terminal, and not too much.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(64)
        .collect()
}
