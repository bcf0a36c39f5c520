//! What has become of the orders of a journal. Reads their documents in the main Redis, as the harness.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::order::State;
use shopwright_load::journal::{Fact, Record};
use uuid::Uuid;

use crate::connection::patient;
use crate::database::Died;
use crate::documents;
use crate::losses::{between, is_permitted, made_at};
use crate::marks::Marks;
use crate::shop::Shop;

/// An accepted order that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub id: OrderId,
    /// When the shopper knew, in Unix milliseconds.
    pub known: u64,
    /// It lies in a second that the disk may lose.
    pub permitted: bool,
}

/// What has become of orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Accepted orders: a 202 was seen.
    pub accepted: usize,
    /// Orders whose placing never had a definite reply.
    pub unknown: usize,
    /// Orders that are there and of which no reply told.
    pub unseen: usize,
    /// Those that are there, by state.
    pub states: BTreeMap<String, usize>,
    /// When those that are there last changed, in Unix milliseconds.
    pub changed: BTreeMap<OrderId, u64>,
    /// Those that have not ended.
    pub stuck: Vec<(OrderId, String)>,
    /// Accepted, and not there.
    pub lost: Vec<Lost>,
    /// Those that are there, and not what is remembered of the request of any shopper.
    pub orders_of_nobody: Vec<OrderId>,
    /// Refunds that are there, and not what is remembered of any request.
    pub refunds_of_nobody: Vec<RefundId>,
}

impl Fates {
    /// Lost orders that should be there.
    pub fn lost_without_leave(&self) -> impl Iterator<Item = &Lost> {
        self.lost.iter().filter(|lost| !lost.permitted)
    }

    /// Everything that must not be, one line each.
    pub fn violations(&self) -> impl Iterator<Item = String> {
        let lost = self.lost_without_leave();
        let lost = lost.map(|lost| format!("lost: order {}, known at {}", lost.id, lost.known));
        let orders = self.orders_of_nobody.iter();
        let orders = orders.map(|id| format!("doubled: order {id} is not the one that its shopper's request made"));
        let refunds = self.refunds_of_nobody.iter();
        let refunds = refunds.map(|id| format!("doubled: refund {id} is not the one that a request asked for"));
        let stuck = self
            .stuck
            .iter()
            .map(|(id, state)| format!("stuck: order {id} is {state}"));
        lost.chain(orders).chain(refunds).chain(stuck)
    }
}

/// Reads every order and every mark there is, and compares with the journal. `deaths` are those that permit losses.
pub async fn fates(shop: &Shop, journal: &[Record], deaths: &[Died]) -> Result<Fates> {
    let marks = Marks::read(shop).await?;
    let mut fates = compare(journal, &found(shop).await?, |key| marks.placed(key), deaths);
    fates.refunds_of_nobody = marks.refunds_of_nobody(shop).await?;
    Ok(fates)
}

fn compare(
    journal: &[Record],
    orders: &BTreeMap<OrderId, Found>,
    placed: impl Fn(Uuid) -> Option<OrderId>,
    deaths: &[Died],
) -> Fates {
    let mut fates = Fates::default();
    let (mut seen, mut made) = (BTreeSet::new(), BTreeSet::new());
    for record in journal {
        match &record.fact {
            Fact::OrderAccepted { id, key, .. } => {
                made.extend(placed(*key));
                if !seen.insert(*id) || orders.contains_key(id) {
                    continue;
                }
                let (_, known) = between(record.when);
                fates.lost.push(Lost {
                    id: *id,
                    known,
                    permitted: is_permitted(deaths, made_at(*id), known),
                });
            }
            Fact::OrderUnknown { key, .. } => {
                made.extend(placed(*key));
                fates.unknown += 1;
            }
            _ => {}
        }
    }
    fates.accepted = seen.len();
    for (id, Found { state, updated_at }) in orders {
        *fates.states.entry(state.clone()).or_default() += 1;
        fates.changed.insert(*id, *updated_at);
        fates.unseen += usize::from(!seen.contains(id));
        if !made.contains(id) {
            fates.orders_of_nobody.push(*id);
        }
        if !has_ended(state) {
            fates.stuck.push((*id, state.clone()));
        }
    }
    fates
}

fn has_ended(state: &str) -> bool {
    State::ALL
        .iter()
        .any(|known| known.as_str() == state && known.is_terminal())
}

/// Of an order's document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Found {
    state: String,
    /// When it last changed, in Unix milliseconds.
    updated_at: u64,
}

/// Every order there is.
async fn found(shop: &Shop) -> Result<BTreeMap<OrderId, Found>> {
    let mut redis = patient(shop.database.client()).await?;
    let prefix = shop.keys.order_prefix();
    let keys = documents::keys(&mut redis, &prefix).await?;
    let mut orders = BTreeMap::new();
    for (key, text) in documents::read(&mut redis, &keys, "$").await? {
        let [found]: [Found; 1] = serde_json::from_str(&text).with_context(|| format!("{key} is no order"))?;
        orders.insert(key.strip_prefix(&prefix).unwrap_or(&key).parse()?, found);
    }
    Ok(orders)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shopwright_load::journal::When;

    use super::*;
    use crate::plan::RedisDeath;

    fn id(at: u64) -> OrderId {
        OrderId::from_parts(at, [7; 10])
    }

    fn when(known_at: i64) -> When {
        When {
            asked_at: known_at,
            known_at,
        }
    }

    fn accepted(at: u64, key: u128) -> Record {
        Record {
            when: when(i64::try_from(at).unwrap()),
            fact: Fact::OrderAccepted {
                id: id(at),
                token: String::new(),
                key: Uuid::from_u128(key),
                lines: Vec::new(),
            },
        }
    }

    fn unknown(key: u128) -> Record {
        Record {
            when: when(0),
            fact: Fact::OrderUnknown {
                key: Uuid::from_u128(key),
                lines: Vec::new(),
            },
        }
    }

    /// As if every order's key was the number of its acceptance.
    fn placed(key: Uuid) -> Option<OrderId> {
        Some(id(
            [1_000, 9_000, 9_500][usize::try_from(key.as_u128()).ok()?.checked_sub(1)?]
        ))
    }

    fn there(orders: &[(u64, &str)]) -> BTreeMap<OrderId, Found> {
        let found = |at: u64, state: &str| Found {
            state: state.to_owned(),
            updated_at: at,
        };
        orders.iter().map(|(at, state)| (id(*at), found(*at, state))).collect()
    }

    #[test]
    fn an_accepted_order_is_there_or_lost_and_only_a_death_permits_that() {
        let journal = [accepted(1_000, 1), accepted(9_000, 2), accepted(9_500, 3)];
        let states = there(&[(9_500, "completed")]);
        let died = Died {
            death: RedisDeath::Killed,
            from: 10_000,
            until: 10_001,
            loading: Duration::ZERO,
            cut: 0,
            fsync_delay: Duration::ZERO,
        };
        let fates = compare(&journal, &states, placed, &[died]);
        assert_eq!((fates.accepted, fates.lost.len(), fates.unseen), (3, 2, 0));
        let without_leave: Vec<_> = fates.lost_without_leave().map(|lost| lost.id).collect();
        assert_eq!(without_leave, [id(1_000)]);
        assert_eq!(compare(&journal, &states, placed, &[]).lost_without_leave().count(), 2);
    }

    #[test]
    fn an_order_that_no_request_is_remembered_for_was_made_twice() {
        let journal = [accepted(1_000, 1), accepted(2_000, 1), unknown(2)];
        let remembered = |key: Uuid| match key.as_u128() {
            1 => Some(id(1_000)),
            2 => Some(id(3_000)),
            _ => None,
        };
        let all = there(&[(1_000, "completed"), (2_000, "completed"), (3_000, "rejected")]);
        let fates = compare(&journal, &all, remembered, &[]);
        assert_eq!(fates.orders_of_nobody, [id(2_000)]);
        assert_eq!((fates.accepted, fates.unknown, fates.unseen), (2, 1, 1));
        let told_twice = [accepted(1_000, 1), accepted(1_000, 1)];
        let fates = compare(&told_twice, &there(&[(1_000, "completed")]), remembered, &[]);
        assert_eq!((fates.orders_of_nobody.len(), fates.accepted), (0, 1));
        let without_reply = there(&[(4_000, "completed")]);
        let fates = compare(&[unknown(2)], &without_reply, remembered, &[]);
        assert_eq!(
            fates.orders_of_nobody,
            [id(4_000)],
            "a double whose first reply never came"
        );
    }

    #[test]
    fn what_has_not_ended_is_stuck() {
        let fates = compare(&[], &there(&[(2, "rejected"), (3, "charging")]), placed, &[]);
        assert_eq!(fates.stuck, [(id(3), "charging".to_owned())]);
    }
}
