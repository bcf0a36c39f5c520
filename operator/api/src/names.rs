//! Names of children, labels and field managers: one place, so that two files never spell one name two ways.

use std::collections::BTreeMap;

/// Field manager of everything the operator applies.
pub const FIELD_MANAGER: &str = "shopwright-operator";
/// Field manager of the `scale` subresource: whoever holds it owns `replicas`.
pub const SCALE_MANAGER: &str = "shopwright-scaler";
/// Field manager of the `status` subresource.
pub const STATUS_MANAGER: &str = "shopwright-status";

/// Label whose value [`MANAGED_BY`] marks what the operator made.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "shopwright-operator";
/// Label that names the shop a child belongs to.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// Label that names the part of the shop.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Label that names the program.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Label that names the product.
pub const LABEL_PART_OF: &str = "app.kubernetes.io/part-of";
/// Annotation of a pod template with the hash of the configuration and secrets the pod consumes.
pub const ANNOTATION_CONFIGURATION: &str = "shopwright.dev/configuration-hash";
/// Annotation of the data volume's claim with the UID of the Shop that last used it.
pub const ANNOTATION_USED_BY: &str = "shopwright.dev/used-by";

/// Port on which services and storefront serve HTTP.
pub const HTTP_PORT: i32 = 8080;
/// Port of probes and metrics.
pub const ADMIN_PORT: i32 = 9090;
/// Port of Redis.
pub const REDIS_PORT: i32 = 6379;
/// Key of the admin Secret that holds the bearer key.
pub const ADMIN_KEY: &str = "admin-key";

/// A part of a shop that has pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Redis Stack.
    Redis,
    /// `inventory serve`
    Inventory,
    /// `payments serve`
    Payments,
    /// The gateway and page.
    Storefront,
    /// `inventory consume`
    InventoryConsumer,
    /// `payments consume`
    PaymentsConsumer,
}

impl Component {
    /// All of them, in the order in which they are applied.
    pub const ALL: [Self; 6] = [
        Self::Redis,
        Self::Inventory,
        Self::Payments,
        Self::Storefront,
        Self::InventoryConsumer,
        Self::PaymentsConsumer,
    ];

    /// Value of the component label, and what follows `SHOP-` in the names of its objects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Inventory => "inventory",
            Self::Payments => "payments",
            Self::Storefront => "storefront",
            Self::InventoryConsumer => "inventory-consumer",
            Self::PaymentsConsumer => "payments-consumer",
        }
    }

    /// Name of the Deployment or StatefulSet, Service and ServiceAccount.
    pub fn object_name(self, shop: &str) -> String {
        format!("{shop}-{}", self.as_str())
    }

    /// The program that runs in its pods.
    pub fn program(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Inventory | Self::InventoryConsumer => "inventory",
            Self::Payments | Self::PaymentsConsumer => "payments",
            Self::Storefront => "storefront",
        }
    }
}

/// Name of the Secret with the bearer key for admin writes.
pub fn admin_secret(shop: &str) -> String {
    format!("{shop}-admin")
}

/// Name of the Secret with the keys that sign order tokens.
pub fn order_tokens_secret(shop: &str) -> String {
    format!("{shop}-order-tokens")
}

/// Name of the Secret with `username` and `password` of one Redis user.
pub fn redis_user_secret(shop: &str, user: &str) -> String {
    format!("{shop}-redis-{user}")
}

/// Name of the Secret with Redis's `users.acl`.
pub fn redis_acl_secret(shop: &str) -> String {
    format!("{shop}-redis-acl")
}

/// Name of the ConfigMap with `redis.conf`.
pub fn redis_config(shop: &str) -> String {
    Component::Redis.object_name(shop)
}

/// Name of the claim of Redis's volume.
pub fn redis_volume_claim(shop: &str) -> String {
    format!("{shop}-redis-data")
}

/// Address of Redis inside the cluster. Short of the cluster's own domain, which differs between clusters.
pub fn redis_host(shop: &str, namespace: &str) -> String {
    format!("{shop}-redis.{namespace}.svc")
}

/// Labels of every child.
pub fn labels(shop: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_INSTANCE.into(), shop.into()),
        (LABEL_PART_OF.into(), "shopwright".into()),
        (LABEL_MANAGED_BY.into(), MANAGED_BY.into()),
    ])
}

/// Labels of a child that belongs to one component, and of its pods.
pub fn component_labels(shop: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = labels(shop);
    labels.insert(LABEL_NAME.into(), component.program().into());
    labels.insert(LABEL_COMPONENT.into(), component.as_str().into());
    labels
}

/// Labels by which a component's pods are selected. A Deployment's selector cannot change: neither can this.
pub fn selector(shop: &str, component: Component) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_INSTANCE.into(), shop.into()),
        (LABEL_PART_OF.into(), "shopwright".into()),
        (LABEL_COMPONENT.into(), component.as_str().into()),
    ])
}

/// Labels of the operator's own pods, which the chart sets and every NetworkPolicy relies on.
pub fn operator_pods() -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_PART_OF.into(), "shopwright".into()),
        (LABEL_COMPONENT.into(), "operator".into()),
    ])
}

/// Label selector that limits watches to what the operator made.
pub fn managed_selector() -> String {
    format!("{LABEL_MANAGED_BY}={MANAGED_BY}")
}

/// Longest name of a Shop: the longest child name, `NAME-inventory-consumer`, stays a DNS label.
pub const MAX_SHOP_NAME: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_still_makes_dns_labels() {
        let shop = "s".repeat(MAX_SHOP_NAME);
        for component in Component::ALL {
            assert!(component.object_name(&shop).len() <= 63, "{component:?}");
        }
        assert!(redis_user_secret(&shop, "migration").len() <= 63);
    }

    #[test]
    fn selectors_match_the_labels_they_select() {
        for component in Component::ALL {
            let labels = component_labels("demo", component);
            for (key, value) in selector("demo", component) {
                assert_eq!(labels.get(&key), Some(&value));
            }
        }
    }
}
