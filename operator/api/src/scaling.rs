//! How a consumer follows its backlog: one type for `Shop.spec.consumers.*` and, flattened, for `ConsumerGroup.spec`.

mod behavior;
mod rules;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use behavior::{Behavior, Fallback, FallbackBehavior, ScaleDown, ScaleUp};
pub(crate) use rules::expressions;
pub use rules::{
    MAX_BACKLOG, MAX_REPLICAS, MAX_SECONDS, MAX_STEP_PERIOD_SECONDS, MAX_TOLERANCE_PERCENT, MIN_FALLBACK_SECONDS,
};

/// Bounds and aim of a scaled consumer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = expressions()))]
pub struct Scaling {
    /// Fewest replicas. 0, the default, lets the consumer sleep until a message arrives.
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub min_replicas: i32,
    /// Most replicas. Default 10.
    #[schemars(range(min = 1, max = MAX_REPLICAS))]
    pub max_replicas: i32,
    /// What the number of replicas follows.
    pub target: Target,
    /// From zero replicas, start only when the backlog is larger than this. Default 0: the first message starts a replica. Messages that a dead consumer left, and messages delivered too often, start one in any case.
    #[schemars(range(min = 0, max = MAX_BACKLOG))]
    pub activation_backlog: i64,
    /// Seconds without any work before the workload goes to zero. Default 60. A message that arrives in between begins them anew. Of no effect with minReplicas above 0.
    #[schemars(range(min = 0, max = MAX_SECONDS))]
    pub cooldown_seconds: u32,
    /// How fast the number of replicas may change.
    pub behavior: Behavior,
    /// What to do while the backlog has been unknown for long, because Redis does not answer. Absent, the default: the number of replicas stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// Look, decide and report, but change nothing: neither replicas nor anything in Redis, except that a missing group is made. Default false. status.desiredReplicas and status.decision say what would be done; minReplicas, maxReplicas and fallback are not enforced meanwhile.
    pub paused: bool,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            min_replicas: 0,
            max_replicas: 10,
            target: Target::default(),
            activation_backlog: 0,
            cooldown_seconds: 60,
            behavior: Behavior::default(),
            fallback: None,
            paused: false,
        }
    }
}

impl Scaling {
    /// The defaults, with another aim.
    pub fn with_backlog_per_replica(backlog_per_replica: i64) -> Self {
        Self {
            target: Target { backlog_per_replica },
            ..Self::default()
        }
    }
}

/// What the number of replicas follows.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct Target {
    /// Messages, undelivered and pending together, that one replica is to have before it. Replicas = backlog / this, rounded up. Default 100 (20 for the payments consumer of a Shop).
    #[schemars(range(min = 1, max = MAX_BACKLOG))]
    pub backlog_per_replica: i64,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            backlog_per_replica: 100,
        }
    }
}
