//! The services that answer HTTP: Service and Deployment of inventory, payments and storefront.

use serde_json::{Value, json};
use shopwright_api::{
    Resources,
    names::{self, Component, HTTP_PORT},
};

use super::{Builder, Child, workload::Workload};
use crate::shop::kinds::Kind;

/// Longest request, plus the pause before the end, plus room to spare.
const GRACE_SECONDS: i64 = 30;

impl Builder<'_> {
    pub(super) fn services(&self) -> Vec<Child> {
        self.served()
            .into_iter()
            .flat_map(|(component, replicas)| {
                let name = component.object_name(self.name());
                let (image, resources) = self.image_and_resources(component);
                let deployment = self.deployment(&Workload {
                    component,
                    image,
                    command: "serve",
                    replicas: Some(replicas),
                    resources,
                    serves: true,
                    several: replicas > 1,
                    grace_seconds: GRACE_SECONDS,
                });
                [
                    Child::new(Kind::Service, name.clone(), self.http_service(component)),
                    Child::new(Kind::Deployment, name, deployment),
                ]
            })
            .collect()
    }

    pub(super) fn image_and_resources(&self, component: Component) -> (&str, &Resources) {
        let (images, spec) = (&self.shop.images, &self.shop.spec);
        match component {
            Component::Redis => (&images.redis, &self.shop.redis.resources),
            Component::Inventory | Component::InventoryConsumer => (&images.inventory, &spec.inventory.resources),
            Component::Payments | Component::PaymentsConsumer => (&images.payments, &spec.payments.resources),
            Component::Storefront => (&images.storefront, &spec.storefront.resources),
        }
    }

    fn http_service(&self, component: Component) -> Value {
        json!({
            "metadata": self.metadata(component),
            "spec": {
                "type": "ClusterIP",
                "selector": names::selector(self.name(), component),
                "ports": [{
                    "name": "http", "port": HTTP_PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http",
                }],
            },
        })
    }
}
