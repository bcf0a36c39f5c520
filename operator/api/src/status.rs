//! `Shop.status`: what the operator saw. Written only when something changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shop::DeletionPolicy;

/// What the operator saw of a Shop.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct ShopStatus {
    /// The generation of the spec that everything below speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` sums up the others.
    #[schemars(schema_with = "crate::condition::list_schema")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Version of the service images that were applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Address of the storefront inside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A command that makes the storefront reachable from where kubectl runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_forward: Option<String>,
    /// The deletion policy that is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Messages that wait for or are with the consumers, all groups together; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<i64>,
    /// Pods of all consumers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_replicas: Option<i32>,
    /// The shop's Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisStatus>,
    /// The services, by name.
    #[schemars(schema_with = "components_schema")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ComponentStatus>,
    /// The consumers, by name.
    #[schemars(schema_with = "consumers_schema")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consumers: Vec<ConsumerStatus>,
}

/// The shop's Redis as the operator sees it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisStatus {
    /// Whether it answers the operator, has loaded its data and writes its append-only file.
    pub ready: bool,
    /// Name of the volume claim.
    pub volume_claim: String,
    /// Size of the volume as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
}

/// One service of the shop.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentStatus {
    /// `inventory`, `payments` or `storefront`.
    pub name: String,
    /// Pods wanted.
    pub replicas: i32,
    /// Pods that are up to date and available.
    pub available_replicas: i32,
}

/// One consumer of the shop.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerStatus {
    /// `inventory` or `payments`.
    pub name: String,
    /// Pods wanted.
    pub replicas: i32,
    /// Pods available.
    pub available_replicas: i32,
    /// Messages before it; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<i64>,
}

fn components_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    list_map_by_name(generator.subschema_for::<ComponentStatus>())
}

fn consumers_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    list_map_by_name(generator.subschema_for::<ConsumerStatus>())
}

fn list_map_by_name(mut item: schemars::Schema) -> schemars::Schema {
    // A list map's key has to be required.
    item.insert("required".into(), serde_json::json!(["name"]));
    if let Some(name) = item
        .pointer_mut("/properties/name")
        .and_then(serde_json::Value::as_object_mut)
    {
        name.remove("default");
    }
    schemars::json_schema!({
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"]
    })
}
