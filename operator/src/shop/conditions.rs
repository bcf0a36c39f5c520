//! The conditions of a Shop whose children were applied. Pure.

use shopwright_api::{
    ComponentStatus, Quantity,
    condition::{self, CONSISTENT, DEGRADED, Fact, Holds, PROGRESSING, READY, REDIS_READY, STORAGE_READY},
    names::Component,
};

use super::{
    apply::Refusal,
    kinds::Kind,
    probe::RedisHealth,
    status::{CONSUMERS, Rollout, View, child, claim, text},
    verdict::Verdict,
};

/// All of them.
pub(super) fn of(view: &View<'_>, components: &[(ComponentStatus, Rollout)]) -> Vec<Fact> {
    let always = [
        ready(view, components),
        progressing(view),
        degraded(view),
        redis_ready(view),
        storage_ready(view),
    ];
    always.into_iter().chain(consistent(view)).collect()
}

/// Whether the shop is open.
fn ready(view: &View<'_>, components: &[(ComponentStatus, Rollout)]) -> Fact {
    if let Some((reason, message)) = refused(&view.applied.refusals) {
        return Fact::new(READY, false, reason, message);
    }
    match view.redis {
        Some(RedisHealth::Ready) => {}
        Some(health) => return Fact::new(READY, false, "RedisNotReady", health.message()),
        None => return Fact::new(READY, false, "RedisNotReady", "Redis has not been asked yet"),
    }
    let waiting: Vec<_> = components
        .iter()
        .filter(|(_, rollout)| !rollout.done())
        .map(|(status, rollout)| {
            format!(
                "{} ({} of {} available)",
                status.name, rollout.available, rollout.wanted
            )
        })
        .collect();
    if !waiting.is_empty() {
        return Fact::new(
            READY,
            false,
            "ServicesNotReady",
            format!("waiting for {}", waiting.join(", ")),
        );
    }
    let waiting: Vec<_> = CONSUMERS
        .into_iter()
        .filter(|component| !group_ready(view, *component))
        .collect();
    if !waiting.is_empty() {
        let names: Vec<_> = waiting
            .iter()
            .map(|component| component.object_name(&view.shop.name))
            .collect();
        return Fact::new(
            READY,
            false,
            "ConsumerGroupsNotReady",
            format!("waiting for {}", names.join(", ")),
        );
    }
    Fact::new(READY, true, "AsExpected", "the shop is open")
}

fn group_ready(view: &View<'_>, component: Component) -> bool {
    child(view, Kind::ConsumerGroup, component).is_some_and(|group| {
        let conditions = group.data.pointer("/status/conditions").cloned().unwrap_or_default();
        let conditions: Vec<_> = serde_json::from_value(conditions).unwrap_or_default();
        condition::is_true_at(&conditions, READY, group.metadata.generation)
    })
}

/// Reason and message of what could not be written, the gravest first.
pub(super) fn refused(refusals: &[Refusal]) -> Option<(&'static str, String)> {
    let of = |wanted: fn(&Refusal) -> Option<&String>| {
        let found: Vec<_> = refusals.iter().filter_map(wanted).map(String::as_str).collect();
        (!found.is_empty()).then(|| found.join("; "))
    };
    let conflicts = of(|it| {
        if let Refusal::NameConflict(object) = it {
            Some(object)
        } else {
            None
        }
    });
    let refused = of(|it| {
        if let Refusal::Refused(message) = it {
            Some(message)
        } else {
            None
        }
    });
    let leaving = of(|it| {
        if let Refusal::Leaving(object) = it {
            Some(object)
        } else {
            None
        }
    });
    let volume = of(|it| {
        if let Refusal::Volume(message) = it {
            Some(message)
        } else {
            None
        }
    });
    conflicts
        .map(|objects| ("NameConflict", format!("not this shop's, and left alone: {objects}")))
        .or_else(|| refused.map(|messages| ("ApplyRefused", messages)))
        .or_else(|| leaving.map(|objects| ("WaitingForDeletion", format!("waiting for the end of {objects}"))))
        .or_else(|| volume.map(|message| ("VolumeRefused", message)))
}

fn progressing(view: &View<'_>) -> Fact {
    let mut rolling: Vec<_> = [Component::Inventory, Component::Payments, Component::Storefront]
        .into_iter()
        .filter(|component| child(view, Kind::Deployment, *component).is_some_and(|it| !Rollout::of(it).done()))
        .map(Component::as_str)
        .collect();
    if child(view, Kind::StatefulSet, Component::Redis).is_some_and(|it| !Rollout::of(it).done()) {
        rolling.insert(0, Component::Redis.as_str());
    }
    if rolling.is_empty() {
        Fact::new(PROGRESSING, false, "Settled", "everything is as declared")
    } else {
        Fact::new(
            PROGRESSING,
            true,
            "RollingOut",
            format!("rolling out {}", rolling.join(", ")),
        )
    }
}

fn degraded(view: &View<'_>) -> Fact {
    if view.starved.is_empty() {
        return Fact::new(DEGRADED, false, "AsExpected", "");
    }
    let names: Vec<_> = view
        .starved
        .iter()
        .map(|component| component.object_name(&view.shop.name))
        .collect();
    let message = format!("wanted, and none available for a minute: {}", names.join(", "));
    Fact::new(DEGRADED, true, "ConsumersUnavailable", message)
}

fn redis_ready(view: &View<'_>) -> Fact {
    match view.redis {
        Some(health) => Fact::new(
            REDIS_READY,
            health == RedisHealth::Ready,
            health.reason(),
            health.message(),
        ),
        None => Fact::new(
            REDIS_READY,
            Holds::Unknown,
            "NotAskedYet",
            "Redis has not been asked yet",
        ),
    }
}

/// A rewrite of the append-only file needs room for the old one, the new one, and what is appended meanwhile.
const STORAGE_PER_DATA: u64 = 3;

fn storage_ready(view: &View<'_>) -> Fact {
    let volume = view.applied.refusals.iter().find_map(|it| match it {
        Refusal::Volume(message) => Some(message.clone()),
        _ => None,
    });
    if let Some(message) = volume {
        return Fact::new(STORAGE_READY, false, "VolumeRefused", message);
    }
    let Some(claim) = claim(view) else {
        return Fact::new(STORAGE_READY, false, "NoVolumeClaim", "the volume claim is not there");
    };
    if text(claim, "/status/phase").as_deref() != Some("Bound") {
        // A default class would have been filled in when the claim was made.
        return if text(claim, "/spec/storageClassName").is_none() {
            let message = "the cluster has no default StorageClass: set spec.redis.managed.storage.storageClassName";
            Fact::new(STORAGE_READY, false, "NoDefaultStorageClass", message)
        } else {
            Fact::new(
                STORAGE_READY,
                false,
                "WaitingForVolume",
                "the volume claim is not bound yet",
            )
        };
    }
    let capacity = text(claim, "/status/capacity/storage").and_then(|it| Quantity::new(it).bytes());
    if capacity.is_some_and(|bytes| bytes < view.shop.storage_bytes) {
        return Fact::new(STORAGE_READY, false, "Resizing", "the volume is smaller than asked for");
    }
    if capacity.is_some_and(|bytes| bytes < STORAGE_PER_DATA * view.shop.redis_data_bytes) {
        let message = "the volume is smaller than three times what Redis may hold: rewriting its file may fail";
        return Fact::new(STORAGE_READY, false, "VolumeSmall", message);
    }
    Fact::new(STORAGE_READY, true, "Bound", "the volume is bound and large enough")
}

/// The reasons of `Consistent`.
const VERIFIED: &str = "Verified";
pub(super) const INVARIANT_VIOLATED: &str = "InvariantViolated";
const NOT_VERIFIED: &str = "NotVerified";

fn consistent(view: &View<'_>) -> Option<Fact> {
    let fact = match view.books.as_ref()? {
        Verdict::Sound => {
            let message = "orders, stock, money, the provider's book and the streams agree";
            Fact::new(CONSISTENT, true, VERIFIED, message)
        }
        Verdict::Violated(violations) => Fact::new(CONSISTENT, false, INVARIANT_VIOLATED, violations.message()),
        Verdict::NotVerified(obstacle) => Fact::new(CONSISTENT, Holds::Unknown, NOT_VERIFIED, obstacle.message()),
        Verdict::NotYet => told_earlier(view).unwrap_or_else(|| {
            let message = "the books have not been compared yet";
            Fact::new(CONSISTENT, Holds::Unknown, NOT_VERIFIED, message)
        }),
    };
    Some(fact)
}

/// What was known before a restart stays written until the first comparison is over.
fn told_earlier(view: &View<'_>) -> Option<Fact> {
    let earlier = condition::find(&view.previous.conditions, CONSISTENT)?;
    let (holds, reason) = match (earlier.status.as_str(), earlier.reason.as_str()) {
        ("True", VERIFIED) => (true, VERIFIED),
        ("False", INVARIANT_VIOLATED) => (false, INVARIANT_VIOLATED),
        _ => return None,
    };
    Some(Fact::new(CONSISTENT, holds, reason, earlier.message.clone()))
}
