//! What one observer may see of one order, one sight after another. Pure.

use shopwright_domain::money::{Amount, Money};
use shopwright_domain::order::State;

use crate::api::{OrderView, StockView};
use crate::violation::ViolationKind;

/// The newest that an observer has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) version: u64,
    pub(crate) state: State,
}

/// How a sight relates to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// A further event of the same connection.
    Newer,
    /// A read, or the snapshot that a connection begins with.
    NotOlder,
}

impl From<&OrderView> for Seen {
    fn from(view: &OrderView) -> Self {
        Self {
            version: view.version,
            state: view.state,
        }
    }
}

impl Seen {
    /// What is wrong with seeing `next` after this.
    pub(crate) fn then(self, next: Self, expect: Expect) -> Result<(), (ViolationKind, String)> {
        let versions = || format!("version {} after {}", next.version, self.version);
        if next.version < self.version || (next.version == self.version && expect == Expect::Newer) {
            return Err((ViolationKind::VersionBack, versions()));
        }
        if next.version == self.version && next.state != self.state {
            let detail = format!(
                "{} and {} at version {}",
                self.state.as_str(),
                next.state.as_str(),
                next.version
            );
            return Err((ViolationKind::VersionBack, detail));
        }
        if next.state != self.state && !can_follow(self.state, next.state) {
            let detail = format!("{} after {}, {}", next.state.as_str(), self.state.as_str(), versions());
            return Err((ViolationKind::StateBack, detail));
        }
        Ok(())
    }
}

/// Can an order be seen in `later` after `earlier`? Sights are coalesced, so states between may have gone unseen.
fn can_follow(earlier: State, later: State) -> bool {
    use State::{Cancelled, Charging, Completed, Declined, Paid, Pending, Refunded, Rejected, Reserved};
    match earlier {
        Pending => later != Pending,
        Reserved => !matches!(later, Pending | Reserved | Rejected),
        Charging => matches!(later, Paid | Completed | Declined | Cancelled | Refunded),
        Paid => matches!(later, Completed | Refunded),
        Completed => later == Refunded,
        Rejected | Declined | Cancelled | Refunded => false,
    }
}

/// What does not add up in an order's amounts.
pub(crate) fn money_fault(view: &OrderView) -> Option<String> {
    let units = |money: Option<Money>| money.map_or(0, |money| money.amount.minor_units());
    let (total, captured) = (units(view.total), units(view.captured));
    let returned = units(view.refunded) + units(view.refund_open);
    let parts = [view.subtotal, view.fee, view.total];
    if parts.iter().all(Option::is_some) && units(view.subtotal) + units(view.fee) != total {
        return Some("the total is not subtotal and fee".to_owned());
    }
    if captured != 0 && captured != total {
        return Some(format!("{captured} captured of a total of {total}"));
    }
    if returned > captured {
        return Some(format!("{returned} refunded or on the way back of {captured} captured"));
    }
    match view.state {
        State::Completed if captured != total => Some(format!("completed with {captured} captured of {total}")),
        State::Refunded if units(view.refunded) != captured => Some("refunded, but not in full".to_owned()),
        State::Rejected | State::Declined | State::Cancelled if captured != 0 => {
            Some(format!("{} with {captured} captured", view.state.as_str()))
        }
        _ => None,
    }
}

/// What is impossible about a product's stock.
pub(crate) fn stock_fault(stock: StockView) -> Option<String> {
    let StockView { on_hand, reserved } = stock;
    (on_hand < 0 || reserved < 0 || reserved > on_hand).then(|| format!("on hand {on_hand}, reserved {reserved}"))
}

/// That many percent of an amount, but at least one minor unit.
pub(crate) fn share(whole: Amount, percent: u8) -> Amount {
    let units = whole.minor_units() / 100 * i64::from(percent) + whole.minor_units() % 100 * i64::from(percent) / 100;
    Amount::new(units.max(1)).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(version: u64, state: State) -> Seen {
        Seen { version, state }
    }

    fn fault(earlier: Seen, later: Seen, expect: Expect) -> Option<ViolationKind> {
        earlier.then(later, expect).err().map(|(kind, _)| kind)
    }

    #[test]
    fn versions_grow_and_states_never_go_back() {
        use State::{Charging, Completed, Paid, Pending, Refunded};
        let paid = seen(4, Paid);
        assert_eq!(fault(paid, seen(5, Completed), Expect::Newer), None);
        assert_eq!(fault(paid, seen(9, Refunded), Expect::Newer), None);
        assert_eq!(fault(paid, seen(5, Paid), Expect::Newer), None);
        assert_eq!(fault(paid, paid, Expect::NotOlder), None);
        assert_eq!(fault(paid, paid, Expect::Newer), Some(ViolationKind::VersionBack));
        for expect in [Expect::Newer, Expect::NotOlder] {
            assert_eq!(fault(paid, seen(3, Charging), expect), Some(ViolationKind::VersionBack));
            assert_eq!(
                fault(paid, seen(4, Completed), expect),
                Some(ViolationKind::VersionBack)
            );
            assert_eq!(fault(paid, seen(5, Pending), expect), Some(ViolationKind::StateBack));
        }
    }

    #[test]
    fn only_the_designs_order_of_states_is_allowed() {
        use State::{Cancelled, Charging, Completed, Declined, Paid, Pending, Refunded, Rejected, Reserved};
        let steps = [
            (Pending, vec![Reserved, Rejected, Cancelled]),
            (Reserved, vec![Charging, Cancelled]),
            (Charging, vec![Paid, Declined, Cancelled]),
            (Paid, vec![Completed, Refunded]),
            (Completed, vec![Refunded]),
        ];
        // The closure of single steps, made here by walking, is what `can_follow` states outright.
        for earlier in State::ALL {
            let mut reachable: Vec<State> = Vec::new();
            let mut open = vec![earlier];
            while let Some(state) = open.pop() {
                for next in steps.iter().filter(|(from, _)| *from == state).flat_map(|(_, to)| to) {
                    if !reachable.contains(next) {
                        reachable.push(*next);
                        open.push(*next);
                    }
                }
            }
            for later in State::ALL {
                assert_eq!(
                    can_follow(earlier, later),
                    reachable.contains(&later),
                    "{earlier:?} {later:?}"
                );
            }
        }
    }

    #[test]
    fn money_adds_up() {
        let view = |state: &str, amounts: [i64; 6]| -> OrderView {
            let money = |amount: i64| serde_json::json!({"amount": amount, "currency": "EUR"});
            let [subtotal, fee, total, captured, refunded, refund_open] = amounts.map(money);
            serde_json::from_value(serde_json::json!({
                "id": "01890a5d-ac96-774b-bcce-b302099a8057", "state": state, "version": 7, "timeline": [],
                "subtotal": subtotal, "fee": fee, "total": total,
                "captured": captured, "refunded": refunded, "refund_open": refund_open,
            }))
            .unwrap()
        };
        for (state, amounts) in [
            ("completed", [100, 20, 120, 120, 50, 70]),
            ("refunded", [100, 20, 120, 120, 120, 0]),
            ("cancelled", [100, 20, 120, 0, 0, 0]),
        ] {
            assert_eq!(money_fault(&view(state, amounts)), None);
        }
        for (state, amounts) in [
            ("completed", [100, 20, 121, 121, 0, 0]),
            ("completed", [100, 20, 120, 100, 0, 0]),
            ("completed", [100, 20, 120, 0, 0, 0]),
            ("completed", [100, 20, 120, 120, 60, 61]),
            ("refunded", [100, 20, 120, 120, 60, 0]),
            ("cancelled", [100, 20, 120, 120, 0, 0]),
        ] {
            assert!(money_fault(&view(state, amounts)).is_some(), "{state} {amounts:?}");
        }
    }

    #[test]
    fn stock_is_possible() {
        let fault = |on_hand, reserved| stock_fault(StockView { on_hand, reserved }).is_some();
        assert!(!fault(5, 5) && !fault(0, 0));
        assert!(fault(5, 6) && fault(-1, 0) && fault(1, -1));
    }

    #[test]
    fn shares_are_at_least_one_and_at_most_all() {
        let of = |whole, percent| share(Amount::new(whole).unwrap(), percent).minor_units();
        assert_eq!((of(1199, 50), of(1, 30), of(250, 100), of(99, 1)), (599, 1, 250, 1));
        assert_eq!(
            of(shopwright_domain::money::MAX_MINOR_UNITS, 100),
            shopwright_domain::money::MAX_MINOR_UNITS
        );
    }
}
