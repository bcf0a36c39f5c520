//! What becomes of entries that consumers leave behind: claimed by others, put aside as poison, trimmed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConsumerGroupSpec, ConsumerNames};

/// Longest time before an idle message may be claimed: a day.
pub const MAX_CLAIM_MIN_IDLE_SECONDS: u32 = 86_400;
/// Most deliveries that can be allowed.
pub const MAX_DELIVERIES: u32 = 10_000;
/// Longest retention, and longest wait before a dead consumer's name goes: a year.
pub const MAX_RETENTION_SECONDS: u32 = 31_536_000;

/// How pending messages are judged.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct PendingSettings {
    /// Seconds without a sign of life after which other consumers claim a pending message. Default 60. Such messages keep at least one replica alive.
    #[schemars(range(min = 1, max = MAX_CLAIM_MIN_IDLE_SECONDS))]
    pub claim_min_idle_seconds: u32,
    /// Deliveries of one message before it counts as poison. Default 5. Poison does not count in the backlog, but keeps one replica alive until it is put aside or acknowledged.
    #[schemars(range(min = 1, max = MAX_DELIVERIES))]
    pub max_deliveries: u32,
    /// Seconds after a pod is gone before its consumer is deleted from the group, if nothing is pending for it any more. Absent, the default: consumers are never deleted. Needs `consumerNames: PodName`.
    #[schemars(range(min = 1, max = MAX_RETENTION_SECONDS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_consumers_after_seconds: Option<u32>,
}

impl Default for PendingSettings {
    fn default() -> Self {
        Self {
            claim_min_idle_seconds: 60,
            max_deliveries: 5,
            delete_consumers_after_seconds: None,
        }
    }
}

/// Whether the operator puts poison aside. A struct, so that it can grow.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetters {}

/// Which entries are trimmed from the streams.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// Seconds that every entry is kept, at the least. Default 3600. Older ones go once every declared group has acknowledged them. A group on the stream that no ConsumerGroup of this namespace declares stops the trimming.
    #[schemars(range(min = 0, max = MAX_RETENTION_SECONDS))]
    pub seconds: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { seconds: 3600 }
    }
}

impl ConsumerGroupSpec {
    /// Every rule that `scaling`, `pending` and `retention` break: the field, as a path from the spec, and what it has to be.
    pub fn scaling_problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = self.scaling.problems();
        let mut within = |field: &'static str, value: u32, low: u32, high: u32| {
            if !(low..=high).contains(&value) {
                problems.push((field, format!("must be between {low} and {high}, is {value}")));
            }
        };
        let pending = &self.pending;
        let idle = pending.claim_min_idle_seconds;
        within("pending.claimMinIdleSeconds", idle, 1, MAX_CLAIM_MIN_IDLE_SECONDS);
        within("pending.maxDeliveries", pending.max_deliveries, 1, MAX_DELIVERIES);
        if let Some(seconds) = pending.delete_consumers_after_seconds {
            within("pending.deleteConsumersAfterSeconds", seconds, 1, MAX_RETENTION_SECONDS);
        }
        if let Some(retention) = &self.retention {
            within("retention.seconds", retention.seconds, 0, MAX_RETENTION_SECONDS);
        }
        if pending.delete_consumers_after_seconds.is_some() && self.consumer_names != ConsumerNames::PodName {
            problems.push((
                "pending.deleteConsumersAfterSeconds",
                "needs consumerNames PodName".to_owned(),
            ));
        }
        problems
    }
}
