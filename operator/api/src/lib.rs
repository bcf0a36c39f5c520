//! The `Shop` and `ConsumerGroup` custom resources: types, conditions, names. No client, no async runtime.
//! A field stands here only together with the code that obeys it.

pub mod condition;
pub mod consumer_group;
pub mod export;
pub mod names;
pub mod redis;
pub mod resources;
pub mod scaling;
pub mod shop;
pub mod status;

pub use consumer_group::{
    ConsumerGroup, ConsumerGroupSpec, ConsumerGroupStatus, ConsumerNames, DeadLetters, LastDecision, PendingSettings,
    RecentScale, RedisAddress, RedisTls, Retention, ScaleTargetRef, SecretReference, StartFrom, StreamReference,
    StreamStatus,
};
pub use export::crds;
pub use redis::{Durability, ManagedRedis, Redis, Storage};
pub use resources::{Quantity, Resources};
pub use scaling::{Behavior, Fallback, FallbackBehavior, ScaleDown, ScaleUp, Scaling, Target};
pub use shop::{
    Consumers, DeletionPolicy, EnvironmentVariable, ImagePullSecret, Inventory, NetworkPolicySettings, Payments,
    Provider, Shop, ShopSpec, SimulatedProvider, Storefront, Verification,
};
pub use status::{ComponentStatus, ConsumerStatus, RedisStatus, ShopStatus};

/// The API group of every kind here.
pub const GROUP: &str = "shopwright.dev";
/// The only version so far.
pub const VERSION: &str = "v1alpha1";
