//! A `PodDisruptionBudget` for each service: only above one replica, because below one would forbid every drain of a node.

use serde_json::json;
use shopwright_api::names::{self, Component};

use super::{Builder, Child};
use crate::shop::kinds::Kind;

impl Builder<'_> {
    pub(super) fn disruption_budgets(&self) -> Vec<Child> {
        self.served()
            .into_iter()
            .filter(|(_, replicas)| *replicas > 1)
            .map(|(component, _)| {
                let budget = json!({
                    "metadata": self.metadata(component),
                    "spec": {
                        "maxUnavailable": 1,
                        // A pod that never became ready must not hold up the drain of its node.
                        "unhealthyPodEvictionPolicy": "AlwaysAllow",
                        "selector": {"matchLabels": names::selector(self.name(), component)},
                    },
                });
                Child::new(Kind::DisruptionBudget, component.object_name(self.name()), budget)
            })
            .collect()
    }

    /// Services that are there, with the replicas asked for.
    pub(super) fn served(&self) -> Vec<(Component, i32)> {
        let spec = &self.shop.spec;
        let mut served = vec![
            (Component::Inventory, spec.inventory.replicas),
            (Component::Payments, spec.payments.replicas),
        ];
        if spec.storefront.enabled {
            served.push((Component::Storefront, spec.storefront.replicas));
        }
        served
    }
}
