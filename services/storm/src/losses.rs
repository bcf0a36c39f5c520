//! Which losses a disk that is synced each second permits. Pure.
//!
//! A loss is permitted when it was written within two seconds before a death of the main Redis; with an fsync that was being
//! delayed, within two seconds and that delay. The write is somewhere between the order's own time, which its id carries,
//! and the moment in which its acceptance was known; of a cancellation or a refund, between its request and that.

use std::collections::BTreeMap;

use shopwright_domain::ids::OrderId;
use shopwright_load::journal::{Fact, Record, When};
use uuid::Uuid;

use crate::database::Died;

/// How much `appendfsync everysec` may lose, by its documentation, in milliseconds.
const PERMITTED: u64 = 2_000;

/// When an order was made, in Unix milliseconds: ids are UUIDs of version 7.
pub fn made_at(id: OrderId) -> u64 {
    let uuid = Uuid::parse_str(&id.to_string()).unwrap_or_default();
    let Some(timestamp) = uuid.get_timestamp() else {
        return 0;
    };
    let (seconds, nanoseconds) = timestamp.to_unix();
    seconds * 1_000 + u64::from(nanoseconds) / 1_000_000
}

/// Whether something that was written between these times may be gone.
pub fn is_permitted(deaths: &[Died], made: u64, known: u64) -> bool {
    deaths.iter().any(|died| {
        let delay = u64::try_from(died.fsync_delay.as_millis()).unwrap_or(u64::MAX);
        made <= died.until && known.saturating_add(PERMITTED).saturating_add(delay) >= died.from
    })
}

/// When something of each order was written: between which times, in Unix milliseconds.
pub struct Written(BTreeMap<OrderId, Vec<(u64, u64)>>);

/// When it was asked for, and when it was known, in Unix milliseconds.
pub fn between(when: When) -> (u64, u64) {
    let time = |milliseconds| u64::try_from(milliseconds).unwrap_or_default();
    (time(when.asked_at), time(when.known_at))
}

impl Written {
    /// As a journal tells.
    pub fn new(journal: &[Record]) -> Self {
        let mut written: BTreeMap<OrderId, Vec<(u64, u64)>> = BTreeMap::new();
        for record in journal {
            let (asked, known) = between(record.when);
            let (id, made) = match &record.fact {
                Fact::OrderAccepted { id, .. } => (*id, made_at(*id)),
                Fact::CancelAccepted { id } | Fact::RefundAccepted { order_id: id, .. } => (*id, asked),
                Fact::OrderUnknown { .. } => continue,
            };
            written.entry(id).or_default().push((made, known));
        }
        Self(written)
    }

    /// Whether something of this order lies where it may be lost. Of one that nobody was told of, its making.
    pub fn may_be_lost(&self, order: OrderId, deaths: &[Died]) -> bool {
        let made = made_at(order);
        let told = self.0.get(&order).map_or(&[][..], Vec::as_slice);
        is_permitted(deaths, made, made) || told.iter().any(|(made, known)| is_permitted(deaths, *made, *known))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::RedisDeath;

    fn died(from: u64, fsync_delay: u64) -> Died {
        Died {
            death: RedisDeath::Killed,
            from,
            until: from + 10,
            loading: Duration::ZERO,
            cut: 0,
            fsync_delay: Duration::from_millis(fsync_delay),
        }
    }

    #[test]
    fn only_what_was_written_just_before_a_death_may_be_gone() {
        let deaths = [died(10_000, 0), died(50_000, 0)];
        assert!(is_permitted(&deaths, 7_990, 8_000) && is_permitted(&deaths, 49_000, 49_010));
        assert!(!is_permitted(&deaths, 7_980, 7_999), "too early");
        assert!(!is_permitted(&deaths, 10_011, 10_020), "after it");
        assert!(
            is_permitted(&deaths, 9_999, 12_000),
            "known late, since the reply was held up"
        );
        assert!(!is_permitted(&[], 9_999, 9_999));
    }

    #[test]
    fn a_slow_disk_makes_the_window_longer() {
        assert!(is_permitted(&[died(10_000, 900)], 7_100, 7_100));
        assert!(!is_permitted(&[died(10_000, 900)], 7_099, 7_099));
    }

    #[test]
    fn an_order_may_have_lost_its_making_or_what_came_later() {
        let (old, new) = (OrderId::from_parts(1_000, [1; 10]), OrderId::from_parts(9_000, [2; 10]));
        let cancelled = |asked_at, known_at| Record {
            when: When { asked_at, known_at },
            fact: Fact::CancelAccepted { id: old },
        };
        let deaths = [died(10_000, 0)];
        let nothing = Written::new(&[]);
        assert!(nothing.may_be_lost(new, &deaths) && !nothing.may_be_lost(new, &[]));
        assert!(!nothing.may_be_lost(old, &deaths));
        assert!(Written::new(&[cancelled(9_400, 9_500)]).may_be_lost(old, &deaths));
        assert!(!Written::new(&[cancelled(4_000, 5_000)]).may_be_lost(old, &deaths));
        assert!(!Written::new(&[cancelled(10_100, 15_100)]).may_be_lost(old, &deaths));
        assert!(
            Written::new(&[cancelled(9_900, 30_000)]).may_be_lost(old, &deaths),
            "however late it was known"
        );
    }

    #[test]
    fn an_id_tells_its_time() {
        assert_eq!(
            made_at(OrderId::from_parts(1_764_000_000_123, [7; 10])),
            1_764_000_000_123
        );
    }
}
