//! Given a valid Shop and its credentials, exactly these children, in the order in which they are written. Pure.

mod account;
mod consumer;
mod disruption;
mod environment;
mod network;
mod redis;
mod redis_config;
mod service;
mod workload;

#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};
use shopwright_api::names::{self, Component};

use crate::shop::{credentials::Credentials, kinds::Kind, settings::Settings, validate::ValidShop};

/// One object that should be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What is applied: metadata and content, without `apiVersion` and `kind`.
    pub object: Value,
    /// Least replicas of a Deployment that a ConsumerGroup scales.
    pub scaled_from: Option<i32>,
}

impl Child {
    fn new(kind: Kind, name: impl Into<String>, object: Value) -> Self {
        Self {
            kind,
            name: name.into(),
            object,
            scaled_from: None,
        }
    }
}

/// The size that the data volume has already, in bytes; it is never asked to shrink.
pub type ClaimedBytes = Option<u64>;

/// Every child, accounts and policy first, consumers last, so that nothing starts before what it needs has been written.
pub fn children(shop: &ValidShop, settings: &Settings, credentials: &Credentials, claimed: ClaimedBytes) -> Vec<Child> {
    let builder = Builder {
        shop,
        settings,
        credentials,
    };
    let mut children = builder.accounts();
    children.extend(builder.network_policies());
    children.push(builder.redis_config());
    children.extend(builder.redis(claimed));
    children.extend(builder.services());
    children.extend(builder.disruption_budgets());
    children.extend(builder.consumer_groups());
    children.extend(builder.consumers());
    children
}

/// The owner reference that every child of a shop carries.
pub fn owner(shop: &ValidShop) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", shopwright_api::GROUP, shopwright_api::VERSION),
        kind: "Shop".into(),
        name: shop.name.clone(),
        uid: shop.uid.clone(),
        controller: Some(true),
        // A foreground deletion of the Shop waits for its children.
        block_owner_deletion: Some(true),
    }
}

struct Builder<'a> {
    shop: &'a ValidShop,
    settings: &'a Settings,
    credentials: &'a Credentials,
}

impl Builder<'_> {
    fn name(&self) -> &str {
        &self.shop.name
    }

    /// Metadata of a child of one component.
    fn metadata(&self, component: Component) -> Value {
        self.metadata_named(component, &component.object_name(self.name()))
    }

    fn metadata_named(&self, component: Component, name: &str) -> Value {
        json!({
            "name": name,
            "labels": names::component_labels(self.name(), component),
            "ownerReferences": [owner(self.shop)],
        })
    }

    /// The image pull secrets, in the shape of a pod spec.
    fn pull_secrets(&self) -> Value {
        json!(self.shop.spec.image_pull_secrets)
    }
}
