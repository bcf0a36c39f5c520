//! What the load generator wrote down, as what is expected. Pure.

use std::collections::BTreeMap;

use shopwright_domain::ids::OrderId;
use shopwright_load::journal::{Fact, Record};

use crate::expected::{Expected, ExpectedOrder, ExpectedRefund};

impl Expected {
    /// Everything that a journal says was accepted. `complete`: nobody else placed orders at this shop.
    pub fn of_journal(records: &[Record], complete: bool) -> Self {
        let mut orders = BTreeMap::<OrderId, ExpectedOrder>::new();
        let mut doubled = Vec::new();
        let mut unknown = 0;
        for record in records {
            match &record.fact {
                Fact::OrderAccepted { id, lines, .. } => {
                    let order = ExpectedOrder {
                        id: *id,
                        lines: lines.iter().map(|line| (line.product_id, line.quantity)).collect(),
                        cancelled: false,
                        refunds: Vec::new(),
                    };
                    // Kept twice, so that the comparison tells it.
                    doubled.extend(orders.insert(*id, order));
                }
                Fact::OrderUnknown { .. } => unknown += 1,
                Fact::CancelAccepted { id } => {
                    if let Some(order) = orders.get_mut(id) {
                        order.cancelled = true;
                    }
                }
                Fact::RefundAccepted { id, order_id, amount } => {
                    if let Some(order) = orders.get_mut(order_id) {
                        order.refunds.push(ExpectedRefund {
                            id: *id,
                            amount: *amount,
                        });
                    }
                }
            }
        }
        Self {
            orders: orders.into_values().chain(doubled).collect(),
            unknown,
            complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use shopwright_domain::ids::{ProductId, RefundId};
    use shopwright_load::journal::{Line, When};

    use super::*;

    #[test]
    fn facts_become_expectations() {
        let (id, product_id, refund) = (OrderId::generate(), ProductId::generate(), RefundId::generate());
        let lines = vec![Line {
            product_id,
            quantity: 2,
        }];
        let accepted = || Fact::OrderAccepted {
            id,
            token: String::new(),
            key: uuid::Uuid::nil(),
            lines: lines.clone(),
        };
        let amount = serde_json::from_str(r#"{"amount": 5, "currency": "EUR"}"#).unwrap();
        let facts = [
            accepted(),
            Fact::OrderUnknown {
                key: uuid::Uuid::nil(),
                lines: lines.clone(),
            },
            Fact::CancelAccepted { id },
            Fact::RefundAccepted {
                id: refund,
                order_id: id,
                amount,
            },
        ];
        let when = When {
            asked_at: 0,
            known_at: 1,
        };
        let mut records: Vec<_> = facts.into_iter().map(|fact| Record { when, fact }).collect();
        let order = ExpectedOrder {
            id,
            lines: vec![(product_id, 2)],
            cancelled: true,
            refunds: vec![ExpectedRefund { id: refund, amount }],
        };
        let expected = Expected::of_journal(&records, true);
        assert_eq!((expected.orders.as_slice(), expected.unknown), (&[order][..], 1));
        records.push(Record { when, fact: accepted() });
        assert_eq!(Expected::of_journal(&records, true).orders.len(), 2, "told, not hidden");
    }
}
