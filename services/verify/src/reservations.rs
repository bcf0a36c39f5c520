//! What was seen of every reservation, and what they come to. Pure.

use std::collections::BTreeMap;

use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::reservation::Reservation;

use crate::books::ReservationBook;

/// What all reservations together hold and have sold of a product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) held: i64,
    pub(crate) sold: i64,
}

/// All reservations, each as it was last read.
#[derive(Debug)]
pub(crate) struct Reservations {
    seen: BTreeMap<OrderId, ReservationBook>,
    sums: BTreeMap<ProductId, Sums>,
    lines: usize,
    /// Of inventory's events: whatever is told of up to this entry was seen; what was not seen is behind it.
    pub(crate) since: String,
}

impl Reservations {
    /// None, before any was read.
    pub(crate) fn since(since: String) -> Self {
        Self {
            seen: BTreeMap::new(),
            sums: BTreeMap::new(),
            lines: 0,
            since,
        }
    }

    /// An order's reservation as it is now, or that it has none; in the place of what was seen before.
    pub(crate) fn note(&mut self, order: OrderId, now: Option<ReservationBook>) {
        let before = match now {
            Some(now) => {
                self.lines += now.lines.len();
                self.count(&now, 1);
                self.seen.insert(order, now)
            }
            None => self.seen.remove(&order),
        };
        if let Some(before) = before {
            self.lines -= before.lines.len();
            self.count(&before, -1);
        }
    }

    /// What they come to of a product.
    pub(crate) fn sums(&self, product: ProductId) -> Sums {
        self.sums.get(&product).copied().unwrap_or_default()
    }

    /// How many lines are held in memory.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    fn count(&mut self, book: &ReservationBook, sign: i64) {
        for line in &book.lines {
            let sum = self.sums.entry(line.product_id).or_default();
            match book.state {
                Reservation::Reserved => sum.held += sign * i64::from(line.quantity),
                Reservation::Committed => sum.sold += sign * i64::from(line.quantity),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_seen_last_counts_and_nothing_before() {
        let (order, product) = (OrderId::generate(), ProductId::generate());
        let book = |state: &str| {
            let line = json!({"product_id": product, "quantity": 2, "unit_price": 100});
            serde_json::from_value::<ReservationBook>(json!({"state": state, "lines": [line]})).unwrap()
        };
        let mut all = Reservations::since("0-0".into());
        let mut after = |order, now| {
            all.note(order, now);
            (all.sums(product).held, all.sums(product).sold, all.lines())
        };
        assert_eq!(after(OrderId::generate(), Some(book("committed"))), (0, 2, 1));
        assert_eq!(after(order, Some(book("reserved"))), (2, 2, 2));
        assert_eq!(after(order, Some(book("committed"))), (0, 4, 2));
        assert_eq!(after(order, Some(book("released"))), (0, 2, 2));
        assert_eq!(after(order, None), (0, 2, 1));
        assert_eq!(after(order, None), (0, 2, 1));
    }
}
