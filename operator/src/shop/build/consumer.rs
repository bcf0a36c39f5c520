//! The consumers: a ConsumerGroup and the Deployment that it scales.

use serde_json::json;
use shopwright_api::{
    ConsumerGroupSpec, ConsumerNames, RedisAddress, ScaleTargetRef, Scaling, SecretReference, StartFrom,
    StreamReference,
    names::{self, Component, REDIS_PORT},
};
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS, ShopKeys};

use super::{Builder, Child, environment::operator_secret, workload::Workload};
use crate::shop::kinds::Kind;

/// 30 s to finish or hand on what was read, and room to spare.
const GRACE_SECONDS: i64 = 45;

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
