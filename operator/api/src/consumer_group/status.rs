//! `ConsumerGroup.status`: what the operator saw and did. Written only when something changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most changes of replicas that status remembers.
pub const MAX_RECENT_SCALES: usize = 5;

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
    /// Messages before the consumers, undelivered and pending, without poison and without those that no longer exist; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<i64>,
    /// Messages that no consumer has been given yet; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<i64>,
    /// Messages that were given to a consumer and are not acknowledged; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<i64>,
    /// Whether the figures were counted exactly. False: the backlog is an estimate, and nothing is scaled down by it. Absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// Of the pending messages, those that a living consumer works on; absent while unknown or not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<i64>,
    /// Of the pending messages, those that wait for another consumer to claim them; absent while unknown or not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaimable: Option<i64>,
    /// Pending messages delivered too often, which no longer count in the backlog; absent while unknown or not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poison: Option<i64>,
    /// Pending entries whose message no longer exists in the stream; absent while unknown or not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ghosts: Option<i64>,
    /// Seconds since the pending message that waits longest was last delivered; absent while unknown or nothing is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_pending_seconds: Option<i64>,
    /// Messages in the dead-letter streams of the group; absent without spec.deadLetters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<i64>,
    /// Consumers with pending messages whose names were never seen as a pod of the target; absent unless `consumerNames` is `PodName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_consumers: Option<i64>,
    /// Replicas of the target as last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Replicas the target should have: what it was last told or, while paused, what it would be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// Why the target has as many replicas as it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<LastDecision>,
    /// The last changes of the number of replicas, newest first, at most 5.
    #[schemars(length(max = MAX_RECENT_SCALES))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent_scales: Vec<RecentScale>,
    /// Each stream by itself.
    #[schemars(schema_with = "stream_status_schema")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamStatus>,
}

/// Why there are as many replicas as there are.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct LastDecision {
    /// Since when this has been the answer.
    #[schemars(schema_with = "crate::condition::time_schema")]
    pub time: Time,
    /// Replicas at that time.
    pub replicas: i32,
    /// Replicas wanted.
    pub desired: i32,
    /// Why, in a fixed word.
    pub reason: String,
    /// Why, in a sentence with the figures of that time.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// One change of the number of replicas.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct RecentScale {
    /// When it was written.
    #[schemars(schema_with = "crate::condition::time_schema")]
    pub time: Time,
    /// Replicas before.
    pub from: i32,
    /// Replicas after.
    pub to: i32,
    /// Why, in a fixed word.
    pub reason: String,
    /// Why, in a sentence with the figures of that time.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
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
    /// How `undelivered` was found: `Tail`, `Head`, `Anchor`, `CountedRight`, `CountedLeft`: exactly; `Estimated`: between bounds that were proven; absent while unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
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
