//! Which version of inventory's data this program writes. Pure.

use shopwright_domain::keys::ShopKeys;
use shopwright_kit::Schema;

/// The data as this program writes it.
pub fn schema(keys: &ShopKeys) -> Schema {
    Schema {
        key: keys.inventory_schema(),
        version: 1,
        oldest_compatible: 1,
    }
}
