//! What the shop is known to have accepted, as whoever sent the requests wrote it down.

use shopwright_domain::ids::{OrderId, ProductId, RefundId};
use shopwright_domain::money::Money;
use shopwright_domain::order::{Refund, State};

use crate::books::{Document, OrderBooks};
use crate::connection::{Books, VerifyError};
use crate::look;
use crate::report::{Finding, Invariant, Report};
use crate::rules::Fault;
use crate::scan::Found;

/// Orders read with one round trip.
const PAGE: usize = 100;

/// An order that was answered 202.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedOrder {
    /// Which.
    pub id: OrderId,
    /// Products and how many of each, in the order of the request.
    pub lines: Vec<(ProductId, u32)>,
    /// Its cancellation was accepted.
    pub cancelled: bool,
    /// Refunds of it that were accepted.
    pub refunds: Vec<ExpectedRefund>,
}

/// A refund that was answered 202.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedRefund {
    /// Which.
    pub id: RefundId,
    /// How much.
    pub amount: Money,
}

/// Everything that was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Orders.
    pub orders: Vec<ExpectedOrder>,
    /// Requests whose outcome was never told: each may have made one order.
    pub unknown: u64,
    /// Nobody else placed orders, so that there may be no others.
    pub complete: bool,
}

impl Expected {
    pub(crate) async fn check(&self, books: &mut Books, found: &Found, report: &mut Report) -> Result<(), VerifyError> {
        for page in self.orders.chunks(PAGE) {
            let ids: Vec<OrderId> = page.iter().map(|order| order.id).collect();
            for (expected, seen) in page.iter().zip(look::first(books, &ids).await?) {
                let faults = expected.faults(&seen).into_iter().map(|(invariant, detail)| Finding {
                    invariant,
                    order: Some(expected.id),
                    product: None,
                    detail,
                });
                report.findings.extend(faults);
            }
        }
        let accepted: std::collections::BTreeSet<_> = self.orders.iter().map(|order| order.id).collect();
        if accepted.len() != self.orders.len() {
            report.add(Invariant::DoubleEffect, "two requests were told the same order");
        }
        let others = found.stored_orders.difference(&accepted).count() as u64;
        if self.complete && others > self.unknown {
            let detail = format!(
                "{others} orders that nobody was told of, and {} open requests",
                self.unknown
            );
            report.add(Invariant::DoubleEffect, detail);
        }
        Ok(())
    }
}

impl ExpectedOrder {
    fn faults(&self, seen: &OrderBooks) -> Vec<Fault> {
        let Document::Present(order) = &seen.order else {
            return vec![(Invariant::Loss, "accepted, and not there".to_owned())];
        };
        let mut faults = Vec::new();
        let mut lines: Vec<_> = order
            .lines
            .iter()
            .map(|line| (line.product_id, line.quantity))
            .collect();
        let mut wanted = self.lines.clone();
        lines.sort_unstable();
        wanted.sort_unstable();
        if lines != wanted {
            let detail = "its lines are not those that were accepted";
            faults.push((Invariant::Loss, detail.to_owned()));
        }
        let unfinished = !order.state.is_terminal();
        let called_off = unfinished || matches!(order.state, State::Cancelled | State::Declined | State::Refunded);
        if self.cancelled && !called_off {
            let detail = format!("its cancellation was accepted, and it is {}", order.state.as_str());
            faults.push((Invariant::Loss, detail));
        }
        for expected in &self.refunds {
            let mut documents = seen.refunds.iter().filter_map(|refund| refund.document.present());
            match documents.find(|refund: &&Refund| refund.id == expected.id) {
                None => faults.push((Invariant::Loss, "an accepted refund of it is not there".to_owned())),
                Some(refund)
                    if (refund.amount, refund.currency) != (expected.amount.amount, expected.amount.currency) =>
                {
                    let (accepted, stored) = (expected.amount.amount.minor_units(), refund.amount.minor_units());
                    let detail = format!(
                        "a refund of {accepted} {} was accepted, and it is {stored} {}",
                        expected.amount.currency, refund.currency
                    );
                    faults.push((Invariant::Money, detail));
                }
                Some(_) => {}
            }
        }
        faults
    }
}
