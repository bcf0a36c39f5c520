//! `Shop.spec.redis`: the one Redis that is the shop's database and its event bus.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resources::{Quantity, Resources};

/// Where the shop's Redis comes from. Exactly one way is chosen.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.managed)", "message": "redis.managed must be set: exactly one kind of Redis is needed"}
]))]
pub struct Redis {
    /// A Redis Stack that the operator runs for this shop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedRedis>,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            managed: Some(ManagedRedis::default()),
        }
    }
}

/// A Redis Stack that the operator runs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.resources.limits) && 'memory' in self.resources.limits", "message": "redis.managed.resources.limits.memory must be set: maxmemory is 60 % of it"}
]))]
pub struct ManagedRedis {
    /// Full image reference with the search and JSON modules. Default: the operator's setting. Never follows the operator's version.
    #[schemars(length(min = 1, max = 512))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Requests and limits. A memory limit is needed: Redis may use 60 % of it for data.
    pub resources: Resources,
    /// The volume that holds the append-only file.
    pub storage: Storage,
    /// How soon a write is on disk. `Always`, the default: before it is answered, so that nothing acknowledged is lost when a process or the node dies. `EverySecond`: faster, and up to 2 s of acknowledged work may be lost.
    pub durability: Durability,
}

impl Default for ManagedRedis {
    fn default() -> Self {
        Self {
            image: None,
            resources: Resources::of("50m", "128Mi", "512Mi"),
            storage: Storage::default(),
            durability: Durability::Always,
        }
    }
}

/// The data volume.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0", "message": "storage.size may only grow"},
    {"rule": "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)", "message": "storage.storageClassName is immutable"}
]))]
pub struct Storage {
    /// Size of the volume; at least three times what Redis may use for data is advised, because rewriting the append-only file needs room for two. May only grow.
    #[schemars(schema_with = "size_schema")]
    pub size: Quantity,
    /// Storage class. Default: the cluster's default class. Immutable.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            size: Quantity::new("1Gi"),
            storage_class_name: None,
        }
    }
}

// A plain string, unlike other quantities, because CEL's quantity() takes no integer.
fn size_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "maxLength": 20,
        "pattern": r"^[1-9][0-9]*(\.[0-9]+)?([KMGTPE]i|[kMGTPE])?$"
    })
}

/// What an acknowledged write survives.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum Durability {
    /// Synced before the answer: nothing acknowledged is lost when a process or the node dies.
    #[default]
    Always,
    /// Synced once a second: faster, and up to 2 s of acknowledged work may be lost.
    EverySecond,
}
