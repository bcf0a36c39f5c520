//! The `Shop`: one document that becomes a running event-driven shop. `spec: {}` is a working shop.

#![allow(
    clippy::duplicated_attributes,
    reason = "each print column has attributes of its own"
)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redis::Redis;
use crate::resources::Resources;
use crate::scaling::Scaling;
use crate::status::ShopStatus;

/// What the shop is to be.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "shopwright.dev",
    version = "v1alpha1",
    kind = "Shop",
    plural = "shops",
    namespaced,
    status = "ShopStatus",
    derive = "PartialEq",
    doc = "An event-driven shop: inventory, payments, storefront, their Redis, and consumers that follow their backlog.",
    category = "shopwright",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Backlog", type_ = "integer", json_path = ".status.backlog"),
    printcolumn(name = "Consumers", type_ = "integer", json_path = ".status.consumerReplicas"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 40").message("metadata.name must be at most 40 characters long"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must match [a-z]([-a-z0-9]*[a-z0-9])?: lower case letters, digits and '-', beginning with a letter")
)]
#[serde(rename_all = "camelCase", default)]
pub struct ShopSpec {
    /// Version of the service images. Default: the operator's own.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// ISO 4217 code of the only currency this shop knows. Immutable.
    #[schemars(length(min = 3, max = 3), regex(pattern = "^[A-Z]{3}$"))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "currency is immutable"}
    ]))]
    pub currency: String,
    /// The service that owns products, prices, stock and reservations.
    pub inventory: Inventory,
    /// The service that owns orders and money.
    pub payments: Payments,
    /// The gateway and the page that shoppers see.
    pub storefront: Storefront,
    /// How the consumers follow their backlog.
    pub consumers: Consumers,
    /// The shop's database and event bus.
    pub redis: Redis,
    /// Which connections are allowed.
    pub network_policy: NetworkPolicySettings,
    /// Whether the operator compares the shop's books with each other, and how often. What it finds is the condition `Consistent`.
    pub verification: Verification,
    /// What becomes of the data when the Shop is deleted. `Retain`, the default: the volume stays, and a Shop of the same name finds it again. `Delete`: it goes with the Shop.
    pub deletion_policy: DeletionPolicy,
    /// Secrets of this namespace that hold registry credentials.
    #[schemars(length(max = 16))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<ImagePullSecret>,
}

impl Default for ShopSpec {
    fn default() -> Self {
        Self {
            version: None,
            currency: "EUR".into(),
            inventory: Inventory::default(),
            payments: Payments::default(),
            storefront: Storefront::default(),
            consumers: Consumers::default(),
            redis: Redis::default(),
            network_policy: NetworkPolicySettings::default(),
            verification: Verification::default(),
            deletion_policy: DeletionPolicy::default(),
            image_pull_secrets: Vec::new(),
        }
    }
}

fn small() -> Resources {
    Resources::of("10m", "32Mi", "128Mi")
}

/// The inventory service. Its consumers share image, resources and environment with it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct Inventory {
    /// Pods that serve HTTP.
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// Requests and limits of each pod.
    pub resources: Resources,
    /// Full image reference instead of the one `version` names.
    #[schemars(length(min = 1, max = 512))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Further environment variables. What the operator sets itself cannot be set here.
    #[schemars(schema_with = "environment_schema")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvironmentVariable>,
}

impl Default for Inventory {
    fn default() -> Self {
        Self {
            replicas: 1,
            resources: small(),
            image: None,
            env: Vec::new(),
        }
    }
}

/// The payments service. Its consumers share image, resources and environment with it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.replicas >= 1", "message": "payments.replicas must be at least 1: its sweeper ends orders whose time is up"}
]))]
pub struct Payments {
    /// Pods that serve HTTP. At least one, because its sweeper ends orders whose time is up.
    #[schemars(range(max = 100))]
    pub replicas: i32,
    /// Requests and limits of each pod.
    pub resources: Resources,
    /// Full image reference instead of the one `version` names.
    #[schemars(length(min = 1, max = 512))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Further environment variables. What the operator sets itself cannot be set here.
    #[schemars(schema_with = "environment_schema")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvironmentVariable>,
    /// Fee, in whole percent of the subtotal, half up in minor units.
    #[schemars(range(min = 0, max = 100))]
    pub fee_percent: u32,
    /// Who moves the money.
    pub provider: Provider,
}

impl Default for Payments {
    fn default() -> Self {
        Self {
            replicas: 1,
            resources: small(),
            image: None,
            env: Vec::new(),
            fee_percent: 20,
            provider: Provider::default(),
        }
    }
}

/// Who moves the money.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct Provider {
    /// A provider that keeps its own book and moves no real money.
    pub simulated: SimulatedProvider,
}

/// A provider that keeps its own book and moves no real money.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct SimulatedProvider {
    /// How long each of its calls takes, in milliseconds. Payments gives a call up after 20 s.
    #[schemars(range(min = 0, max = 19999))]
    pub latency_milliseconds: u32,
    /// Charges above this many minor units are declined. Default: none are.
    #[schemars(range(min = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decline_above_minor: Option<i64>,
}

impl Default for SimulatedProvider {
    fn default() -> Self {
        Self {
            latency_milliseconds: 500,
            decline_above_minor: None,
        }
    }
}

/// The gateway and the page that shoppers see.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct Storefront {
    /// Whether there is one at all.
    pub enabled: bool,
    /// Pods that serve HTTP.
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// Requests and limits of each pod.
    pub resources: Resources,
    /// Full image reference instead of the one `version` names.
    #[schemars(length(min = 1, max = 512))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

impl Default for Storefront {
    fn default() -> Self {
        Self {
            enabled: true,
            replicas: 1,
            resources: small(),
            image: None,
        }
    }
}

/// One environment variable with a plain value.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentVariable {
    /// Its name.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// Its value.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub value: String,
}

fn environment_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = generator.subschema_for::<EnvironmentVariable>();
    schemars::json_schema!({
        "type": "array",
        "items": item,
        "maxItems": 64,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"]
    })
}

/// A Secret with registry credentials.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub struct ImagePullSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How each consumer follows its backlog.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct Consumers {
    /// Reserves, commits and releases stock for orders.
    pub inventory: Scaling,
    /// Takes inventory's answers and talks to the provider.
    #[schemars(schema_with = "payments_scaling_schema")]
    #[serde(deserialize_with = "payments_scaling")]
    pub payments: Scaling,
}

/// Messages one payments consumer is to have before it, unless told otherwise: its work waits for the provider.
const PAYMENTS_BACKLOG_PER_REPLICA: i64 = 20;

impl Default for Consumers {
    fn default() -> Self {
        Self {
            inventory: Scaling::default(),
            payments: Scaling::with_backlog_per_replica(PAYMENTS_BACKLOG_PER_REPLICA),
        }
    }
}

// The same type as inventory's, with another default inside.
fn payments_scaling_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = generator.subschema_for::<Scaling>();
    if let Some(target) = schema.pointer_mut("/properties/target") {
        target["default"] = serde_json::json!({"backlogPerReplica": PAYMENTS_BACKLOG_PER_REPLICA});
        target["properties"]["backlogPerReplica"]["default"] = PAYMENTS_BACKLOG_PER_REPLICA.into();
    }
    schema
}

fn payments_scaling<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Scaling, D::Error> {
    let mut value = serde_json::Value::deserialize(deserializer)?;
    if value.pointer("/target/backlogPerReplica").is_none()
        && let Some(scaling) = value.as_object_mut()
    {
        scaling.insert(
            "target".into(),
            serde_json::json!({"backlogPerReplica": PAYMENTS_BACKLOG_PER_REPLICA}),
        );
    }
    Scaling::deserialize(value).map_err(serde::de::Error::custom)
}

/// Which connections are allowed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySettings {
    /// Deny everything by default, then allow exactly the connections that the shop makes.
    pub enabled: bool,
}

impl Default for NetworkPolicySettings {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// Whether the operator compares the shop's books with each other, and how often.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase", default)]
pub struct Verification {
    /// Compare orders with stock, money, the provider's book and the streams. It reads all of them, as the user `verify`.
    pub enabled: bool,
    /// From the end of one comparison to the beginning of the next, in seconds.
    #[schemars(range(min = 60, max = 86400))]
    pub interval_seconds: u32,
}

impl Default for Verification {
    fn default() -> Self {
        Self {
            enabled: false,
            interval_seconds: 300,
        }
    }
}

/// What becomes of the data volume when the Shop is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum DeletionPolicy {
    /// It stays, and a Shop of the same name finds it again.
    #[default]
    Retain,
    /// It goes with the Shop.
    Delete,
}
