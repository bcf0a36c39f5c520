//! Reservations of stock, as a pure function. Inventory's scripts decide on the server, for many buyers at once; a
//! differential test holds them equal to this.

use serde::{Deserialize, Serialize};

use crate::events::RejectionReason;
use crate::ids::ProductId;
use crate::lines::{Line, PricedLine};
use crate::money::{Amount, Currency};

/// What inventory knows of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reservation {
    /// No document.
    None,
    /// Stock is held.
    Reserved,
    /// Stock is sold.
    Committed,
    /// Stock was held and went back.
    Released,
    /// Stock could not be held.
    Rejected,
    /// Called off before it was asked for: a late order.placed finds this and takes nothing.
    Tombstone,
}

impl Reservation {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Reserved,
        Self::Committed,
        Self::Released,
        Self::Rejected,
        Self::Tombstone,
    ];
}

/// What payments asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// order.placed: hold all lines or none; with what [`judge`] said.
    Reserve(Result<(), RejectionReason>),
    /// order.cancelled, order.declined: hold nothing any more.
    Release,
    /// order.paid: make it final.
    Commit,
}

/// The type of the event with which inventory answers. Its content is what the reservation's document recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// `stock.reserved`, with the recorded lines.
    Reserved,
    /// `stock.rejected`, with the recorded reason.
    Rejected,
    /// `stock.committed`
    Committed,
    /// `stock.commit_refused`
    CommitRefused,
    /// `stock.released`
    Released,
}

/// What becomes of the stock counters, for every line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StockMove {
    /// Nothing.
    None,
    /// available goes down, reserved up.
    Hold,
    /// reserved goes down, available up.
    GiveBack,
    /// reserved goes down, on hand goes down.
    Sell,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// The reservation afterwards.
    pub next: Reservation,
    /// What is answered. A repeated request repeats the recorded answer.
    pub answer: Answer,
    /// What the counters do.
    pub stock: StockMove,
    /// Somebody asked to release what is sold: never a transition, always an alarm.
    pub alarm: bool,
}

/// What is asked for, without what [`judge`] had to say in detail: a column of [`STEPS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Reserve, and all lines can be.
    Reserve,
    /// Reserve, and a line cannot be.
    ReserveImpossible,
    /// Hold nothing any more.
    Release,
    /// Make it final.
    Commit,
}

impl Asked {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Reserve, Self::ReserveImpossible, Self::Release, Self::Commit];
}

impl From<&Request> for Asked {
    fn from(request: &Request) -> Self {
        match request {
            Request::Reserve(Ok(())) => Self::Reserve,
            Request::Reserve(Err(_)) => Self::ReserveImpossible,
            Request::Release => Self::Release,
            Request::Commit => Self::Commit,
        }
    }
}

const fn stay(reservation: Reservation, answer: Answer) -> Step {
    go(reservation, answer, StockMove::None)
}

const fn go(next: Reservation, answer: Answer, stock: StockMove) -> Step {
    Step {
        next,
        answer,
        stock,
        alarm: false,
    }
}

/// The rules, as data: a row for each reservation in the order of [`Reservation::ALL`], a column for each of
/// [`Asked::ALL`]. A repeated request repeats the recorded answer.
pub const STEPS: [[Step; 4]; 6] = {
    use Answer as A;
    use Reservation as R;
    use StockMove as M;
    [
        [
            go(R::Reserved, A::Reserved, M::Hold),
            go(R::Rejected, A::Rejected, M::None),
            go(R::Tombstone, A::Released, M::None),
            // Paid without a reservation, as after lost data: refuse, and see to it that a late order.placed takes nothing.
            go(R::Tombstone, A::CommitRefused, M::None),
        ],
        [
            stay(R::Reserved, A::Reserved),
            stay(R::Reserved, A::Reserved),
            go(R::Released, A::Released, M::GiveBack),
            go(R::Committed, A::Committed, M::Sell),
        ],
        [
            stay(R::Committed, A::Committed),
            stay(R::Committed, A::Committed),
            Step {
                alarm: true,
                ..stay(R::Committed, A::Committed)
            },
            stay(R::Committed, A::Committed),
        ],
        [
            stay(R::Released, A::Released),
            stay(R::Released, A::Released),
            stay(R::Released, A::Released),
            stay(R::Released, A::CommitRefused),
        ],
        [
            stay(R::Rejected, A::Rejected),
            stay(R::Rejected, A::Rejected),
            stay(R::Rejected, A::Rejected),
            stay(R::Rejected, A::CommitRefused),
        ],
        [
            stay(R::Tombstone, A::Released),
            stay(R::Tombstone, A::Released),
            stay(R::Tombstone, A::Released),
            stay(R::Tombstone, A::CommitRefused),
        ],
    ]
};

/// One request met by one reservation.
pub fn step(reservation: Reservation, request: &Request) -> Step {
    STEPS[reservation as usize][Asked::from(request) as usize]
}

/// What inventory knows of a product when it is asked to reserve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// For one piece.
    pub unit_price: Amount,
    /// In which currency.
    pub currency: Currency,
    /// No longer sold.
    pub archived: bool,
    /// Pieces that are neither sold nor reserved.
    pub available: i64,
}

/// Can all lines be reserved, and at which prices? The first line that cannot decides; within a line the order of checks
/// is: unknown, archived, currency, price, stock.
pub fn judge(
    currency: Currency,
    lines: &[Line],
    offer: impl Fn(ProductId) -> Option<Offer>,
) -> Result<Vec<PricedLine>, (RejectionReason, ProductId)> {
    lines
        .iter()
        .map(|line| {
            let refuse = |reason| (reason, line.product_id);
            let offer = offer(line.product_id).ok_or_else(|| refuse(RejectionReason::UnknownProduct))?;
            if offer.archived {
                return Err(refuse(RejectionReason::Archived));
            }
            if offer.currency != currency {
                return Err(refuse(RejectionReason::CurrencyMismatch));
            }
            if line
                .expected_unit_price
                .is_some_and(|expected| expected != offer.unit_price)
            {
                return Err(refuse(RejectionReason::PriceChanged));
            }
            if offer.available < i64::from(line.quantity) {
                return Err(refuse(RejectionReason::InsufficientStock));
            }
            Ok(PricedLine {
                product_id: line.product_id,
                quantity: line.quantity,
                unit_price: offer.unit_price,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requests() -> [Request; 4] {
        [
            Request::Reserve(Ok(())),
            Request::Reserve(Err(RejectionReason::InsufficientStock)),
            Request::Release,
            Request::Commit,
        ]
    }

    #[test]
    fn rows_and_columns_are_in_the_order_of_their_names() {
        for (index, reservation) in Reservation::ALL.into_iter().enumerate() {
            assert_eq!(reservation as usize, index);
        }
        for (index, asked) in Asked::ALL.into_iter().enumerate() {
            assert_eq!(asked as usize, index);
        }
    }

    #[test]
    fn a_repeated_request_changes_nothing_and_repeats_the_answer() {
        for reservation in Reservation::ALL {
            for request in requests() {
                let first = step(reservation, &request);
                let again = step(first.next, &request);
                assert_eq!(
                    (again.next, again.answer, again.stock),
                    (first.next, first.answer, StockMove::None)
                );
            }
        }
    }

    #[test]
    fn only_releasing_the_sold_is_an_alarm() {
        for reservation in Reservation::ALL {
            for request in requests() {
                let alarm = step(reservation, &request).alarm;
                assert_eq!(
                    alarm,
                    reservation == Reservation::Committed && request == Request::Release
                );
            }
        }
    }

    #[test]
    fn judging_names_the_first_line_that_cannot() {
        let (eur, usd) = ("EUR".parse().unwrap(), "USD".parse().unwrap());
        let price = Amount::new(500).unwrap();
        let product_id = ProductId::from_parts(1, [1; 10]);
        let line = Line {
            product_id,
            quantity: 2,
            expected_unit_price: Some(price),
        };
        let good = Offer {
            unit_price: price,
            currency: eur,
            archived: false,
            available: 2,
        };
        let verdict = |offer| judge(eur, &[line], |_| offer).map_err(|(reason, _)| reason);
        assert_eq!(
            verdict(Some(good)),
            Ok(vec![PricedLine {
                product_id,
                quantity: 2,
                unit_price: price
            }])
        );
        assert_eq!(verdict(None), Err(RejectionReason::UnknownProduct));
        assert_eq!(
            verdict(Some(Offer {
                archived: true,
                available: 0,
                ..good
            })),
            Err(RejectionReason::Archived)
        );
        assert_eq!(
            verdict(Some(Offer { currency: usd, ..good })),
            Err(RejectionReason::CurrencyMismatch)
        );
        assert_eq!(
            verdict(Some(Offer {
                unit_price: Amount::ZERO,
                ..good
            })),
            Err(RejectionReason::PriceChanged)
        );
        assert_eq!(
            verdict(Some(Offer { available: 1, ..good })),
            Err(RejectionReason::InsufficientStock)
        );
    }

    proptest! {
        /// However requests come, the stock of one order is held at most once and leaves at most once.
        #[test]
        fn stock_moves_once(history in prop::collection::vec(0usize..4, 0..40)) {
            let (mut held, mut sold, mut reservation) = (0i32, 0i32, Reservation::None);
            for index in history {
                let step = step(reservation, &requests()[index]);
                match step.stock {
                    StockMove::None => {}
                    StockMove::Hold => held += 1,
                    StockMove::GiveBack => held -= 1,
                    StockMove::Sell => { held -= 1; sold += 1; }
                }
                reservation = step.next;
                prop_assert!((0..=1).contains(&held) && (0..=1).contains(&sold));
                prop_assert_eq!(held == 1, reservation == Reservation::Reserved);
                prop_assert_eq!(sold == 1, reservation == Reservation::Committed);
            }
        }
    }
}
