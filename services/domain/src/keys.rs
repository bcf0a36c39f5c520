//! Every Redis key, stream and group name of a shop, in one place. The hash tag is the owner. A script writes the keys of one
//! owner; of the other's it sees to it that an entry is there, so both share one Redis, which is no Redis Cluster.

use crate::ids::{OrderId, ProductId, RefundId};

/// The group through which inventory reads the events of payments.
pub const GROUP_INVENTORY: &str = "inventory";
/// The group through which payments reads the events of inventory, and its own jobs.
pub const GROUP_PAYMENTS: &str = "payments";

/// The keys of one shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShopKeys {
    shop: String,
}

impl ShopKeys {
    /// The keys of the shop of this name.
    pub fn new(shop: impl Into<String>) -> Self {
        Self { shop: shop.into() }
    }

    /// The shop's name.
    pub fn shop(&self) -> &str {
        &self.shop
    }

    /// What every key of inventory begins with, `{NAME-inventory}:`.
    pub fn inventory_prefix(&self) -> String {
        format!("{{{}-inventory}}:", self.shop)
    }

    /// What every key of payments begins with, `{NAME-payments}:`.
    pub fn payments_prefix(&self) -> String {
        format!("{{{}-payments}}:", self.shop)
    }

    /// What every key of the simulated provider begins with, `{NAME-provider}:`.
    pub fn provider_prefix(&self) -> String {
        format!("{{{}-provider}}:", self.shop)
    }

    /// Stream: what happened to orders. Read by [`GROUP_INVENTORY`].
    pub fn payments_events(&self) -> String {
        self.payments_prefix() + "events"
    }

    /// Stream: what payments has yet to ask of the provider. Read by [`GROUP_PAYMENTS`].
    pub fn payments_jobs(&self) -> String {
        self.payments_prefix() + "jobs"
    }

    /// Stream: inventory's answers about stock. Read by [`GROUP_PAYMENTS`].
    pub fn inventory_events(&self) -> String {
        self.inventory_prefix() + "events"
    }

    /// Stream: what happened to products. No group reads it, so that it wakes nobody.
    pub fn inventory_catalogue(&self) -> String {
        self.inventory_prefix() + "catalogue"
    }

    /// Dead letters of a group that read a stream; carries the source stream's hash tag, so that append and
    /// acknowledgement are one script.
    pub fn dead_letters(source_stream: &str, group: &str) -> String {
        format!("{source_stream}:dead:{group}")
    }

    /// JSON document of a product.
    pub fn product(&self, id: ProductId) -> String {
        format!("{}{id}", self.product_prefix())
    }

    /// What every product's key begins with; the index's prefix.
    pub fn product_prefix(&self) -> String {
        self.inventory_prefix() + "product:"
    }

    /// Hash of a product's stock, outside every index.
    pub fn stock(&self, id: ProductId) -> String {
        format!("{}{id}", self.stock_prefix())
    }

    /// What every stock key begins with.
    pub fn stock_prefix(&self) -> String {
        self.inventory_prefix() + "stock:"
    }

    /// JSON document of an order's reservation.
    pub fn reservation(&self, order: OrderId) -> String {
        format!("{}reservation:{order}", self.inventory_prefix())
    }

    /// Search index over products.
    pub fn products_index(&self) -> String {
        self.inventory_prefix() + "idx:products"
    }

    /// JSON document of an order.
    pub fn order(&self, id: OrderId) -> String {
        format!("{}{id}", self.order_prefix())
    }

    /// What every order's key begins with; the index's prefix.
    pub fn order_prefix(&self) -> String {
        self.payments_prefix() + "order:"
    }

    /// JSON document of a refund.
    pub fn refund(&self, id: RefundId) -> String {
        format!("{}{id}", self.refund_prefix())
    }

    /// What every refund's key begins with.
    pub fn refund_prefix(&self) -> String {
        self.payments_prefix() + "refund:"
    }

    /// Sorted set of order ids by due time, in milliseconds of Redis TIME.
    pub fn due(&self) -> String {
        self.payments_prefix() + "due"
    }

    /// Search index over orders.
    pub fn orders_index(&self) -> String {
        self.payments_prefix() + "idx:orders"
    }

    /// What a request with this idempotency key did (text, expires); `hex` names caller, path and key.
    pub fn payments_idempotency(&self, hex: &str) -> String {
        format!("{}idempotency:{hex}", self.payments_prefix())
    }

    /// The same for requests to inventory.
    pub fn inventory_idempotency(&self, hex: &str) -> String {
        format!("{}idempotency:{hex}", self.inventory_prefix())
    }

    /// Hash: the version of what payments stores, and the oldest that can read it.
    pub fn payments_schema(&self) -> String {
        self.payments_prefix() + "schema"
    }

    /// Hash: the same for inventory.
    pub fn inventory_schema(&self) -> String {
        self.inventory_prefix() + "schema"
    }

    /// Channel: ids of orders that changed, for those who watch. What is told there is a hint; the document is the truth.
    pub fn payments_changes(&self) -> String {
        self.payments_prefix() + "changes"
    }

    /// The provider's book: one hash per charge key.
    pub fn provider_charge(&self, order: OrderId) -> String {
        format!("{}charge:{order}", self.provider_prefix())
    }

    /// The provider's book: one hash per refund.
    pub fn provider_refund(&self, refund: RefundId) -> String {
        format!("{}refund:{refund}", self.provider_prefix())
    }

    /// List of faults that the simulated provider meets next, one per call, first in first out.
    pub fn provider_faults(&self) -> String {
        self.provider_prefix() + "faults"
    }

    /// While this key exists, the simulated provider answers nobody.
    pub fn provider_down(&self) -> String {
        self.provider_prefix() + "down"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_documented_ones() {
        let keys = ShopKeys::new("demo");
        assert_eq!(keys.payments_events(), "{demo-payments}:events");
        assert_eq!(keys.payments_jobs(), "{demo-payments}:jobs");
        assert_eq!(keys.inventory_events(), "{demo-inventory}:events");
        assert_eq!(keys.inventory_catalogue(), "{demo-inventory}:catalogue");
        assert_eq!(keys.due(), "{demo-payments}:due");
        assert_eq!(keys.orders_index(), "{demo-payments}:idx:orders");
        assert_eq!(keys.products_index(), "{demo-inventory}:idx:products");
        assert_eq!(
            ShopKeys::dead_letters(&keys.payments_events(), GROUP_INVENTORY),
            "{demo-payments}:events:dead:inventory"
        );
        let order = OrderId::from_parts(0, [0; 10]);
        assert_eq!(keys.order(order), format!("{{demo-payments}}:order:{order}"));
        assert_eq!(
            keys.reservation(order),
            format!("{{demo-inventory}}:reservation:{order}")
        );
    }
}
