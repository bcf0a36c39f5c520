//! How a consumer follows its backlog: one type for `Shop.spec.consumers.*` and, flattened, for `ConsumerGroup.spec`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds and aim of a scaled consumer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.minReplicas <= self.maxReplicas", "message": "minReplicas must not be above maxReplicas"}
]))]
pub struct Scaling {
    /// Replicas while there is no backlog. 0 lets the consumer sleep until a message arrives.
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: i32,
    /// Never more replicas than this.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// What the number of replicas follows.
    pub target: Target,
    /// Seconds without any backlog before the replicas go to zero. Above zero, the largest need of the last 60 s rules when scaling down.
    #[schemars(range(min = 0, max = 86400))]
    pub cooldown_seconds: u32,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            min_replicas: 0,
            max_replicas: 10,
            target: Target::default(),
            cooldown_seconds: 60,
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
    /// Messages, undelivered and pending together, that one replica is to have before it. Replicas = backlog / this, rounded up.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub backlog_per_replica: i64,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            backlog_per_replica: 100,
        }
    }
}
