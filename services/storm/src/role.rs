//! The processes of a shop: which there are, how many, and which crash points lie in each. Pure.

use shopwright_kit::crash::POINTS;

/// What one process of a shop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Inventory's API.
    Inventory,
    /// Inventory's reader of the events of payments.
    InventoryConsumer,
    /// Payments' API and sweeper.
    Payments,
    /// Payments' reader of stock answers and provider jobs.
    PaymentsConsumer,
    /// The gateway.
    Storefront,
}

/// Which program a role runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `shopwright-inventory`.
    Inventory,
    /// `shopwright-payments`.
    Payments,
    /// `shopwright-storefront`.
    Storefront,
}

impl Role {
    /// Every role, in the order in which a shop is started.
    pub const ALL: [Self; 5] = [
        Self::Inventory,
        Self::Payments,
        Self::InventoryConsumer,
        Self::PaymentsConsumer,
        Self::Storefront,
    ];

    /// As its Deployment would be called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::InventoryConsumer => "inventory-consumer",
            Self::Payments => "payments",
            Self::PaymentsConsumer => "payments-consumer",
            Self::Storefront => "storefront",
        }
    }

    /// Two of each consumer, so that one can take over what the other left.
    pub fn replicas(self) -> usize {
        match self {
            Self::InventoryConsumer | Self::PaymentsConsumer => 2,
            Self::Inventory | Self::Payments | Self::Storefront => 1,
        }
    }

    /// The program and its command.
    pub fn program(self) -> (Program, &'static str) {
        match self {
            Self::Inventory => (Program::Inventory, "serve"),
            Self::InventoryConsumer => (Program::Inventory, "consume"),
            Self::Payments => (Program::Payments, "serve"),
            Self::PaymentsConsumer => (Program::Payments, "consume"),
            Self::Storefront => (Program::Storefront, "serve"),
        }
    }

    /// Whose process passes a crash point. `None` for a name that is of no known kind.
    pub fn of_crash_point(point: &str) -> Option<Self> {
        let mut parts = point.split('.');
        match (parts.next()?, parts.next()?) {
            ("payments", "place" | "sweep") => Some(Self::Payments),
            ("payments", "stock" | "job" | "provider") => Some(Self::PaymentsConsumer),
            ("inventory", "react") => Some(Self::InventoryConsumer),
            ("inventory", "adjust") => Some(Self::Inventory),
            _ => None,
        }
    }

    /// Every crash point of every role.
    pub fn all_crash_points() -> Vec<&'static str> {
        POINTS.to_vec()
    }

    /// The crash points that its process passes.
    pub fn crash_points(self) -> Vec<&'static str> {
        let own = |point: &&str| Self::of_crash_point(point) == Some(self);
        POINTS.iter().copied().filter(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crash_point_lies_in_one_role() {
        for point in POINTS {
            assert!(Role::of_crash_point(point).is_some(), "{point}");
        }
        assert_eq!(Role::of_crash_point("shipping.pack.before_store"), None);
        let reached: usize = Role::ALL.iter().map(|role| role.crash_points().len()).sum();
        assert_eq!(reached, POINTS.len());
    }
}
