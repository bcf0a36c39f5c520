//! The search index over orders. Pure: what it is called and what it holds.

use shopwright_domain::keys::ShopKeys;
use shopwright_kit::search_index::SearchIndex;

/// The index that the list of orders needs.
pub fn orders(keys: &ShopKeys) -> SearchIndex {
    SearchIndex {
        name: keys.orders_index(),
        version: 1,
        prefix: keys.order_prefix(),
        schema: &[
            "$.state",
            "AS",
            "state",
            "TAG", //
            "$.reason",
            "AS",
            "reason",
            "TAG", //
            "$.lines[*].product_id",
            "AS",
            "product",
            "TAG", //
            "$.created_at",
            "AS",
            "created_at",
            "NUMERIC",
            "SORTABLE",
        ],
    }
}
