//! What a valid `Scaling` is: once as CEL for the API server, once in Rust for objects older than a rule.

use serde_json::{Value, json};

use super::Scaling;

/// Most replicas that can be asked for.
pub const MAX_REPLICAS: i32 = 1000;
/// Longest cool-down, window and wait for the fallback: a day.
pub const MAX_SECONDS: u32 = 86_400;
/// Longest time between two steps.
pub const MAX_STEP_PERIOD_SECONDS: u32 = 3600;
/// Below a half, so that going from two replicas to one is never too small a fall.
pub const MAX_TOLERANCE_PERCENT: u32 = 49;
/// One slow answer is no outage.
pub const MIN_FALLBACK_SECONDS: u32 = 10;
/// Largest number of messages in a spec.
pub const MAX_BACKLOG: i64 = 1_000_000_000;

/// What the schema of `Scaling` cannot say, in CEL.
pub(crate) fn expressions() -> Vec<Value> {
    vec![
        json!({"rule": "self.minReplicas <= self.maxReplicas", "message": "minReplicas must not be above maxReplicas"}),
        json!({
            "rule": "!has(self.fallback) || self.fallback.replicas <= self.maxReplicas",
            "message": "fallback.replicas must not be above maxReplicas",
        }),
    ]
}

impl Scaling {
    /// Every rule that is broken: the field, as a path from here, and what it has to be.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut within = |field: &'static str, value: i64, low: i64, high: i64| {
            if !(low..=high).contains(&value) {
                problems.push((field, format!("must be between {low} and {high}, is {value}")));
            }
        };
        let (most, longest) = (i64::from(MAX_REPLICAS), i64::from(MAX_SECONDS));
        let longest_period = i64::from(MAX_STEP_PERIOD_SECONDS);
        let (up, down) = (&self.behavior.scale_up, &self.behavior.scale_down);
        within("minReplicas", self.min_replicas.into(), 0, most);
        within("maxReplicas", self.max_replicas.into(), 1, most);
        within(
            "target.backlogPerReplica",
            self.target.backlog_per_replica,
            1,
            MAX_BACKLOG,
        );
        within("activationBacklog", self.activation_backlog, 0, MAX_BACKLOG);
        within("cooldownSeconds", self.cooldown_seconds.into(), 0, longest);
        if let Some(step) = up.max_step {
            within("behavior.scaleUp.maxStep", step.into(), 1, most);
        }
        within(
            "behavior.scaleUp.periodSeconds",
            up.period_seconds.into(),
            0,
            longest_period,
        );
        let window = down.stabilization_window_seconds.into();
        within("behavior.scaleDown.stabilizationWindowSeconds", window, 0, longest);
        let tolerance = down.tolerance_percent.into();
        within(
            "behavior.scaleDown.tolerancePercent",
            tolerance,
            0,
            MAX_TOLERANCE_PERCENT.into(),
        );
        if let Some(step) = down.max_step {
            within("behavior.scaleDown.maxStep", step.into(), 1, most);
        }
        within(
            "behavior.scaleDown.periodSeconds",
            down.period_seconds.into(),
            0,
            longest_period,
        );
        if let Some(fallback) = &self.fallback {
            let after = fallback.after_seconds.into();
            within("fallback.afterSeconds", after, MIN_FALLBACK_SECONDS.into(), longest);
            within(
                "fallback.replicas",
                fallback.replicas.into(),
                0,
                self.max_replicas.into(),
            );
        }
        if self.min_replicas > self.max_replicas {
            problems.push(("minReplicas", "must not be above maxReplicas".to_owned()));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scaling::FallbackBehavior;

    #[test]
    fn the_defaults_are_valid_and_say_what_they_are() {
        let scaling: Scaling = serde_json::from_value(json!({"fallback": {"replicas": 3}})).unwrap();
        assert_eq!(scaling.problems(), []);
        let fallback = scaling.fallback.unwrap();
        assert_eq!(fallback.after_seconds, 30);
        assert_eq!(
            fallback.behavior,
            FallbackBehavior::CurrentReplicasIfHigher,
            "taking away on an unknown backlog must be asked for"
        );
        let defaults = serde_json::to_value(Scaling::default()).unwrap();
        assert_eq!(
            defaults,
            json!({
                "minReplicas": 0, "maxReplicas": 10, "target": {"backlogPerReplica": 100}, "activationBacklog": 0,
                "cooldownSeconds": 60, "paused": false,
                "behavior": {
                    "scaleUp": {"periodSeconds": 15},
                    "scaleDown": {"stabilizationWindowSeconds": 60, "tolerancePercent": 10, "periodSeconds": 15},
                },
            })
        );
    }

    #[test]
    fn every_broken_rule_is_named_with_its_field() {
        let scaling: Scaling = serde_json::from_value(json!({
            "minReplicas": -1, "maxReplicas": 0, "target": {"backlogPerReplica": 0}, "activationBacklog": -1,
            "cooldownSeconds": 100_000, "fallback": {"replicas": 1001, "afterSeconds": 1},
            "behavior": {
                "scaleUp": {"maxStep": 0, "periodSeconds": 3601},
                "scaleDown": {
                    "stabilizationWindowSeconds": 100_000, "tolerancePercent": 50, "maxStep": 0, "periodSeconds": 3601,
                },
            },
        }))
        .unwrap();
        let fields: Vec<_> = scaling.problems().into_iter().map(|(field, _)| field).collect();
        assert_eq!(
            fields,
            [
                "minReplicas",
                "maxReplicas",
                "target.backlogPerReplica",
                "activationBacklog",
                "cooldownSeconds",
                "behavior.scaleUp.maxStep",
                "behavior.scaleUp.periodSeconds",
                "behavior.scaleDown.stabilizationWindowSeconds",
                "behavior.scaleDown.tolerancePercent",
                "behavior.scaleDown.maxStep",
                "behavior.scaleDown.periodSeconds",
                "fallback.afterSeconds",
                "fallback.replicas",
            ]
        );
        let crossed = Scaling {
            min_replicas: 11,
            ..Scaling::default()
        };
        assert_eq!(
            crossed.problems(),
            [("minReplicas", "must not be above maxReplicas".to_owned())]
        );
    }
}
