//! What the shop's own checker says of a shop that has settled. Reads both Redis as the user `verify`.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use shopwright_domain::access::User;
use shopwright_domain::ids::OrderId;
use shopwright_load::journal::{Fact, Record};
use shopwright_verify::{Books, Expected, ExpectedOrder, Finding, Invariant, Options, Report, verify};

use crate::database::Died;
use crate::losses::{is_permitted, made_at};
use crate::shop::Shop;

/// For one answer: a script may read many documents.
const PATIENCE: Duration = Duration::from_secs(30);

/// What it found.
#[derive(Clone, Debug)]
pub struct Verified {
    /// All of it.
    pub report: Report,
    /// Findings that a second which may be lost explains.
    pub permitted: usize,
    /// The others, one line each.
    pub violations: Vec<String>,
}

/// Checks everything. `deaths` are those that permit losses.
pub async fn check(shop: &Shop, journal: &[Record], deaths: &[Died]) -> Result<Verified> {
    let provider = SocketAddr::new(shop.provider.host().parse()?, shop.provider.port());
    let mut books = Books::new(shop.keys.clone(), connect(shop, shop.database.address()).await?)
        .with_provider(connect(shop, provider).await?);
    let options = Options {
        settled: true,
        patience: Duration::ZERO,
        expected: Some(expected(journal)),
    };
    let report = verify(&mut books, &options).await?;
    let (permitted, violations): (Vec<&Finding>, Vec<&Finding>) =
        report.findings.iter().partition(|finding| is_explained(finding, journal, deaths));
    Ok(Verified {
        permitted: permitted.len(),
        violations: violations.iter().map(ToString::to_string).collect(),
        report,
    })
}

async fn connect(shop: &Shop, address: SocketAddr) -> Result<MultiplexedConnection> {
    let (user, password) = (User::Verify.name(), shop.passwords.of(User::Verify));
    let configuration = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    Ok(redis::Client::open(format!("redis://{user}:{password}@{address}/"))?
        .get_multiplexed_async_connection_with_config(&configuration)
        .await?)
}

fn expected(journal: &[Record]) -> Expected {
    let mut orders: BTreeMap<OrderId, ExpectedOrder> = BTreeMap::new();
    let mut unknown = 0;
    for record in journal {
        match &record.fact {
            Fact::OrderAccepted { id, lines, .. } => {
                orders.entry(*id).or_insert_with(|| ExpectedOrder {
                    id: *id,
                    lines: lines.iter().map(|line| (line.product_id, line.quantity)).collect(),
                    cancelled: false,
                    refunds: Vec::new(),
                });
            }
            Fact::OrderUnknown { .. } => unknown += 1,
            // Both come after their order's acceptance.
            Fact::CancelAccepted { id } => {
                if let Some(order) = orders.get_mut(id) {
                    order.cancelled = true;
                }
            }
            Fact::RefundAccepted { id, order_id, .. } => {
                if let Some(order) = orders.get_mut(order_id)
                    && !order.refunds.contains(id)
                {
                    order.refunds.push(*id);
                }
            }
        }
    }
    Expected {
        orders: orders.into_values().collect(),
        unknown,
        complete: true,
    }
}

/// Something about this order was written in a second that may be lost, and the finding is what such a loss looks like:
/// something accepted is gone, or the provider's book, which has lost nothing, knows more than the order.
fn is_explained(finding: &Finding, journal: &[Record], deaths: &[Died]) -> bool {
    let (Some(order), Invariant::Loss | Invariant::Provider) = (finding.order, finding.invariant) else {
        return false;
    };
    let made = made_at(order);
    is_permitted(deaths, made, made)
        || journal.iter().any(|record| {
            let known = u64::try_from(record.at).unwrap_or_default();
            match &record.fact {
                Fact::OrderAccepted { id, .. } => *id == order && is_permitted(deaths, made, known),
                // Known as soon as it was written, or somewhat later.
                Fact::CancelAccepted { id } | Fact::RefundAccepted { order_id: id, .. } => {
                    *id == order && is_permitted(deaths, known, known)
                }
                Fact::OrderUnknown { .. } => false,
            }
        })
}

impl Display for Verified {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.report)?;
        if self.permitted > 0 {
            writeln!(out, "of these, {} lie in a second that may be lost", self.permitted)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RedisDeath;

    fn finding(order: OrderId, invariant: Invariant) -> Finding {
        Finding {
            invariant,
            order: Some(order),
            product: None,
            detail: String::new(),
        }
    }

    fn cancelled(order: OrderId, at: i64) -> Record {
        Record {
            at,
            fact: Fact::CancelAccepted { id: order },
        }
    }

    #[test]
    fn only_losses_of_what_was_written_just_before_a_death_are_explained() {
        let died = [Died {
            death: RedisDeath::Killed,
            from: 10_000,
            until: 10_001,
            loading: Duration::ZERO,
            cut: 0,
            fsync_delay: Duration::ZERO,
        }];
        let (old, new) = (OrderId::from_parts(1_000, [1; 10]), OrderId::from_parts(9_000, [2; 10]));
        assert!(is_explained(&finding(new, Invariant::Loss), &[], &died));
        assert!(!is_explained(&finding(old, Invariant::Loss), &[], &died));
        assert!(is_explained(&finding(old, Invariant::Provider), &[cancelled(old, 9_500)], &died));
        assert!(!is_explained(&finding(old, Invariant::Provider), &[cancelled(old, 5_000)], &died));
        assert!(!is_explained(&finding(new, Invariant::Money), &[], &died));
        assert!(!is_explained(&finding(new, Invariant::Loss), &[], &[]));
    }

    #[test]
    fn what_is_expected_is_what_was_accepted_told_once() {
        let order = OrderId::from_parts(1_000, [1; 10]);
        let accepted = Record {
            at: 1_000,
            fact: Fact::OrderAccepted {
                id: order,
                token: String::new(),
                key: uuid::Uuid::nil(),
                lines: Vec::new(),
            },
        };
        let expected = expected(&[accepted.clone(), accepted, cancelled(order, 2_000)]);
        assert_eq!((expected.orders.len(), expected.unknown), (1, 0));
        assert!(expected.orders[0].cancelled && expected.complete);
    }
}
