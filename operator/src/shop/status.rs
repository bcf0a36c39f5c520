//! What is written into a Shop's status. Pure: the time is passed in.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;
use shopwright_api::{
    ComponentStatus, ConsumerStatus, RedisStatus, ShopStatus,
    condition::{self, Fact, PROGRESSING, READY},
    names::{self, Component, HTTP_PORT},
};

use super::{
    apply::Applied,
    conditions,
    kinds::Kind,
    probe::RedisHealth,
    validate::{Problem, ValidShop},
    verdict::Verdict,
};

/// Everything a status is made of.
pub struct View<'a> {
    /// The Shop.
    pub shop: &'a ValidShop,
    /// Its children as applied.
    pub applied: &'a Applied,
    /// How its Redis is; `None` before the first look.
    pub redis: Option<RedisHealth>,
    /// Consumers that are wanted and of which none has been available for too long.
    pub starved: &'a [Component],
    /// What is known of its books; `None` when nobody asked for their comparison.
    pub books: Option<Verdict>,
    /// The status before.
    pub previous: &'a ShopStatus,
    /// Now.
    pub now: Timestamp,
}

/// A workload as Kubernetes reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Pods wanted.
    pub wanted: i32,
    /// Pods of any template that are not on their way out.
    pub total: i32,
    /// Pods of the newest template.
    pub updated: i32,
    /// Pods that have been ready for long enough.
    pub available: i32,
    /// Whether the figures speak of the spec as it is.
    pub current: bool,
}

impl Rollout {
    /// Reads a Deployment or StatefulSet.
    pub fn of(object: &DynamicObject) -> Self {
        let number = |path: &str| {
            let number = object.data.pointer(path).and_then(Value::as_i64);
            number.and_then(|it| i32::try_from(it).ok())
        };
        let observed = object
            .data
            .pointer("/status/observedGeneration")
            .and_then(Value::as_i64);
        Self {
            wanted: number("/spec/replicas").unwrap_or(1),
            total: number("/status/replicas").unwrap_or(0),
            updated: number("/status/updatedReplicas").unwrap_or(0),
            available: number("/status/availableReplicas").unwrap_or(0),
            current: observed.is_some() && observed >= object.metadata.generation,
        }
    }

    /// Whether all pods that are wanted are there, new, and available. Without the total, the old pod that a stuck rollout
    /// keeps would count as available in the new one's place.
    pub fn done(self) -> bool {
        self.current && [self.total, self.updated, self.available] == [self.wanted; 3]
    }
}

/// The status of a Shop that breaks rules: nothing was applied.
pub fn invalid(problems: &[Problem], generation: Option<i64>, previous: &ShopStatus, now: Timestamp) -> ShopStatus {
    let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    not_applied("InvalidSpec", &message, generation, previous, now)
}

/// The status of a Shop of which nothing could be applied. What was seen of it before stays.
pub fn not_applied(
    reason: &'static str,
    message: &str,
    generation: Option<i64>,
    previous: &ShopStatus,
    now: Timestamp,
) -> ShopStatus {
    let facts = [
        Fact::new(READY, false, reason, message),
        Fact::new(PROGRESSING, false, reason, "nothing is under way"),
    ];
    let kept = previous
        .conditions
        .iter()
        .filter(|it| it.type_ != READY && it.type_ != PROGRESSING)
        .cloned();
    let mut conditions = condition::merge(&previous.conditions, &facts, generation, now);
    conditions.extend(kept);
    ShopStatus {
        observed_generation: generation,
        conditions,
        ..previous.clone()
    }
}

/// The status of a Shop whose children were applied, as far as they could be.
pub fn of(view: &View<'_>) -> ShopStatus {
    let shop = view.shop;
    let components = components(view);
    let consumers = consumers(view);
    let facts = conditions::of(view, &components);
    let storefront = shop
        .spec
        .storefront
        .enabled
        .then(|| Component::Storefront.object_name(&shop.name));
    ShopStatus {
        observed_generation: shop.generation,
        conditions: condition::merge(&view.previous.conditions, &facts, shop.generation, view.now),
        version: Some(shop.version.clone()),
        url: storefront
            .as_ref()
            .map(|name| format!("http://{name}.{}.svc:{HTTP_PORT}", shop.namespace)),
        port_forward: storefront.map(|name| {
            format!(
                "kubectl -n {} port-forward service/{name} {HTTP_PORT}:{HTTP_PORT}",
                shop.namespace
            )
        }),
        deletion_policy: Some(shop.spec.deletion_policy),
        // The sum of some would look like the sum of all.
        backlog: consumers.iter().map(|it| it.backlog).sum(),
        consumer_replicas: Some(consumers.iter().map(|it| it.replicas).sum()),
        redis: Some(RedisStatus {
            ready: view.redis == Some(RedisHealth::Ready),
            volume_claim: names::redis_volume_claim(&shop.name),
            capacity: claim(view).and_then(|it| text(it, "/status/capacity/storage")),
        }),
        components: components.into_iter().map(|(status, _)| status).collect(),
        consumers,
    }
}

pub(super) fn child<'a>(view: &View<'a>, kind: Kind, component: Component) -> Option<&'a DynamicObject> {
    let name = component.object_name(&view.shop.name);
    view.applied.children.get(&(kind, name)).map(AsRef::as_ref)
}

pub(super) fn claim<'a>(view: &View<'a>) -> Option<&'a DynamicObject> {
    let name = names::redis_volume_claim(&view.shop.name);
    view.applied.children.get(&(Kind::VolumeClaim, name)).map(AsRef::as_ref)
}

pub(super) fn text(object: &DynamicObject, path: &str) -> Option<String> {
    object.data.pointer(path).and_then(Value::as_str).map(String::from)
}

fn components(view: &View<'_>) -> Vec<(ComponentStatus, Rollout)> {
    let mut components = vec![Component::Inventory, Component::Payments];
    if view.shop.spec.storefront.enabled {
        components.push(Component::Storefront);
    }
    components
        .into_iter()
        .map(|component| {
            let rollout = child(view, Kind::Deployment, component)
                .map(Rollout::of)
                .unwrap_or_default();
            let status = ComponentStatus {
                name: component.as_str().into(),
                replicas: rollout.wanted,
                available_replicas: rollout.available.min(rollout.updated),
            };
            (status, rollout)
        })
        .collect()
}

/// The components that are scaled.
pub const CONSUMERS: [Component; 2] = [Component::InventoryConsumer, Component::PaymentsConsumer];

fn consumers(view: &View<'_>) -> Vec<ConsumerStatus> {
    CONSUMERS
        .into_iter()
        .map(|component| {
            let rollout = child(view, Kind::Deployment, component)
                .map(Rollout::of)
                .unwrap_or_default();
            let group = child(view, Kind::ConsumerGroup, component);
            ConsumerStatus {
                name: component.program().into(),
                replicas: rollout.wanted,
                available_replicas: rollout.available,
                backlog: group
                    .and_then(|it| it.data.pointer("/status/backlog"))
                    .and_then(Value::as_i64),
            }
        })
        .collect()
}

/// Whether two statuses differ in figures only, which are written less often.
pub fn differ_in_figures_only(one: &ShopStatus, other: &ShopStatus) -> bool {
    let without_figures = |status: &ShopStatus| {
        let mut status = status.clone();
        status.backlog = None;
        status.consumer_replicas = None;
        status.consumers.clear();
        for component in &mut status.components {
            component.available_replicas = 0;
        }
        status
    };
    without_figures(one) == without_figures(other)
}
