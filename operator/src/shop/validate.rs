//! Judges a Shop: every problem at once, or what the builders can rely on. Pure.
//!
//! The API server holds the same rules, but an object may be older than a rule; it must not crash the operator.

use std::str::FromStr;

use kube::ResourceExt;
use shopwright_api::{
    EnvironmentVariable, ManagedRedis, Quantity, Resources, Scaling, Shop, ShopSpec, names::MAX_SHOP_NAME,
};
use shopwright_domain::money::{Currency, FeePercent};

use crate::shop::settings::Settings;

/// A Shop that keeps every rule, with its defaults resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidShop {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// The generation that was judged.
    pub generation: Option<i64>,
    /// The spec as written.
    pub spec: ShopSpec,
    /// `spec.redis.managed`.
    pub redis: ManagedRedis,
    /// Bytes that Redis may use for data: 60 % of its memory limit.
    pub redis_data_bytes: u64,
    /// Bytes of the data volume that are asked for.
    pub storage_bytes: u64,
    /// Version of the service images.
    pub version: String,
    /// The images.
    pub images: Images,
}

/// Full image references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Redis Stack.
    pub redis: String,
    /// The inventory service.
    pub inventory: String,
    /// The payments service.
    pub payments: String,
    /// The storefront.
    pub storefront: String,
}

/// One rule that is broken: the field, and what it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, from the top of the document.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            field: field.into(),
            message: message.into(),
        });
    }

    fn within(&mut self, field: &str, value: i64, low: i64, high: i64) {
        if !(low..=high).contains(&value) {
            self.add(field, format!("must be between {low} and {high}, is {value}"));
        }
    }
}

/// Least memory limit of Redis: below it the search module alone leaves no room for data.
const MIN_REDIS_MEMORY: u64 = 64 << 20;

/// Environment variables that the operator sets, and users therefore cannot.
pub const RESERVED_ENVIRONMENT: [&str; 19] = [
    "ADMIN_ADDRESS",
    "ADMIN_KEY",
    "FEE_PERCENT",
    "INVENTORY_URL",
    "LISTEN_ADDRESS",
    "MIGRATION_PASSWORD",
    "ORDER_TOKEN_KEYS",
    "PAYMENTS_URL",
    "POD_NAME",
    "PROVIDER_DECLINE_ABOVE_MINOR",
    "PROVIDER_LATENCY_MILLISECONDS",
    "PROVIDER_PASSWORD",
    "REDIS_DATABASE",
    "REDIS_HOST",
    "REDIS_PASSWORD",
    "REDIS_PORT",
    "REDIS_USERNAME",
    "SHOP_CURRENCY",
    "SHOP_NAME",
];

/// What the builders can rely on, or every problem.
pub fn validate(shop: &Shop, settings: &Settings) -> Result<ValidShop, Vec<Problem>> {
    let mut problems = Problems::default();
    let spec = &shop.spec;
    let name = shop.name_any();
    check_name(&name, &mut problems);
    if Currency::from_str(&spec.currency).is_err() {
        problems.add("spec.currency", "must be three upper-case letters, like EUR");
    }
    check_services(spec, &mut problems);
    check_scaling("spec.consumers.inventory", &spec.consumers.inventory, &mut problems);
    check_scaling("spec.consumers.payments", &spec.consumers.payments, &mut problems);
    for (index, secret) in spec.image_pull_secrets.iter().enumerate() {
        if secret.name.is_empty() {
            problems.add(format!("spec.imagePullSecrets[{index}].name"), "must not be empty");
        }
    }
    let interval = spec.verification.interval_seconds.into();
    problems.within("spec.verification.intervalSeconds", interval, 60, 86_400);
    let redis = check_redis(spec, &mut problems);
    match (redis, shop.namespace(), shop.uid()) {
        (Some((redis, memory, storage_bytes)), Some(namespace), Some(uid)) if problems.0.is_empty() => Ok(ValidShop {
            name,
            namespace,
            uid,
            generation: shop.metadata.generation,
            spec: spec.clone(),
            redis_data_bytes: memory / 10 * 6,
            storage_bytes,
            version: spec.version.clone().unwrap_or_else(|| settings.version.clone()),
            images: images(spec, &redis, settings),
            redis,
        }),
        _ => {
            if problems.0.is_empty() {
                problems.add("metadata", "namespace and uid must be set");
            }
            Err(problems.0)
        }
    }
}

fn check_name(name: &str, problems: &mut Problems) {
    if name.len() > MAX_SHOP_NAME {
        problems.add(
            "metadata.name",
            format!("must be at most {MAX_SHOP_NAME} characters long"),
        );
    }
    let letters = name
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if !letters || !name.starts_with(|first: char| first.is_ascii_lowercase()) || name.ends_with('-') {
        problems.add("metadata.name", "must match [a-z]([-a-z0-9]*[a-z0-9])?");
    }
}

fn check_services(spec: &ShopSpec, problems: &mut Problems) {
    let (inventory, payments, storefront) = (&spec.inventory, &spec.payments, &spec.storefront);
    problems.within("spec.inventory.replicas", inventory.replicas.into(), 0, 100);
    problems.within("spec.payments.replicas", payments.replicas.into(), 1, 100);
    problems.within("spec.storefront.replicas", storefront.replicas.into(), 0, 100);
    if u8::try_from(payments.fee_percent).map_or(true, |percent| FeePercent::new(percent).is_err()) {
        problems.add(
            "spec.payments.feePercent",
            format!("must be between 0 and 100, is {}", payments.fee_percent),
        );
    }
    let provider = &payments.provider.simulated;
    let field = "spec.payments.provider.simulated";
    problems.within(
        &format!("{field}.latencyMilliseconds"),
        provider.latency_milliseconds.into(),
        0,
        // Payments gives a call up after 20 s.
        19_999,
    );
    if provider.decline_above_minor.is_some_and(|limit| limit < 0) {
        problems.add(format!("{field}.declineAboveMinor"), "must not be negative");
    }
    for (part, resources) in [
        ("inventory", &inventory.resources),
        ("payments", &payments.resources),
        ("storefront", &storefront.resources),
    ] {
        check_resources(&format!("spec.{part}.resources"), resources, problems);
    }
    check_environment("spec.inventory.env", &inventory.env, problems);
    check_environment("spec.payments.env", &payments.env, problems);
    for (part, image) in [
        ("inventory", &inventory.image),
        ("payments", &payments.image),
        ("storefront", &storefront.image),
    ] {
        check_image(&format!("spec.{part}.image"), image.as_deref(), problems);
    }
}

fn check_image(field: &str, image: Option<&str>, problems: &mut Problems) {
    if image.is_some_and(|it| it.is_empty() || it.contains(char::is_whitespace)) {
        problems.add(field, "must be an image reference");
    }
}

fn check_resources(field: &str, resources: &Resources, problems: &mut Problems) {
    for (group, quantities) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for (name, quantity) in quantities {
            if quantity.milli().is_none() {
                problems.add(format!("{field}.{group}.{name}"), format!("is no quantity: {quantity}"));
            }
        }
    }
    for (name, request) in &resources.requests {
        let limit = resources.limits.get(name).and_then(Quantity::milli);
        if let (Some(request), Some(limit)) = (request.milli(), limit)
            && request > limit
        {
            problems.add(
                format!("{field}.requests.{name}"),
                format!("must not be above {field}.limits.{name}"),
            );
        }
    }
}

fn check_environment(field: &str, environment: &[EnvironmentVariable], problems: &mut Problems) {
    for (index, variable) in environment.iter().enumerate() {
        let field = format!("{field}[{index}].name");
        if variable.name.is_empty() || variable.name.contains(['=', '\0']) {
            problems.add(field, "is no name of an environment variable");
        } else if RESERVED_ENVIRONMENT.contains(&variable.name.as_str()) {
            problems.add(field, format!("{} is set by the operator", variable.name));
        } else if environment
            .iter()
            .take(index)
            .any(|earlier| earlier.name == variable.name)
        {
            problems.add(field, format!("{} is set twice", variable.name));
        }
    }
}

fn check_scaling(field: &str, scaling: &Scaling, problems: &mut Problems) {
    for (name, message) in scaling.problems() {
        problems.add(format!("{field}.{name}"), message);
    }
}

fn check_redis(spec: &ShopSpec, problems: &mut Problems) -> Option<(ManagedRedis, u64, u64)> {
    let Some(redis) = &spec.redis.managed else {
        problems.add("spec.redis.managed", "must be set: exactly one kind of Redis is needed");
        return None;
    };
    check_resources("spec.redis.managed.resources", &redis.resources, problems);
    check_image("spec.redis.managed.image", redis.image.as_deref(), problems);
    let field = "spec.redis.managed.resources.limits.memory";
    let memory = redis.resources.limits.get("memory").map(Quantity::bytes);
    match memory {
        None => problems.add(field, "must be set: maxmemory is 60 % of it"),
        Some(Some(bytes)) if bytes < MIN_REDIS_MEMORY => problems.add(field, "must be at least 64Mi"),
        Some(_) => {}
    }
    let storage = redis.storage.size.bytes().filter(|bytes| *bytes > 0);
    if storage.is_none() {
        problems.add(
            "spec.redis.managed.storage.size",
            format!("is no size: {}", redis.storage.size),
        );
    }
    Some((redis.clone(), memory??, storage?))
}

fn images(spec: &ShopSpec, redis: &ManagedRedis, settings: &Settings) -> Images {
    let registry = settings.registry.trim_end_matches('/');
    let image = |own: &Option<String>, program: &str, of_release: &str| match (own, &spec.version) {
        (Some(own), _) => own.clone(),
        (None, Some(version)) if registry.is_empty() => format!("shopwright-{program}:{version}"),
        (None, Some(version)) => format!("{registry}/shopwright-{program}:{version}"),
        (None, None) => of_release.to_owned(),
    };
    Images {
        redis: redis.image.clone().unwrap_or_else(|| settings.redis_image.clone()),
        inventory: image(&spec.inventory.image, "inventory", &settings.inventory_image),
        payments: image(&spec.payments.image, "payments", &settings.payments_image),
        storefront: image(&spec.storefront.image, "storefront", &settings.storefront_image),
    }
}

/// A Shop as the API server would give it: `spec` with its defaults, a UID and a generation.
#[cfg(test)]
pub(crate) fn shop_for_tests(spec: serde_json::Value) -> Shop {
    let mut shop = serde_json::json!({
        "apiVersion": "shopwright.dev/v1alpha1", "kind": "Shop",
        "metadata": {"name": "demo", "namespace": "shops", "uid": "11111111-2222-3333-4444-555555555555", "generation": 3},
    });
    shop["spec"] = spec;
    serde_json::from_value(shop).unwrap()
}
