//! The `ConsumerGroup`: a declared Redis consumer group and the Deployment that reads it. Useful without a Shop.

#![allow(
    clippy::duplicated_attributes,
    reason = "each print column has attributes of its own"
)]

mod pending;
mod redis;
mod status;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use pending::{
    DeadLetters, MAX_CLAIM_MIN_IDLE_SECONDS, MAX_DELIVERIES, MAX_RETENTION_SECONDS, PendingSettings, Retention,
};
pub use redis::{RedisAddress, RedisTls, SecretReference};
pub use status::{ConsumerGroupStatus, LastDecision, MAX_RECENT_SCALES, RecentScale, StreamStatus};

use crate::scaling::{self, Scaling};

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
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "Decision",
        type_ = "string",
        json_path = ".status.decision.reason",
        priority = 1
    ),
    printcolumn(name = "Poison", type_ = "integer", json_path = ".status.poison", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = expressions()))]
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
    /// Where a group that does not exist yet begins. `"0"`, the default: with the oldest entry that is still there. `$`: with the first entry added after the group was made. A group that was lost is made again at the oldest entry in any case. Immutable.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "startFrom is immutable"}
    ]))]
    pub start_from: StartFrom,
    /// What the names of the group's consumers are. `Any`, the default: anything, so that only idle time tells a dead one. `PodName`: names of the target's pods, so that what a pod that is gone has left is handed to the others at once.
    #[serde(default)]
    pub consumer_names: ConsumerNames,
    /// The workload that is scaled.
    pub scale_target_ref: ScaleTargetRef,
    /// How pending messages, given to a consumer and not acknowledged, are judged. It must agree with what the consumers do.
    #[serde(default)]
    pub pending: PendingSettings,
    /// `{}` has the operator move poison that no consumer puts aside itself, with the reason and the original id, to the stream KEY:dead:GROUP, and acknowledge it in the same step. Absent, the default: poison stays where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<DeadLetters>,
    /// Have the operator trim the streams behind their slowest group. Absent, the default: nothing is trimmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Bounds and aim.
    #[serde(flatten)]
    pub scaling: Scaling,
}

/// What the schema cannot say, in CEL: the rules of `Scaling`, which is flattened into this type, and our own.
fn expressions() -> Vec<Value> {
    let mut rules = scaling::expressions();
    rules.push(json!({
        "rule": "!has(self.pending.deleteConsumersAfterSeconds) || self.consumerNames == 'PodName'",
        "message": "pending.deleteConsumersAfterSeconds needs consumerNames PodName",
    }));
    rules
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
    /// Names of the target's pods: what a pod that is gone has left is handed to the others at once.
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
