//! The `ConsumerGroup`: a declared Redis consumer group and the Deployment that reads it. Useful without a Shop.

#![allow(
    clippy::duplicated_attributes,
    reason = "each print column has attributes of its own"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scaling::Scaling;

/// Which group, on which streams, read by which Deployment, and how it scales.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "shopwright.dev",
    version = "v1alpha1",
    kind = "ConsumerGroup",
    plural = "consumergroups",
    shortname = "cg",
    namespaced,
    status = "ConsumerGroupStatus",
    derive = "PartialEq",
    doc = "A Redis Streams consumer group, and the Deployment that reads it, scaled by its backlog.",
    category = "shopwright",
    printcolumn(name = "Backlog", type_ = "integer", json_path = ".status.backlog"),
    printcolumn(name = "Undelivered", type_ = "integer", json_path = ".status.undelivered"),
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.pending"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Min", type_ = "integer", json_path = ".spec.minReplicas"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.maxReplicas"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerGroupSpec {
    /// The Redis that holds the streams.
    pub redis: RedisAddress,
    /// The streams, by key; their backlogs are summed.
    #[schemars(schema_with = "streams_schema")]
    pub streams: Vec<StreamReference>,
    /// Name of the group. Immutable.
    #[schemars(length(min = 1, max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "group is immutable"}
    ]))]
    pub group: String,
    /// Where a group that does not exist yet begins. Immutable.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "startFrom is immutable"}
    ]))]
    pub start_from: StartFrom,
    /// What the names of the group's consumers are.
    #[serde(default)]
    pub consumer_names: ConsumerNames,
    /// The workload that is scaled.
    pub scale_target_ref: ScaleTargetRef,
    /// Bounds and aim.
    #[serde(flatten)]
    pub scaling: Scaling,
}

/// Where Redis listens and how to sign in.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct RedisAddress {
    /// Host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// TCP port.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Number of the database.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65535))]
    pub database: u32,
    /// A Secret of the same namespace with the keys `username` and `password`. Without one the operator signs in as nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

fn default_port() -> u16 {
    6379
}

/// A Secret of the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub struct SecretReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A stream of the group.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub struct StreamReference {
    /// The stream's key in Redis.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,
}

fn streams_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = generator.subschema_for::<StreamReference>();
    schemars::json_schema!({
        "type": "array",
        "items": item,
        "minItems": 1,
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["key"]
    })
}

/// Where a new group begins.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum StartFrom {
    /// With the oldest entry that is still there.
    #[default]
    #[serde(rename = "0")]
    Beginning,
    /// With the first entry added after the group was made.
    #[serde(rename = "$")]
    End,
}

/// What the names of the group's consumers are.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum ConsumerNames {
    /// Anything: whether one is dead can be judged by its idle time only.
    #[default]
    Any,
    /// Names of the target's pods: a consumer without a pod is dead.
    PodName,
}

/// The workload that is scaled, in the namespace of the ConsumerGroup.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.apiVersion == 'apps/v1' && self.kind == 'Deployment'", "message": "scaleTargetRef must be a Deployment of apps/v1"}
]))]
pub struct ScaleTargetRef {
    /// Group and version of its kind.
    #[serde(default = "default_api_version")]
    #[schemars(length(max = 253))]
    pub api_version: String,
    /// Its kind.
    #[serde(default = "default_kind")]
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn default_api_version() -> String {
    "apps/v1".into()
}

fn default_kind() -> String {
    "Deployment".into()
}

/// What the operator saw of a ConsumerGroup.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerGroupStatus {
    /// The generation of the spec that everything below speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` sums up the others.
    #[schemars(schema_with = "crate::condition::list_schema")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Messages before the consumers, undelivered and pending; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<i64>,
    /// Messages that no consumer has been given yet; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<i64>,
    /// Messages that were given to a consumer and are not acknowledged; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<i64>,
    /// Replicas of the target as last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Replicas the target was last told to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// The last change of the number of replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale: Option<LastScale>,
    /// Each stream by itself.
    #[schemars(schema_with = "stream_status_schema")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamStatus>,
}

/// One change of the number of replicas.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct LastScale {
    /// When it was written.
    #[schemars(schema_with = "crate::condition::time_schema")]
    pub time: Time,
    /// Replicas before.
    pub from: i32,
    /// Replicas after.
    pub to: i32,
    /// Why, in a fixed word.
    pub reason: String,
}

/// One stream of the group.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// The stream's key.
    pub key: String,
    /// Messages that no consumer has been given yet; absent while unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<i64>,
    /// Messages that were given to a consumer and are not acknowledged; absent while unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<i64>,
}

fn stream_status_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = generator.subschema_for::<StreamStatus>();
    schemars::json_schema!({
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["key"]
    })
}
