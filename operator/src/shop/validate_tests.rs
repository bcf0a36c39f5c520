//! A Shop that breaks rules is told every one of them.

use serde_json::json;

use super::{
    settings::Settings,
    validate::{shop_for_tests, validate},
};
use shopwright_api::Shop;

fn fields(shop: &Shop) -> Vec<String> {
    let problems = validate(shop, &Settings::for_tests()).unwrap_err();
    problems.into_iter().map(|problem| problem.field).collect()
}

#[test]
fn an_empty_spec_is_a_working_shop() {
    let shop = validate(&shop_for_tests(json!({})), &Settings::for_tests()).unwrap();
    assert_eq!(shop.redis_data_bytes, (512 << 20) / 10 * 6);
    assert_eq!(shop.storage_bytes, 1 << 30);
    assert_eq!(shop.version, "0.0.0-test");
    assert!(
        shop.storage_bytes >= 3 * shop.redis_data_bytes,
        "the defaults keep our own advice"
    );
}

#[test]
fn every_problem_is_told_at_once() {
    let mut shop = shop_for_tests(json!({
        "currency": "euro",
        "inventory": {"replicas": -1, "env": [{"name": "REDIS_HOST"}, {"name": "A=B"}, {"name": "X"}, {"name": "X"}]},
        "payments": {"replicas": 0, "feePercent": 101, "provider": {"simulated": {"latencyMilliseconds": 60001, "declineAboveMinor": -1}}},
        "storefront": {"replicas": 101, "image": "two words"},
        "consumers": {"inventory": {"minReplicas": 5, "maxReplicas": 2}, "payments": {
            "target": {"backlogPerReplica": 0}, "cooldownSeconds": 90000, "activationBacklog": -1,
            "behavior": {"scaleUp": {"maxStep": 0}, "scaleDown": {"tolerancePercent": 50}}, "fallback": {"replicas": 11}}},
        "verification": {"intervalSeconds": 59},
        "redis": {"managed": {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "32Mi", "cpu": "many"}}, "storage": {"size": "big"}}}
    }));
    shop.metadata.name = Some(format!("1{}-", "x".repeat(40)));
    let mut found = fields(&shop);
    found.sort();
    assert_eq!(
        found,
        [
            "metadata.name",
            "metadata.name",
            "spec.consumers.inventory.minReplicas",
            "spec.consumers.payments.activationBacklog",
            "spec.consumers.payments.behavior.scaleDown.tolerancePercent",
            "spec.consumers.payments.behavior.scaleUp.maxStep",
            "spec.consumers.payments.cooldownSeconds",
            "spec.consumers.payments.fallback.replicas",
            "spec.consumers.payments.target.backlogPerReplica",
            "spec.currency",
            "spec.inventory.env[0].name",
            "spec.inventory.env[1].name",
            "spec.inventory.env[3].name",
            "spec.inventory.replicas",
            "spec.payments.feePercent",
            "spec.payments.provider.simulated.declineAboveMinor",
            "spec.payments.provider.simulated.latencyMilliseconds",
            "spec.payments.replicas",
            "spec.redis.managed.resources.limits.cpu",
            "spec.redis.managed.resources.limits.memory",
            "spec.redis.managed.resources.requests.memory",
            "spec.redis.managed.storage.size",
            "spec.storefront.image",
            "spec.storefront.replicas",
            "spec.verification.intervalSeconds",
        ]
    );
}

#[test]
fn a_redis_without_kind_or_limit_is_named() {
    assert_eq!(fields(&shop_for_tests(json!({"redis": {}}))), ["spec.redis.managed"]);
    let without_limit = json!({"redis": {"managed": {"resources": {}}}});
    assert_eq!(
        fields(&shop_for_tests(without_limit)),
        ["spec.redis.managed.resources.limits.memory"]
    );
}

#[test]
fn images_follow_the_version_and_an_own_image_wins() {
    let shop = shop_for_tests(json!({"version": "0.2.0", "payments": {"image": "mine:1"}}));
    let images = validate(&shop, &Settings::for_tests()).unwrap().images;
    assert_eq!(
        images.inventory,
        "registry.example/shopwright/shopwright-inventory:0.2.0"
    );
    assert_eq!(images.payments, "mine:1");
    assert_eq!(
        images.redis, "redis.example/redis-stack-server:test",
        "never follows the version"
    );
}
