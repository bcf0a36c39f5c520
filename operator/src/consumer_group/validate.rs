//! From a `ConsumerGroup`'s spec to a plan that can be carried out, or every problem at once. Pure.
//!
//! The API server enforces the same rules, but objects may be older than the rules.

use std::{collections::BTreeSet, time::Duration};

use shopwright_api::{ConsumerGroupSpec, ConsumerNames, FallbackBehavior, RedisAddress, Scaling, StartFrom};
use shopwright_streams::group;

use super::identity::{EndpointKey, TlsKey};
use crate::scaling::{Fallback, FallbackRule, Policy, Steps};

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
    /// Whether a consumer's name says which pod it is.
    pub(super) consumer_names: ConsumerNames,
    pub(super) pending: PendingRules,
    /// Poison that nobody handles is moved to the dead letters.
    pub(super) dead_letters: bool,
    /// Older entries that no group needs are trimmed.
    pub(super) retention: Option<Duration>,
}

/// How pending entries are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PendingRules {
    /// Without a delivery for so long, an entry may be claimed by another consumer.
    pub(super) claim_min_idle: Duration,
    /// Deliveries that an entry gets before it is poison.
    pub(super) max_deliveries: u32,
    /// A dead consumer that holds nothing is deleted after so long.
    pub(super) delete_consumers_after: Option<Duration>,
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

    for (field, problem) in spec.scaling_problems() {
        // Those above have said so already, in words of their own.
        if !problems.iter().any(|known| known.contains(&format!("spec.{field} "))) {
            problems.push(format!("spec.{field} {problem}"));
        }
    }

    let (Ok(min), Some(max), Some(per_replica), Ok(database)) =
        (min, max, per_replica, u16::try_from(spec.redis.database))
    else {
        return Err(problems);
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Plan {
        endpoint: endpoint(namespace, &spec.redis, database),
        streams,
        group: spec.group.clone(),
        start: match spec.start_from {
            StartFrom::Beginning => group::StartFrom::Beginning,
            StartFrom::End => group::StartFrom::End,
        },
        target: target.name.clone(),
        policy: refine(
            Policy::new(min, max, per_replica, seconds(scaling.cooldown_seconds)),
            scaling,
        ),
        consumer_names: spec.consumer_names,
        pending: PendingRules {
            claim_min_idle: seconds(spec.pending.claim_min_idle_seconds),
            max_deliveries: spec.pending.max_deliveries,
            delete_consumers_after: spec.pending.delete_consumers_after_seconds.map(seconds),
        },
        dead_letters: spec.dead_letters.is_some(),
        retention: spec.retention.as_ref().map(|retention| seconds(retention.seconds)),
    })
}

fn endpoint(namespace: &str, redis: &RedisAddress, database: u16) -> EndpointKey {
    EndpointKey {
        namespace: namespace.to_owned(),
        host: host(namespace, &redis.host),
        port: redis.port,
        database,
        secret: redis.secret_ref.as_ref().map(|secret| secret.name.clone()),
        tls: redis.tls.as_ref().map(|tls| TlsKey {
            secret: tls.secret_ref.as_ref().map(|secret| secret.name.clone()),
            server_name: tls.server_name.clone().unwrap_or_else(|| redis.host.clone()),
        }),
    }
}

/// A name without a dot is a Service beside the `ConsumerGroup`; the operator's own namespace has nothing to do with it.
fn host(namespace: &str, host: &str) -> String {
    if host.contains(['.', ':']) || host == "localhost" {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc")
    }
}

fn refine(policy: Policy, scaling: &Scaling) -> Policy {
    let (up, down) = (&scaling.behavior.scale_up, &scaling.behavior.scale_down);
    let steps = |largest: Option<i32>, period: u32| Steps {
        largest: largest.and_then(|largest| u32::try_from(largest).ok()),
        period: seconds(period),
    };
    let fallback = scaling.fallback.as_ref().map(|fallback| Fallback {
        after: seconds(fallback.after_seconds),
        replicas: u32::try_from(fallback.replicas).unwrap_or(0),
        rule: match fallback.behavior {
            FallbackBehavior::Static => FallbackRule::Static,
            FallbackBehavior::CurrentReplicas => FallbackRule::CurrentReplicas,
            FallbackBehavior::CurrentReplicasIfHigher => FallbackRule::CurrentReplicasIfHigher,
            FallbackBehavior::CurrentReplicasIfLower => FallbackRule::CurrentReplicasIfLower,
        },
    });
    policy
        .with_activation(u64::try_from(scaling.activation_backlog).unwrap_or(0))
        .with_window(seconds(down.stabilization_window_seconds))
        .with_tolerance(down.tolerance_percent)
        .with_steps(
            // Without a limit of their size, steps up need not wait for each other.
            up.max_step
                .map_or(Steps::FREE, |_| steps(up.max_step, up.period_seconds)),
            steps(down.max_step, down.period_seconds),
        )
        .with_fallback(fallback)
        .with_paused(scaling.paused)
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
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
    fn a_host_without_a_dot_is_a_service_beside_the_group() {
        let host = |host: &str| {
            let mut spec = spec();
            spec.redis.host = host.to_owned();
            spec.redis.tls = Some(shopwright_api::RedisTls::default());
            let endpoint = validate("shop", &spec).expect("is valid").endpoint;
            (
                endpoint.host,
                endpoint.tls.map(|tls| tls.server_name).unwrap_or_default(),
            )
        };
        assert_eq!(host("redis"), ("redis.shop.svc".to_owned(), "redis".to_owned()));
        for as_given in ["redis.data", "redis.example.com", "10.0.0.1", "fd00::1", "localhost"] {
            assert_eq!(host(as_given), (as_given.to_owned(), as_given.to_owned()));
        }
    }

    #[test]
    fn every_scaling_field_reaches_the_policy() {
        let mut spec = spec();
        let scaling = &mut spec.scaling;
        scaling.activation_backlog = 7;
        scaling.paused = true;
        scaling.behavior.scale_up.max_step = Some(3);
        scaling.behavior.scale_down.stabilization_window_seconds = 30;
        scaling.behavior.scale_down.tolerance_percent = 20;
        scaling.fallback = Some(shopwright_api::Fallback {
            after_seconds: 40,
            replicas: 2,
            behavior: FallbackBehavior::Static,
        });
        let policy = validate("shop", &spec).expect("is valid").policy;
        assert_eq!(
            (
                policy.activation(),
                policy.window_milliseconds(),
                policy.tolerance_percent()
            ),
            (7, 30_000, 20)
        );
        assert_eq!((policy.up().largest, policy.down().largest), (Some(3), None));
        assert!(policy.is_paused());
        assert_eq!(
            policy.fallback().map(|it| (it.replicas, it.rule)),
            Some((2, FallbackRule::Static))
        );
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
