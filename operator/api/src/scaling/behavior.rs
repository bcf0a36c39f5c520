//! How fast a consumer may scale, and what it does while its backlog is unknown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{MAX_REPLICAS, MAX_SECONDS, MAX_STEP_PERIOD_SECONDS, MAX_TOLERANCE_PERCENT, MIN_FALLBACK_SECONDS};

/// How fast the number of replicas may change.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct Behavior {
    /// On the way up. By default the whole need is met at once, in one step.
    pub scale_up: ScaleUp,
    /// On the way down. A lowered maxReplicas is obeyed at once in any case.
    pub scale_down: ScaleDown,
}

/// On the way up.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleUp {
    /// Most replicas added by one step. Absent, the default: no limit. Reaching minReplicas is never limited.
    #[schemars(range(min = 1, max = MAX_REPLICAS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_step: Option<i32>,
    /// Seconds from one step to the next. Default 15. Without maxStep, and for the step from zero, it has no effect.
    #[schemars(range(min = 0, max = MAX_STEP_PERIOD_SECONDS))]
    pub period_seconds: u32,
}

impl Default for ScaleUp {
    fn default() -> Self {
        Self {
            max_step: None,
            period_seconds: 15,
        }
    }
}

/// On the way down.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleDown {
    /// Seconds to look back: as many replicas stay as were needed at any time since then. Default 60. Without work and arrivals for 10 s, all but the last replica go at once; if they are needed again within these seconds, that is not done for ten times as long. Replicas that somebody else added are kept for these seconds or for cooldownSeconds, whichever is longer.
    #[schemars(range(min = 0, max = MAX_SECONDS))]
    pub stabilization_window_seconds: u32,
    /// A fall in need of no more than this many percent of the replicas changes nothing, unless there is no work at all. Default 10.
    #[schemars(range(min = 0, max = MAX_TOLERANCE_PERCENT))]
    pub tolerance_percent: u32,
    /// Most replicas taken away by one step. Absent, the default: no limit.
    #[schemars(range(min = 1, max = MAX_REPLICAS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_step: Option<i32>,
    /// Seconds from one step to the next, with or without maxStep. Default 15.
    #[schemars(range(min = 0, max = MAX_STEP_PERIOD_SECONDS))]
    pub period_seconds: u32,
}

impl Default for ScaleDown {
    fn default() -> Self {
        Self {
            stabilization_window_seconds: 60,
            tolerance_percent: 10,
            max_step: None,
            period_seconds: 15,
        }
    }
}

/// What to do while the backlog has been unknown for long.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// Seconds without an answer before it applies. Default 30.
    #[serde(default = "default_after_seconds")]
    #[schemars(range(min = MIN_FALLBACK_SECONDS, max = MAX_SECONDS))]
    pub after_seconds: u32,
    /// The number of replicas that `behavior` speaks of. At most maxReplicas; minReplicas is kept in any case.
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub replicas: i32,
    /// How `replicas` is meant. `Static`: exactly so many. `CurrentReplicas`: as many as there are, whatever `replicas` says; only the condition Fallback tells of it. `CurrentReplicasIfHigher`, the default: as many as there are, but at least `replicas`. `CurrentReplicasIfLower`: as many as there are, but at most `replicas`. `Static` and `CurrentReplicasIfLower` can take replicas away although nobody knows whether there is work.
    #[serde(default)]
    pub behavior: FallbackBehavior,
}

fn default_after_seconds() -> u32 {
    30
}

/// How `fallback.replicas` is meant; the words are KEDA's.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum FallbackBehavior {
    /// Exactly so many.
    Static,
    /// As many as there are; `replicas` is not looked at.
    CurrentReplicas,
    /// As many as there are, but at least `replicas`. The default, because it never takes anything away.
    #[default]
    CurrentReplicasIfHigher,
    /// As many as there are, but at most `replicas`.
    CurrentReplicasIfLower,
}
