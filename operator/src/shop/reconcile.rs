//! One pass over one Shop: the stages in order, what is written into its status, and when to look again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use jiff::Timestamp;
use kube::{ResourceExt, runtime::controller::Action};
use rand::RngExt as _;
use shopwright_api::{
    Shop, ShopStatus,
    condition::{self, DEGRADED},
    names::{self, Component, REDIS_PORT},
};
use shopwright_domain::access::User;
use shopwright_streams::{Endpoint, Secret};
use tracing::{Instrument as _, info_span, warn};

use super::{
    Context, Guarded,
    apply::{Applied, Applier, Refusal},
    build, conditions,
    credentials::Credentials,
    error::Error,
    gather,
    kinds::Kind,
    memory::{Key, KnownCredentials, Memory},
    probe::RedisHealth,
    publish::FIGURES,
    secrets::{Keeper, Outcome as SecretsOutcome},
    status::{self, CONSUMERS, Rollout},
    validate::{ValidShop, validate},
    verdict::Verdict,
};
use crate::{
    events::Reason,
    lease::WriteToken,
    metrics::{Controller, Outcome},
};

/// A Shop at rest is looked at this often, spread by a tenth.
pub(super) const RESYNC: Duration = Duration::from_mins(10);
/// Secrets are not watched: a pass reads them again when it was this long ago.
const CREDENTIALS_AGE: Duration = Duration::from_mins(1);
/// Consumers may be without an available pod for this long before it is told.
const STARVATION: Duration = Duration::from_mins(1);
/// After this long, credentials that Redis refuses are read again.
const STALE_CREDENTIALS: Duration = Duration::from_secs(5);
/// The longest that one pass may take; beyond it something hangs, and others wait for the slot.
const PASS_DEADLINE: Duration = Duration::from_mins(1);

/// Namespace and name.
pub(super) fn key(object: &Guarded) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

pub(super) async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let Ok(token) = context.leadership.token() else {
        // Winning the lease reconciles all.
        return Ok(Action::await_change());
    };
    if context.caches.filled().now_or_never() != Some(true) {
        // Not waited for: the caches are filled by the same task that would be waiting.
        return Ok(Action::requeue(Duration::from_millis(100)));
    }
    let key = key(&object);
    let started = Instant::now();
    let span = info_span!("reconcile", controller = "shop", namespace = key.0, name = key.1);
    let pass = Pass {
        context: &context,
        token: &token,
        key: &key,
    };
    let result = async {
        let result = tokio::time::timeout(PASS_DEADLINE, pass.over(&object))
            .await
            .unwrap_or(Err(Error::Deadline));
        if let Err(error) = &result {
            warn!(%error, "reconcile failed");
        }
        result
    }
    .instrument(span)
    .await;
    let outcome = match &result {
        Ok((outcome, _)) => *outcome,
        Err(Error::NotLeader(_)) => Outcome::Waiting,
        Err(_) => Outcome::Retry,
    };
    if let Err(error) = &result
        && let Some(status) = error.status()
    {
        context.metrics.api_error(Controller::Shop, status);
    }
    context.metrics.reconciled(Controller::Shop, outcome, started.elapsed());
    let (_, action) = result?;
    context.memories.succeeded(&key);
    Ok(action)
}

/// One pass over one Shop.
pub(super) struct Pass<'a> {
    pub(super) context: &'a Context,
    pub(super) token: &'a WriteToken,
    pub(super) key: &'a Key,
}

impl Pass<'_> {
    async fn over(&self, object: &Guarded) -> Result<(Outcome, Action), Error> {
        let shop = match &object.0 {
            Ok(shop) => shop,
            Err(invalid) => return self.unreadable(&invalid.error, &invalid.metadata).await,
        };
        if shop.metadata.deletion_timestamp.is_some() {
            self.context.stop_watching(self.key);
            return Ok((Outcome::Waiting, Action::await_change()));
        }
        let memory = self.context.memories.of(self.key);
        let mut memory = memory.lock().await;
        let uid = shop.uid().unwrap_or_default();
        if memory.uid != uid {
            *memory = Memory {
                uid,
                ..Memory::default()
            };
        }
        let previous = previous_status(shop, &memory);
        let now = Timestamp::now();
        let valid = match validate(shop, &self.context.settings) {
            Ok(valid) => valid,
            Err(problems) => {
                let status = status::invalid(&problems, shop.metadata.generation, &previous, now);
                self.write_status(shop, &mut memory, &previous, status).await?;
                return Ok((Outcome::Invalid, Action::await_change()));
            }
        };
        match self.stages(shop, &valid, &mut memory, &previous).await {
            // The API server answered, and not as it should: say so, then try again.
            Err(error) if error.status().is_some() => {
                let status = status::not_applied("ApplyFailed", &error.summary(), valid.generation, &previous, now);
                // A status that cannot be written either must not hide the error itself.
                let _ = self.write_status(shop, &mut memory, &previous, status).await;
                Err(error)
            }
            other => other,
        }
    }

    async fn stages(
        &self,
        shop: &Shop,
        valid: &ValidShop,
        memory: &mut Memory,
        previous: &ShopStatus,
    ) -> Result<(Outcome, Action), Error> {
        let context = self.context;
        let credentials = match self.credentials(shop, valid, memory).await? {
            Ok(credentials) => credentials,
            Err(refusals) => {
                let (reason, message) = conditions::refused(&refusals).unwrap_or(("SecretsMissing", String::new()));
                let status = status::not_applied(reason, &message, valid.generation, previous, Timestamp::now());
                self.write_status(shop, memory, previous, status).await?;
                return Ok((Outcome::Waiting, Action::requeue(after_refusals(&refusals))));
            }
        };
        let mut observed = gather::cached(&context.caches, valid);
        let claimed = gather::claimed_bytes(&observed, valid);
        let wanted = build::children(valid, &context.settings, &credentials, claimed);
        gather::missing(&context.client, valid, &wanted, &mut observed).await?;
        let applier = Applier {
            client: &context.client,
            token: self.token,
            shop: valid,
        };
        let outcome = applier.children(wanted, &observed, memory).await?;
        self.conclude(shop, valid, memory, previous, &credentials, &outcome)
            .await
    }

    /// What was applied, and how Redis is, make the status and the time of the next look.
    async fn conclude(
        &self,
        shop: &Shop,
        valid: &ValidShop,
        memory: &mut Memory,
        previous: &ShopStatus,
        credentials: &Credentials,
        applied: &Applied,
    ) -> Result<(Outcome, Action), Error> {
        self.tell(shop, applied).await;
        let redis = self
            .context
            .prober
            .health(self.key, &endpoint(valid, credentials, User::Operator));
        if redis.is_none() && !previous.conditions.is_empty() {
            // The first look is under way and will wake us: until then what was true before a restart stays written.
            return Ok((Outcome::Waiting, Action::requeue(Duration::from_secs(3))));
        }
        let now = Timestamp::now();
        let starved = starved(applied, valid, memory, previous, now);
        let status = status::of(&status::View {
            shop: valid,
            applied,
            redis,
            starved: &starved,
            books: self.books(valid, credentials),
            previous,
            now,
        });
        let busy = status.backlog != Some(0) || status.consumer_replicas != Some(0);
        let wait = self.write_status(shop, memory, previous, status).await?;
        let denied = matches!(redis, Some(RedisHealth::Denied(_)));
        let again = [
            wait,
            busy.then_some(FIGURES),
            denied.then_some(STALE_CREDENTIALS),
            memory
                .starved
                .as_ref()
                .is_some_and(|it| !it.is_empty())
                .then_some(FIGURES),
            (!applied.refusals.is_empty()).then(|| after_refusals(&applied.refusals)),
        ];
        let resync = RESYNC.mul_f64(rand::rng().random_range(0.9..1.1));
        let again = again.into_iter().flatten().min().unwrap_or(resync);
        Ok((Outcome::Success, Action::requeue(again)))
    }

    /// What is known of the shop's books, if it wants them to be compared.
    fn books(&self, shop: &ValidShop, credentials: &Credentials) -> Option<Verdict> {
        let verifier = &self.context.verifier;
        let settings = &shop.spec.verification;
        if !settings.enabled {
            verifier.forget(self.key);
            return None;
        }
        let interval = Duration::from_secs(settings.interval_seconds.into());
        Some(verifier.verdict(self.key, &endpoint(shop, credentials, User::Verify), interval))
    }

    /// What the Secrets hold: as remembered, or read and completed when that is too long ago or Redis refuses it.
    async fn credentials(
        &self,
        shop: &Shop,
        valid: &ValidShop,
        memory: &mut Memory,
    ) -> Result<Result<Credentials, Vec<Refusal>>, Error> {
        if let Some(known) = &memory.credentials {
            let health = self
                .context
                .prober
                .health(self.key, &endpoint(valid, &known.credentials, User::Operator));
            let refused = matches!(health, Some(RedisHealth::Denied(_))) && known.read.elapsed() >= STALE_CREDENTIALS;
            if known.read.elapsed() < CREDENTIALS_AGE && !refused {
                return Ok(Ok(known.credentials.clone()));
            }
        }
        let read = Instant::now();
        let secrets = gather::secrets(&self.context.client, valid).await?;
        let keeper = Keeper {
            client: &self.context.client,
            token: self.token,
            shop: valid,
        };
        match keeper.complete(secrets).await? {
            SecretsOutcome::Complete { credentials, created } => {
                if created {
                    let note = "made passwords for Redis and the key for product writes";
                    self.event(shop, Reason::CredentialsCreated, "CreateSecrets", note)
                        .await;
                }
                let known = KnownCredentials {
                    credentials: credentials.clone(),
                    read,
                };
                memory.credentials = Some(known);
                Ok(Ok(credentials))
            }
            SecretsOutcome::Blocked(refusals) => Ok(Err(refusals)),
        }
    }

    /// A Shop that this version cannot read, made before its CRD was as it is.
    async fn unreadable(&self, error: &str, metadata: &kube::core::ObjectMeta) -> Result<(Outcome, Action), Error> {
        let problem = super::validate::Problem {
            field: "spec".into(),
            message: format!("cannot be read: {error}"),
        };
        let mut status = status::invalid(
            &[problem],
            metadata.generation,
            &ShopStatus::default(),
            Timestamp::now(),
        );
        let memory = self.context.memories.of(self.key);
        let mut memory = memory.lock().await;
        if let Some((written, _)) = &memory.status {
            let facts_same = condition::essence(&written.conditions) == condition::essence(&status.conditions);
            if facts_same {
                status = written.clone();
            }
        }
        if memory.status.as_ref().map(|(written, _)| written) != Some(&status) {
            self.patch_status(&status).await?;
            memory.status = Some((status, Instant::now()));
        }
        Ok((Outcome::Invalid, Action::await_change()))
    }
}

/// What we wrote last, or else what is there: the cache may not have heard of our own last write yet.
fn previous_status(shop: &Shop, memory: &Memory) -> ShopStatus {
    let remembered = memory.status.as_ref().map(|(status, _)| status.clone());
    remembered.or_else(|| shop.status.clone()).unwrap_or_default()
}

fn endpoint(shop: &ValidShop, credentials: &Credentials, user: User) -> Endpoint {
    let port = u16::try_from(REDIS_PORT).unwrap_or_default();
    Endpoint::new(names::redis_host(&shop.name, &shop.namespace), port)
        .with_user(user.name(), Secret::new(credentials.password(user)))
}

/// Nobody tells us of a stranger's object that goes, or of a quota that grows.
fn after_refusals(refusals: &[Refusal]) -> Duration {
    let leaving = refusals.iter().any(|it| matches!(it, Refusal::Leaving(_)));
    if leaving {
        Duration::from_secs(1)
    } else {
        Duration::from_secs(30)
    }
}

/// Consumers that have been wanted for a while without one being available.
fn starved(
    applied: &Applied,
    shop: &ValidShop,
    memory: &mut Memory,
    previous: &ShopStatus,
    now: Timestamp,
) -> Vec<Component> {
    let told = condition::find(&previous.conditions, DEGRADED)
        .is_some_and(|it| it.status == "True" && it.reason == "ConsumersUnavailable");
    // What was told before a restart stays true until one is available: it is not waited for once more.
    let since = match &memory.starved {
        None if told => now.checked_sub(STARVATION).unwrap_or(now),
        _ => now,
    };
    let known = memory.starved.get_or_insert_default();
    for component in CONSUMERS {
        let deployment = applied
            .children
            .get(&(Kind::Deployment, component.object_name(&shop.name)));
        let rollout = deployment.map(|it| Rollout::of(it)).unwrap_or_default();
        if rollout.wanted > 0 && rollout.available == 0 {
            known.entry(component).or_insert(since);
        } else {
            known.remove(&component);
        }
    }
    let long_enough = |since: &Timestamp| now.duration_since(*since).unsigned_abs() >= STARVATION;
    known
        .iter()
        .filter(|(_, since)| long_enough(since))
        .map(|(component, _)| *component)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shopwright_api::condition::Fact;

    use super::*;
    use crate::shop::{settings::Settings, validate::shop_for_tests};

    #[test]
    fn consumers_that_were_told_to_be_unavailable_stay_so_over_a_restart() {
        let shop = validate(&shop_for_tests(json!({})), &Settings::for_tests()).unwrap();
        let consumers = |wanted: i32, available: i32| {
            let deployment = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "it"},
                "spec": {"replicas": wanted}, "status": {"availableReplicas": available},
            });
            let deployment: Arc<kube::core::DynamicObject> = Arc::new(serde_json::from_value(deployment).unwrap());
            let name = CONSUMERS[0].object_name(&shop.name);
            Applied {
                children: [((Kind::Deployment, name), deployment)].into(),
                ..Applied::default()
            }
        };
        let now = Timestamp::from_second(10_000).unwrap();
        let degraded = Fact::new(DEGRADED, true, "ConsumersUnavailable", "");
        let told = ShopStatus {
            conditions: condition::merge(&[], &[degraded], Some(1), now),
            ..ShopStatus::default()
        };
        let first_look = |applied: &Applied, previous: &ShopStatus| {
            let mut memory = Memory::default();
            starved(applied, &shop, &mut memory, previous, now).contains(&CONSUMERS[0])
        };
        assert!(first_look(&consumers(2, 0), &told));
        assert!(
            !first_look(&consumers(2, 0), &ShopStatus::default()),
            "not for long enough"
        );
        assert!(!first_look(&consumers(2, 1), &told), "one is available");
        assert!(!first_look(&consumers(0, 0), &told), "none is wanted");
        let mut later = Memory {
            starved: Some(std::collections::BTreeMap::new()),
            ..Memory::default()
        };
        assert_eq!(
            starved(&consumers(2, 0), &shop, &mut later, &told, now),
            [],
            "one that fails later has its minute"
        );
    }
}
