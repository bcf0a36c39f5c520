//! Conditions: the words both kinds share, and the merge that keeps transition times. Pure; the time is passed in.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The summary that `kubectl wait --for=condition=Ready` looks at.
pub const READY: &str = "Ready";
/// Something is under way.
pub const PROGRESSING: &str = "Progressing";
/// Something is worse than it should be, although work may go on.
pub const DEGRADED: &str = "Degraded";
/// The Redis of a Shop answers, has loaded and writes its append-only file.
pub const REDIS_READY: &str = "RedisReady";
/// The volume of a Shop's Redis is bound and large enough.
pub const STORAGE_READY: &str = "StorageReady";
/// The books of a Shop agree with each other. There only while `verification` is enabled.
pub const CONSISTENT: &str = "Consistent";
/// A ConsumerGroup's target can be scaled, and by nobody else.
pub const ABLE_TO_SCALE: &str = "AbleToScale";
/// The group exists on every one of its streams.
pub const GROUP_READY: &str = "GroupReady";
/// The backlog of a ConsumerGroup can be read from Redis.
pub const BACKLOG_KNOWN: &str = "BacklogKnown";
/// The backlog asks for more replicas than the maximum allows.
pub const SCALING_LIMITED: &str = "ScalingLimited";

/// A ConsumerGroup has work, or replicas that do it.
pub const ACTIVE: &str = "Active";
/// A ConsumerGroup is `paused`: its target is left as it is.
pub const PAUSED: &str = "Paused";
/// The backlog has been unknown for so long that `fallback` applies.
pub const FALLBACK: &str = "Fallback";
/// A group or the data of one of its streams was lost; entries may not have been handled.
pub const DATA_LOSS: &str = "DataLoss";
/// A stream is not trimmed, because of a group that no ConsumerGroup declares.
pub const TRIM_BLOCKED: &str = "TrimBlocked";
/// There are messages in a dead-letter stream of the group.
pub const DEAD_LETTERS: &str = "DeadLetters";
/// There are pending messages that were delivered too often.
pub const POISON: &str = "Poison";
/// Consumers hold messages under names that are no pod's of the target.
pub const UNKNOWN_CONSUMERS: &str = "UnknownConsumers";

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    True,
    /// It does not.
    False,
    /// That cannot be told now.
    Unknown,
}

impl Holds {
    /// Kubernetes's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// One condition as it is now, before it is merged with what was written earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The condition's type, one of the constants here.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: Holds,
    /// A fixed word in `CamelCase`.
    pub reason: &'static str,
    /// A sentence for people. Never a secret, a URL or a peer's text.
    pub message: String,
}

impl Fact {
    /// A condition as it is now.
    pub fn new(kind: &'static str, holds: impl Into<Holds>, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            holds: holds.into(),
            reason,
            message: message.into(),
        }
    }
}

/// The conditions to write: every fact, with the transition time kept where the status did not change. A condition no fact speaks of is dropped.
pub fn merge(
    previous: &[Condition],
    facts: &[Fact],
    observed_generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    facts
        .iter()
        .map(|fact| {
            let status = fact.holds.as_str();
            let unchanged = find(previous, fact.kind).filter(|earlier| earlier.status == status);
            Condition {
                type_: fact.kind.into(),
                status: status.into(),
                reason: fact.reason.into(),
                message: fact.message.clone(),
                observed_generation,
                last_transition_time: unchanged.map_or_else(
                    || Time(whole_seconds(now)),
                    |earlier| earlier.last_transition_time.clone(),
                ),
            }
        })
        .collect()
}

// The API server keeps whole seconds: anything finer would differ from what it gives back and be written for ever.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The condition of this type, if it is there.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of this type is there, True, and speaks of this generation.
pub fn is_true_at(conditions: &[Condition], kind: &str, generation: Option<i64>) -> bool {
    find(conditions, kind).is_some_and(|it| it.status == "True" && it.observed_generation == generation)
}

/// What of conditions matters to others: type, status, reason and the generation spoken of, without times and messages.
pub fn essence(conditions: &[Condition]) -> Vec<(String, String, String, Option<i64>)> {
    conditions
        .iter()
        .map(|it| {
            (
                it.type_.clone(),
                it.status.clone(),
                it.reason.clone(),
                it.observed_generation,
            )
        })
        .collect()
}

/// Schema of `status.conditions`: Kubernetes's own Condition, a list map by type.
pub(crate) fn list_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"}
            }
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"]
    })
}

/// Schema of a point in time.
pub(crate) fn time_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "format": "date-time"})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let first = merge(&[], &[Fact::new(READY, false, "Starting", "one")], Some(1), at(10));
        let same = merge(&first, &[Fact::new(READY, false, "Waiting", "two")], Some(2), at(20));
        assert_eq!(same[0].last_transition_time, Time(at(10)));
        assert_eq!(
            (same[0].reason.as_str(), same[0].observed_generation),
            ("Waiting", Some(2))
        );
        let turned = merge(&same, &[Fact::new(READY, true, "AsExpected", "")], Some(2), at(30));
        assert_eq!(turned[0].last_transition_time, Time(at(30)));
        let unknown = merge(
            &turned,
            &[Fact::new(READY, Holds::Unknown, "Lost", "")],
            Some(2),
            at(40),
        );
        assert_eq!(unknown[0].last_transition_time, Time(at(40)));
    }

    #[test]
    fn what_no_fact_speaks_of_is_dropped() {
        let before = merge(
            &[],
            &[Fact::new(READY, true, "A", ""), Fact::new(DEGRADED, true, "B", "")],
            None,
            at(1),
        );
        let after = merge(&before, &[Fact::new(READY, true, "A", "")], None, at(2));
        assert_eq!(after.len(), 1);
    }

    #[test]
    fn merging_the_same_facts_later_changes_nothing() {
        let facts = [Fact::new(READY, true, "AsExpected", "all is well")];
        let now = Timestamp::new(100, 999_999_999).unwrap();
        let first = merge(&[], &facts, Some(3), now);
        // as the API server gives it back: whole seconds
        let stored: Vec<Condition> = serde_json::from_str(&serde_json::to_string(&first).unwrap()).unwrap();
        assert_eq!(merge(&stored, &facts, Some(3), at(200)), stored);
    }

    #[test]
    fn an_old_generation_is_not_true() {
        let conditions = merge(&[], &[Fact::new(READY, true, "AsExpected", "")], Some(1), at(1));
        assert!(is_true_at(&conditions, READY, Some(1)));
        assert!(!is_true_at(&conditions, READY, Some(2)));
    }
}
