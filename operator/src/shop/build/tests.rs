//! Given a Shop, exactly these children.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use shopwright_api::{ConsumerGroup, names::ANNOTATION_CONFIGURATION};

use super::{Child, children};
use crate::shop::{
    credentials::{Credentials, Hidden, Holder, for_tests},
    kinds::Kind,
    settings::Settings,
    validate::{ValidShop, shop_for_tests, validate},
};

fn valid(spec: Value) -> ValidShop {
    validate(&shop_for_tests(spec), &Settings::for_tests()).unwrap()
}

fn built(spec: Value) -> Vec<Child> {
    children(&valid(spec), &Settings::for_tests(), &for_tests(), None)
}

fn everything() -> Value {
    json!({
        "version": "0.2.0",
        "inventory": {"replicas": 2, "env": [{"name": "LOG", "value": "debug"}]},
        "payments": {"replicas": 3, "provider": {"simulated": {"declineAboveMinor": 100_000}}},
        "storefront": {"replicas": 2},
        "consumers": {"payments": {"paused": true, "fallback": {"replicas": 2}, "behavior": {"scaleUp": {"maxStep": 4}}}},
        "redis": {"managed": {"durability": "EverySecond", "storage": {"size": "2Gi", "storageClassName": "fast"}}},
        "deletionPolicy": "Delete",
        "imagePullSecrets": [{"name": "registry"}]
    })
}

/// What a consumer does with pending messages can be changed by its environment; whoever counts them has to know.
#[test]
fn a_group_counts_pending_messages_as_its_consumers_do() {
    let pending = |environment: &[(&str, &str)]| {
        let variables: Vec<_> = environment
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        let children = built(json!({"inventory": {"env": variables}}));
        let spec = |name| find(&children, Kind::ConsumerGroup, name).object["spec"].clone();
        assert_eq!(
            spec("demo-payments-consumer")["pending"],
            json!({"claimMinIdleSeconds": 60, "maxDeliveries": 5, "deleteConsumersAfterSeconds": 3600})
        );
        let inventory = spec("demo-inventory-consumer");
        let number = |field: &str| inventory["pending"][field].as_i64().unwrap();
        (number("claimMinIdleSeconds"), number("maxDeliveries"))
    };
    assert_eq!(pending(&[]), (60, 5));
    let quick = [("CLAIM_MIN_IDLE_MILLISECONDS", "1500"), ("MAX_DELIVERIES", "3")];
    assert_eq!(pending(&quick), (2, 3));
    assert_eq!(pending(&[("MAX_DELIVERIES", "0")]), (60, 10_000), "0 is for ever");
    assert_eq!(
        pending(&[("MAX_DELIVERIES", "many")]),
        (60, 5),
        "that process does not start"
    );
}

fn find(children: &[Child], kind: Kind, name: &str) -> Child {
    children
        .iter()
        .find(|it| it.kind == kind && it.name == name)
        .cloned()
        .unwrap()
}

fn yaml(value: &impl Serialize) -> String {
    serde_yaml::to_string(value).unwrap()
}

/// Every pod template, by the name of its workload.
fn templates(children: &[Child]) -> Vec<(String, Value)> {
    children
        .iter()
        .filter(|it| matches!(it.kind, Kind::Deployment | Kind::StatefulSet))
        .map(|it| (it.name.clone(), it.object["spec"]["template"].clone()))
        .collect()
}

#[test]
fn an_empty_spec_makes_exactly_these_children_in_this_order() {
    let list: Vec<_> = built(json!({}))
        .iter()
        .map(|it| format!("{:?} {}", it.kind, it.name))
        .collect();
    insta::assert_snapshot!(yaml(&list));
}

/// A change here restarts every user's pods. Is it worth that?
#[test]
fn pod_templates_of_an_empty_spec() {
    for (name, template) in templates(&built(json!({}))) {
        insta::assert_snapshot!(format!("template_{name}"), yaml(&template));
    }
}

#[test]
fn redis_conf() {
    let config = find(&built(json!({})), Kind::ConfigMap, "demo-redis");
    insta::assert_snapshot!(config.object["data"]["redis.conf"].as_str().unwrap());
}

#[test]
fn everything_that_can_be_asked_for() {
    let children = built(everything());
    let rest: Vec<_> = children
        .iter()
        .filter(|it| !matches!(it.kind, Kind::NetworkPolicy | Kind::ServiceAccount | Kind::ConfigMap))
        .map(|it| json!({"kind": format!("{:?}", it.kind), "scaledFrom": it.scaled_from, "object": it.object}))
        .collect();
    insta::assert_snapshot!(yaml(&rest));
}

/// JSON that a typed object does not take up entirely has a field that Kubernetes does not know.
#[test]
fn kubernetes_knows_every_field() {
    fn known<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
        let mut typed = serde_json::to_value(serde_json::from_value::<T>(object.clone()).unwrap()).unwrap();
        let map = typed.as_object_mut().unwrap();
        map.remove("apiVersion");
        map.remove("kind");
        typed
    }
    for spec in [json!({}), everything()] {
        for child in built(spec) {
            let mut typed_object = child.object.clone();
            if child.kind == Kind::ConsumerGroup {
                typed_object["apiVersion"] = json!("shopwright.dev/v1alpha1");
                typed_object["kind"] = json!("ConsumerGroup");
            }
            let typed = match child.kind {
                Kind::ServiceAccount => known::<ServiceAccount>(&typed_object),
                Kind::NetworkPolicy => known::<NetworkPolicy>(&typed_object),
                Kind::ConfigMap => known::<ConfigMap>(&typed_object),
                Kind::VolumeClaim => known::<PersistentVolumeClaim>(&typed_object),
                Kind::Service => known::<Service>(&typed_object),
                Kind::StatefulSet => known::<StatefulSet>(&typed_object),
                Kind::DisruptionBudget => known::<PodDisruptionBudget>(&typed_object),
                Kind::Deployment => known::<Deployment>(&typed_object),
                Kind::ConsumerGroup => known::<ConsumerGroup>(&typed_object),
            };
            assert_eq!(typed, child.object, "{:?} {}", child.kind, child.name);
        }
    }
}

#[test]
fn every_pod_is_restricted() {
    for (name, template) in templates(&built(everything())) {
        let pod = &template["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["securityContext"]["runAsUser"], 65532, "{name}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        for container in pod["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{name}");
        }
    }
}

#[test]
fn pods_roll_only_when_what_they_consume_changed() {
    let rolled = |one: &[Child], other: &[Child]| -> Vec<String> {
        templates(one)
            .into_iter()
            .zip(templates(other))
            .filter(|(before, after)| before != after)
            .map(|(before, _)| before.0)
            .collect()
    };
    let before = built(json!({}));
    let after = |spec| rolled(&before, &built(spec));
    assert_eq!(
        after(json!({"payments": {"feePercent": 5}})),
        ["demo-payments", "demo-payments-consumer"]
    );
    assert_eq!(
        after(json!({"inventory": {"env": [{"name": "LOG", "value": "debug"}]}})),
        ["demo-inventory", "demo-inventory-consumer"]
    );
    assert_eq!(
        after(json!({"redis": {"managed": {"durability": "EverySecond"}}})),
        ["demo-redis"]
    );
    assert_eq!(
        after(json!({"redis": {"managed": {"storage": {"size": "5Gi"}}}})),
        Vec::<String>::new()
    );
    assert_eq!(
        after(json!({"consumers": {"inventory": {"maxReplicas": 3}}})),
        Vec::<String>::new()
    );
    assert_eq!(
        after(json!({"networkPolicy": {"enabled": false}})),
        Vec::<String>::new()
    );

    let shop = valid(json!({}));
    let newer = Settings {
        version: "9.9.9".into(),
        operator_namespace: None,
        ..Settings::for_tests()
    };
    let upgraded = children(&shop, &newer, &for_tests(), None);
    assert_eq!(
        rolled(&before, &upgraded),
        Vec::<String>::new(),
        "another operator, same images"
    );

    let rotated: Vec<_> = Holder::all()
        .map(|holder| {
            let old = for_tests();
            let text = match holder {
                Holder::Admin => "new".to_owned(),
                Holder::OrderTokens => old.order_token_keys().to_owned(),
                Holder::Redis(user) => old.password(user).to_owned(),
            };
            (holder, Hidden::new(text))
        })
        .collect();
    let rotated = children(
        &shop,
        &Settings::for_tests(),
        &Credentials::complete(&rotated).unwrap(),
        None,
    );
    assert_eq!(
        rolled(&before, &rotated),
        ["demo-inventory", "demo-payments"],
        "who checks the admin key"
    );
}

#[test]
fn no_secret_text_stands_in_any_child() {
    for child in built(everything()) {
        assert!(
            !child.object.to_string().contains("secret of"),
            "{:?} {}",
            child.kind,
            child.name
        );
    }
}

#[test]
fn the_claim_outlives_a_retaining_shop_and_goes_with_a_deleting_one() {
    let owners =
        |spec| find(&built(spec), Kind::VolumeClaim, "demo-redis-data").object["metadata"]["ownerReferences"].clone();
    assert_eq!(owners(json!({})), Value::Null);
    assert_eq!(
        owners(json!({"deletionPolicy": "Delete"}))[0]["uid"],
        "11111111-2222-3333-4444-555555555555"
    );
}

#[test]
fn a_claim_that_is_larger_already_is_not_asked_to_shrink() {
    let size = |claimed| {
        let children = children(&valid(json!({})), &Settings::for_tests(), &for_tests(), claimed);
        find(&children, Kind::VolumeClaim, "demo-redis-data").object["spec"]["resources"]["requests"]["storage"].clone()
    };
    assert_eq!(size(None), "1Gi");
    assert_eq!(size(Some(1 << 20)), "1Gi");
    assert_eq!(size(Some(5 << 30)), (5_u64 << 30).to_string());
}

#[test]
fn without_a_storefront_none_of_its_children_is_there() {
    let children = built(json!({"storefront": {"enabled": false}}));
    assert!(children.iter().all(|it| !it.name.contains("storefront")));
}

#[test]
fn budgets_and_spread_only_above_one_replica() {
    let one = built(json!({}));
    assert!(one.iter().all(|it| it.kind != Kind::DisruptionBudget));
    let several = built(everything());
    assert_eq!(several.iter().filter(|it| it.kind == Kind::DisruptionBudget).count(), 3);
    let spread = |children: &[Child]| {
        let deployment = find(children, Kind::Deployment, "demo-inventory");
        deployment.object["spec"]["template"]["spec"]["topologySpreadConstraints"].clone()
    };
    assert_eq!(spread(&one), Value::Null);
    assert_eq!(spread(&several)[0]["topologyKey"], "kubernetes.io/hostname");
}

#[test]
fn the_hash_of_a_template_is_there_where_secrets_are() {
    for (name, template) in templates(&built(json!({}))) {
        let hash = &template["metadata"]["annotations"][ANNOTATION_CONFIGURATION];
        assert_eq!(hash.is_string(), name != "demo-storefront", "{name}");
    }
}
