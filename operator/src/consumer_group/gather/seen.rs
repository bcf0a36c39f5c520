//! What is kept of each object that is watched: small facts. Pure.

use std::sync::Arc;

use k8s_openapi::{
    api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::core::{DeserializeGuard, Resource as _};
use shopwright_api::{ConsumerGroup, Shop};

/// A `ConsumerGroup` as it was last seen; `Err` says what is wrong with an object that this version cannot read.
#[derive(Clone, Debug)]
pub(in super::super) struct SeenGroup {
    pub(in super::super) uid: String,
    pub(in super::super) generation: Option<i64>,
    /// Seconds since the epoch; the oldest of two rivals acts.
    pub(in super::super) created: i64,
    pub(in super::super) being_deleted: bool,
    /// Uid of the Shop that controls it.
    pub(in super::super) owner: Option<String>,
    pub(in super::super) object: Result<Arc<ConsumerGroup>, String>,
}

/// What scaling needs to know of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct SeenTarget {
    pub(in super::super) replicas: u32,
    pub(in super::super) available: u32,
    /// Orders this against our own writes; `None` when the server's versions cannot be compared.
    pub(in super::super) version: Option<u64>,
}

/// What an autoscaler scales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct SeenAutoscaler {
    pub(in super::super) deployment: String,
}

/// Whether a new value is worth waking anybody for.
pub(super) trait Differs {
    fn differs(&self, other: &Self) -> bool;
}

impl Differs for SeenGroup {
    /// Our own status writes come back as changes; they concern nobody.
    fn differs(&self, other: &Self) -> bool {
        (&self.uid, self.generation, self.being_deleted, &self.owner)
            != (&other.uid, other.generation, other.being_deleted, &other.owner)
    }
}

impl Differs for SeenTarget {
    fn differs(&self, other: &Self) -> bool {
        (self.replicas, self.available) != (other.replicas, other.available)
    }
}

impl Differs for SeenAutoscaler {
    fn differs(&self, other: &Self) -> bool {
        self != other
    }
}

pub(super) fn seen_group(guard: DeserializeGuard<ConsumerGroup>) -> SeenGroup {
    let (metadata, object) = match guard.0 {
        Ok(mut group) => {
            group.metadata.managed_fields = None;
            (group.metadata.clone(), Ok(Arc::new(group)))
        }
        Err(invalid) => (invalid.metadata, Err(invalid.error)),
    };
    let owners = metadata.owner_references.unwrap_or_default();
    SeenGroup {
        uid: metadata.uid.unwrap_or_default(),
        generation: metadata.generation,
        created: metadata.creation_timestamp.map_or(i64::MAX, |time| time.0.as_second()),
        being_deleted: metadata.deletion_timestamp.is_some(),
        owner: owners
            .into_iter()
            // Only of Shops is it known whether they are going; any other owner's group would look like an orphan.
            .find(|owner| owner.controller == Some(true) && is_shop(owner))
            .map(|owner| owner.uid),
        object,
    }
}

/// Whether the owner is a Shop of ours, of whatever version: other groups may have a kind of that name.
fn is_shop(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    owner.kind == Shop::kind(&()) && group == Some(Shop::group(&()).as_ref())
}

pub(super) fn seen_target(deployment: &Deployment) -> SeenTarget {
    let count = |replicas: Option<i32>| replicas.and_then(|count| u32::try_from(count).ok());
    SeenTarget {
        replicas: count(deployment.spec.replicas).unwrap_or(1),
        available: count(deployment.status.as_ref().and_then(|status| status.available_replicas)).unwrap_or(0),
        version: deployment
            .metadata
            .resource_version
            .as_deref()
            .and_then(|version| version.parse().ok()),
    }
}

pub(super) fn seen_autoscaler(autoscaler: HorizontalPodAutoscaler) -> Option<SeenAutoscaler> {
    let target = autoscaler.spec.scale_target_ref;
    let is_deployment = target.kind == "Deployment"
        && target
            .api_version
            .as_deref()
            .is_none_or(|version| version.starts_with("apps/"));
    is_deployment.then_some(SeenAutoscaler {
        deployment: target.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shop_of_ours_is_an_owner_that_may_be_going() {
        let owner = |api_version: &str, kind: &str| OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            ..OwnerReference::default()
        };
        assert!(is_shop(&owner(&Shop::api_version(&()), "Shop")));
        assert!(is_shop(&owner("shopwright.dev/v9", "Shop")));
        assert!(!is_shop(&owner("retail.example.com/v1", "Shop")));
        assert!(!is_shop(&owner("v1", "Shop")));
        assert!(!is_shop(&owner("shopwright.dev/v1", "ConsumerGroup")));
    }
}
