//! The consumers: a ConsumerGroup and the Deployment that it scales.

use serde_json::json;
use shopwright_api::{
    ConsumerGroupSpec, ConsumerNames, DeadLetters, PendingSettings, RedisAddress, Retention, ScaleTargetRef, Scaling,
    SecretReference, StartFrom, StreamReference,
    consumer_group::{MAX_CLAIM_MIN_IDLE_SECONDS, MAX_DELIVERIES},
    names::{self, Component, REDIS_PORT},
};
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS, ShopKeys};

use super::{Builder, Child, environment::operator_secret, workload::Workload};
use crate::shop::kinds::Kind;

/// For the read that SIGTERM found under way (10 s at most), 30 s to finish what is in hand, and the hand-over of the rest.
const GRACE_SECONDS: i64 = 60;
/// A name comes with each pod and is worth nothing once that is gone: an hour for whoever looks into what it did.
const DELETE_CONSUMERS_AFTER_SECONDS: u32 = 3600;

impl Builder<'_> {
    fn consumer_components(&self) -> [(Component, &Scaling); 2] {
        let consumers = &self.shop.spec.consumers;
        [
            (Component::InventoryConsumer, &consumers.inventory),
            (Component::PaymentsConsumer, &consumers.payments),
        ]
    }

    pub(super) fn consumer_groups(&self) -> Vec<Child> {
        let keys = ShopKeys::new(self.name());
        self.consumer_components()
            .into_iter()
            .map(|(component, scaling)| {
                let (group, streams) = if component == Component::InventoryConsumer {
                    (GROUP_INVENTORY, vec![keys.payments_events()])
                } else {
                    (GROUP_PAYMENTS, vec![keys.inventory_events(), keys.payments_jobs()])
                };
                let name = component.object_name(self.name());
                let spec = ConsumerGroupSpec {
                    redis: RedisAddress {
                        host: names::redis_host(self.name(), &self.shop.namespace),
                        port: u16::try_from(REDIS_PORT).unwrap_or_default(),
                        database: 0,
                        secret_ref: Some(SecretReference {
                            name: operator_secret(self.name()),
                        }),
                        tls: None,
                    },
                    streams: streams.into_iter().map(|key| StreamReference { key }).collect(),
                    group: group.into(),
                    start_from: StartFrom::Beginning,
                    consumer_names: ConsumerNames::PodName,
                    scale_target_ref: ScaleTargetRef {
                        api_version: "apps/v1".into(),
                        kind: "Deployment".into(),
                        name: name.clone(),
                    },
                    pending: self.pending(component),
                    dead_letters: Some(DeadLetters::default()),
                    retention: Some(Retention::default()),
                    scaling: scaling.clone(),
                };
                Child::new(
                    Kind::ConsumerGroup,
                    name,
                    json!({"metadata": self.metadata(component), "spec": spec}),
                )
            })
            .collect()
    }

    /// The consumers' own rules, which users may change in their environment.
    fn pending(&self, component: Component) -> PendingSettings {
        let environment = match component {
            Component::InventoryConsumer => &self.shop.spec.inventory.env,
            _ => &self.shop.spec.payments.env,
        };
        let number = |name: &str| {
            let variable = environment.iter().find(|variable| variable.name == name)?;
            variable.value.parse::<u32>().ok()
        };
        let defaults = PendingSettings::default();
        let idle = number("CLAIM_MIN_IDLE_MILLISECONDS").map(|milliseconds| milliseconds.div_ceil(1000));
        // There, 0 is for ever.
        let deliveries = number("MAX_DELIVERIES").map(|most| if most == 0 { MAX_DELIVERIES } else { most });
        PendingSettings {
            claim_min_idle_seconds: idle
                .unwrap_or(defaults.claim_min_idle_seconds)
                .clamp(1, MAX_CLAIM_MIN_IDLE_SECONDS),
            max_deliveries: deliveries.unwrap_or(defaults.max_deliveries).clamp(1, MAX_DELIVERIES),
            delete_consumers_after_seconds: Some(DELETE_CONSUMERS_AFTER_SECONDS),
        }
    }

    pub(super) fn consumers(&self) -> Vec<Child> {
        self.consumer_components()
            .into_iter()
            .map(|(component, scaling)| {
                let (image, resources) = self.image_and_resources(component);
                let deployment = self.deployment(&Workload {
                    component,
                    image,
                    command: "consume",
                    replicas: None,
                    resources,
                    serves: false,
                    several: scaling.max_replicas > 1,
                    grace_seconds: GRACE_SECONDS,
                });
                Child {
                    scaled_from: Some(scaling.min_replicas),
                    ..Child::new(Kind::Deployment, component.object_name(self.name()), deployment)
                }
            })
            .collect()
    }
}
