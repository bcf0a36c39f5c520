//! From a `ConsumerGroup`'s spec to a plan that can be carried out, or every problem at once. Pure.
//!
//! The API server enforces the same rules, but objects may be older than the rules.

use std::{collections::BTreeSet, time::Duration};

use shopwright_api::{ConsumerGroupSpec, StartFrom};
use shopwright_streams::group;

use super::identity::EndpointKey;
use crate::scaling::Policy;

/// A valid spec, in the terms of this controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) endpoint: EndpointKey,
    pub(super) streams: Vec<String>,
    pub(super) group: String,
    pub(super) start: group::StartFrom,
    /// Name of the Deployment.
    pub(super) target: String,
    pub(super) policy: Policy,
}

/// Most streams of one group.
const MAX_STREAMS: usize = 8;

/// The plan of a group in `namespace`, or what is wrong with its spec, each problem with its field.
pub(super) fn validate(namespace: &str, spec: &ConsumerGroupSpec) -> Result<Plan, Vec<String>> {
    let mut problems = Vec::new();
    let mut require = |holds: bool, problem: &str| {
        if !holds {
            problems.push(problem.to_owned());
        }
    };
    let streams: Vec<String> = spec.streams.iter().map(|stream| stream.key.clone()).collect();
    let different: BTreeSet<&String> = streams.iter().collect();
    require(!spec.redis.host.is_empty(), "spec.redis.host must not be empty");
    require(spec.redis.port > 0, "spec.redis.port must be from 1 to 65535");
    require(
        u16::try_from(spec.redis.database).is_ok(),
        "spec.redis.database must be at most 65535",
    );
    require(
        (1..=MAX_STREAMS).contains(&streams.len()),
        "spec.streams must have 1 to 8 entries",
    );
    require(
        streams.iter().all(|key| !key.is_empty()),
        "spec.streams: key must not be empty",
    );
    require(
        different.len() == streams.len(),
        "spec.streams must not name a key twice",
    );
    require(!spec.group.is_empty(), "spec.group must not be empty");
    let target = &spec.scale_target_ref;
    let is_deployment = target.api_version == "apps/v1" && target.kind == "Deployment";
    require(is_deployment, "spec.scaleTargetRef must be a Deployment of apps/v1");
    require(!target.name.is_empty(), "spec.scaleTargetRef.name must not be empty");
    let scaling = &spec.scaling;
    let min = u32::try_from(scaling.min_replicas);
    let max = u32::try_from(scaling.max_replicas).ok().filter(|max| *max >= 1);
    let per_replica = u64::try_from(scaling.target.backlog_per_replica)
        .ok()
        .filter(|target| *target >= 1);
    require(min.is_ok(), "spec.minReplicas must not be negative");
    require(max.is_some(), "spec.maxReplicas must be at least 1");
    require(
        scaling.min_replicas <= scaling.max_replicas,
        "spec.minReplicas must not be above spec.maxReplicas",
    );
    require(
        per_replica.is_some(),
        "spec.target.backlogPerReplica must be at least 1",
    );

    let (Ok(min), Some(max), Some(per_replica), Ok(database)) =
        (min, max, per_replica, u16::try_from(spec.redis.database))
    else {
        return Err(problems);
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Plan {
        endpoint: EndpointKey {
            namespace: namespace.to_owned(),
            host: spec.redis.host.clone(),
            port: spec.redis.port,
            database,
            secret: spec.redis.secret_ref.as_ref().map(|secret| secret.name.clone()),
        },
        streams,
        group: spec.group.clone(),
        start: match spec.start_from {
            StartFrom::Beginning => group::StartFrom::Beginning,
            StartFrom::End => group::StartFrom::End,
        },
        target: target.name.clone(),
        policy: Policy::new(
            min,
            max,
            per_replica,
            Duration::from_secs(u64::from(scaling.cooldown_seconds)),
        ),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn spec() -> ConsumerGroupSpec {
        serde_json::from_value(json!({
            "redis": {"host": "redis", "secretRef": {"name": "credentials"}},
            "streams": [{"key": "orders"}],
            "group": "workers",
            "scaleTargetRef": {"name": "worker"},
            "maxReplicas": 5,
        }))
        .expect("a spec")
    }

    #[test]
    fn a_small_spec_gets_its_defaults() {
        let plan = validate("shop", &spec()).expect("is valid");
        assert_eq!(plan.endpoint.port, 6379);
        assert_eq!(plan.endpoint.secret.as_deref(), Some("credentials"));
        assert_eq!(plan.policy, Policy::new(0, 5, 100, Duration::from_mins(1)));
    }

    #[test]
    fn names_every_problem_at_once() {
        let mut wrong = spec();
        wrong.redis.host.clear();
        wrong.streams.push(wrong.streams[0].clone());
        wrong.scaling.min_replicas = 9;
        wrong.scaling.max_replicas = 0;
        wrong.scaling.target.backlog_per_replica = 0;
        wrong.scale_target_ref.kind = "StatefulSet".to_owned();
        let problems = validate("shop", &wrong).expect_err("is invalid").join("; ");
        for field in [
            "redis.host",
            "streams",
            "maxReplicas",
            "minReplicas",
            "backlogPerReplica",
            "scaleTargetRef",
        ] {
            assert!(problems.contains(field), "{field} is missing in {problems}");
        }
    }
}
