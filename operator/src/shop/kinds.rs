//! The kinds of children that are watched and applied. Secrets are none of them: they are never listed or watched.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::core::ApiResource;
use shopwright_api::ConsumerGroup;

/// A kind of child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `ServiceAccount`
    ServiceAccount,
    /// `NetworkPolicy`
    NetworkPolicy,
    /// `ConfigMap`
    ConfigMap,
    /// `PersistentVolumeClaim`
    VolumeClaim,
    /// `Service`
    Service,
    /// `StatefulSet`
    StatefulSet,
    /// `PodDisruptionBudget`
    DisruptionBudget,
    /// `Deployment`
    Deployment,
    /// `ConsumerGroup`
    ConsumerGroup,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::ServiceAccount,
        Self::NetworkPolicy,
        Self::ConfigMap,
        Self::VolumeClaim,
        Self::Service,
        Self::StatefulSet,
        Self::DisruptionBudget,
        Self::Deployment,
        Self::ConsumerGroup,
    ];

    /// How the API server calls it.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::VolumeClaim => ApiResource::erase::<PersistentVolumeClaim>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::DisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::ConsumerGroup => ApiResource::erase::<ConsumerGroup>(&()),
        }
    }

    /// Whether one that is no longer wanted is removed. Data never is.
    pub fn prunable(self) -> bool {
        self != Self::VolumeClaim
    }

    /// Whether the managed fields are kept in the cache: they say who owns `replicas`.
    pub fn keeps_managed_fields(self) -> bool {
        self == Self::Deployment
    }
}
