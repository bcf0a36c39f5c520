//! What has become of the orders of a journal: reads their documents in the main Redis, as the harness.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use shopwright_domain::ids::OrderId;
use shopwright_domain::order::State;
use shopwright_load::journal::{Fact, Record};
use uuid::Uuid;

use crate::connection::patient;
use crate::database::Died;
use crate::losses::{is_permitted, made_at};
use crate::shop::Shop;

/// Documents a round trip.
const BATCH: usize = 500;

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
    /// Those that have not ended.
    pub stuck: Vec<(OrderId, String)>,
    /// Accepted, and not there.
    pub lost: Vec<Lost>,
    /// Keys under which there are two orders.
    pub doubled: Vec<Uuid>,
}

impl Fates {
    /// Lost orders that should be there.
    pub fn lost_without_leave(&self) -> impl Iterator<Item = &Lost> {
        self.lost.iter().filter(|lost| !lost.permitted)
    }

    /// More orders without a reply than shoppers without one.
    pub fn too_many_unseen(&self) -> usize {
        self.unseen.saturating_sub(self.unknown)
    }
}

/// Reads every order there is, and compares with the journal. `deaths` are those that permit losses.
pub async fn fates(shop: &Shop, journal: &[Record], deaths: &[Died]) -> Result<Fates> {
    Ok(compare(journal, &states(shop).await?, deaths))
}

fn compare(journal: &[Record], states: &BTreeMap<OrderId, String>, deaths: &[Died]) -> Fates {
    let mut fates = Fates::default();
    let mut seen = BTreeSet::new();
    let mut keys: BTreeMap<Uuid, BTreeSet<OrderId>> = BTreeMap::new();
    for record in journal {
        match &record.fact {
            Fact::OrderAccepted { id, key, .. } => {
                if !seen.insert(*id) {
                    continue;
                }
                if states.contains_key(id) {
                    keys.entry(*key).or_default().insert(*id);
                    continue;
                }
                let known = u64::try_from(record.at).unwrap_or_default();
                fates.lost.push(Lost {
                    id: *id,
                    known,
                    permitted: is_permitted(deaths, made_at(*id), known),
                });
            }
            Fact::OrderUnknown { .. } => fates.unknown += 1,
            _ => {}
        }
    }
    fates.accepted = seen.len();
    fates.doubled = keys
        .into_iter()
        .filter(|(_, ids)| ids.len() > 1)
        .map(|(key, _)| key)
        .collect();
    for (id, state) in states {
        *fates.states.entry(state.clone()).or_default() += 1;
        fates.unseen += usize::from(!seen.contains(id));
        if !has_ended(state) {
            fates.stuck.push((*id, state.clone()));
        }
    }
    fates
}

/// Whether every order has ended: nothing more is to be waited for.
pub async fn all_ended(shop: &Shop) -> Result<bool> {
    Ok(states(shop).await?.values().all(|state| has_ended(state)))
}

fn has_ended(state: &str) -> bool {
    State::ALL
        .iter()
        .any(|known| known.as_str() == state && known.is_terminal())
}

/// The state of every order there is.
async fn states(shop: &Shop) -> Result<BTreeMap<OrderId, String>> {
    let mut redis = patient(shop.database.client()).await?;
    let prefix = shop.keys.order_prefix();
    let (mut keys, mut cursor) = (BTreeSet::new(), 0_u64);
    loop {
        let (next, found): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("{prefix}*"))
            .arg("COUNT")
            .arg(10_000)
            .query_async(&mut redis)
            .await?;
        keys.extend(found);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let keys: Vec<String> = keys.into_iter().collect();
    let mut states = BTreeMap::new();
    for batch in keys.chunks(BATCH) {
        let texts: Vec<Option<String>> = redis::cmd("JSON.MGET")
            .arg(batch)
            .arg("$.state")
            .query_async(&mut redis)
            .await?;
        for (key, text) in batch.iter().zip(texts) {
            let text = text.with_context(|| format!("{key} has gone"))?;
            let found: Vec<String> = serde_json::from_str(&text)?;
            let id = key.strip_prefix(&prefix).unwrap_or(key).parse()?;
            states.insert(id, found.into_iter().next().unwrap_or_default());
        }
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::RedisDeath;

    fn id(at: u64) -> OrderId {
        OrderId::from_parts(at, [7; 10])
    }

    fn accepted(at: u64, key: u128) -> Record {
        Record {
            at: i64::try_from(at).unwrap(),
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
            at: 0,
            fact: Fact::OrderUnknown {
                key: Uuid::from_u128(key),
                lines: Vec::new(),
            },
        }
    }

    fn there(orders: &[(u64, &str)]) -> BTreeMap<OrderId, String> {
        orders
            .iter()
            .map(|(at, state)| (id(*at), (*state).to_owned()))
            .collect()
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
        let fates = compare(&journal, &states, &[died]);
        assert_eq!((fates.accepted, fates.lost.len(), fates.unseen), (3, 2, 0));
        let without_leave: Vec<_> = fates.lost_without_leave().map(|lost| lost.id).collect();
        assert_eq!(without_leave, [id(1_000)]);
        assert_eq!(compare(&journal, &states, &[]).lost_without_leave().count(), 2);
    }

    #[test]
    fn two_orders_under_one_key_are_one_too_many_unless_one_was_lost() {
        let journal = [accepted(1_000, 1), accepted(2_000, 1)];
        let both = compare(&journal, &there(&[(1_000, "completed"), (2_000, "completed")]), &[]);
        assert_eq!(both.doubled, [Uuid::from_u128(1)]);
        let one = compare(&journal, &there(&[(2_000, "completed")]), &[]);
        assert_eq!((one.doubled.len(), one.lost.len()), (0, 1));
        let same = compare(
            &[accepted(1_000, 1), accepted(1_000, 1)],
            &there(&[(1_000, "completed")]),
            &[],
        );
        assert_eq!((same.doubled.len(), same.accepted), (0, 1), "told twice of one order");
    }

    #[test]
    fn what_nobody_was_told_of_is_at_most_what_nobody_had_a_reply_to() {
        let states = there(&[(1, "completed"), (2, "rejected"), (3, "charging")]);
        let fates = compare(&[unknown(1), unknown(2)], &states, &[]);
        assert_eq!((fates.unseen, fates.unknown, fates.too_many_unseen()), (3, 2, 1));
        assert_eq!(fates.stuck, [(id(3), "charging".to_owned())]);
    }
}
