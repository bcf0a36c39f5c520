//! The table of statuses: what was seen, and what `kubectl wait` is told.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    apply::{Applied, Refusal},
    build::children,
    credentials::for_tests,
    kinds::Kind,
    probe::RedisHealth,
    settings::Settings,
    status::{View, differ_in_figures_only, invalid, of},
    validate::{Problem, ValidShop, shop_for_tests, validate},
    verdict::{Obstacle, Verdict},
};
use jiff::Timestamp;
use kube::core::DynamicObject;
use shopwright_api::{
    ShopStatus,
    condition::{CONSISTENT, DEGRADED, PROGRESSING, READY, REDIS_READY, STORAGE_READY, find, is_true_at},
    names::Component,
};

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn shop() -> ValidShop {
    validate(&shop_for_tests(json!({})), &Settings::for_tests()).unwrap()
}

/// All children, and every controller of Kubernetes has done its work.
fn settled(shop: &ValidShop) -> Applied {
    let mut applied = Applied::default();
    for child in children(shop, &Settings::for_tests(), &for_tests(), None) {
        let mut object = DynamicObject::new(&child.name, &child.kind.resource());
        object.metadata.generation = Some(5);
        object.data = child.object.clone();
        let replicas = child.object["spec"]["replicas"].as_i64().unwrap_or(0);
        if child.scaled_from.is_some() {
            object.data["spec"]["replicas"] = json!(0);
        }
        object.data["status"] = match child.kind {
            Kind::Deployment | Kind::StatefulSet => json!({
                "observedGeneration": 5, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas,
            }),
            Kind::VolumeClaim => json!({"phase": "Bound", "capacity": {"storage": "1Gi"}}),
            Kind::ConsumerGroup => json!({
                "backlog": 4,
                "conditions": [{"type": "Ready", "status": "True", "reason": "AsExpected", "message": "",
                    "observedGeneration": 5, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            }),
            _ => Value::Null,
        };
        applied.children.insert((child.kind, child.name), Arc::new(object));
    }
    applied
}

/// Changes one child.
fn with(applied: &mut Applied, kind: Kind, name: &str, change: impl FnOnce(&mut DynamicObject)) {
    let child = applied.children.get_mut(&(kind, name.to_owned())).unwrap();
    change(Arc::make_mut(child));
}

fn status(applied: &Applied, redis: Option<RedisHealth>, starved: &[Component]) -> ShopStatus {
    of(&View {
        shop: &shop(),
        applied,
        redis,
        starved,
        books: None,
        previous: &ShopStatus::default(),
        now: now(),
    })
}

fn reason(status: &ShopStatus, kind: &str) -> (String, String) {
    let condition = find(&status.conditions, kind).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.into(), reason.into())
}

#[test]
fn a_shop_at_rest_is_ready() {
    let status = status(&settled(&shop()), Some(RedisHealth::Ready), &[]);
    assert!(is_true_at(&status.conditions, READY, Some(3)));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!((status.backlog, status.consumer_replicas), (Some(8), Some(0)));
    assert_eq!(status.url.as_deref(), Some("http://demo-storefront.shops.svc:8080"));
    assert_eq!(reason(&status, PROGRESSING), is("False", "Settled"));
    assert_eq!(reason(&status, DEGRADED), is("False", "AsExpected"));
    assert_eq!(reason(&status, STORAGE_READY), is("True", "Bound"));
}

#[test]
fn ready_is_false_for_each_single_thing_that_is_missing() {
    let (services, groups) = ("ServicesNotReady", "ConsumerGroupsNotReady");
    let (deployment, group) = (Kind::Deployment, Kind::ConsumerGroup);
    let table = [
        (
            services,
            deployment,
            "demo-payments",
            "/status/availableReplicas",
            json!(0),
        ),
        (
            services,
            deployment,
            "demo-payments",
            "/status/updatedReplicas",
            json!(0),
        ),
        // a rollout that is stuck: the pod that is available is the old one
        (services, deployment, "demo-payments", "/status/replicas", json!(2)),
        (
            services,
            deployment,
            "demo-storefront",
            "/status/observedGeneration",
            json!(4),
        ),
        (services, deployment, "demo-inventory", "/status", json!({})),
        (groups, group, "demo-payments-consumer", "/status", json!({})),
        (
            groups,
            group,
            "demo-payments-consumer",
            "/status/conditions/0/status",
            json!("Unknown"),
        ),
        (
            groups,
            group,
            "demo-payments-consumer",
            "/status/conditions/0/observedGeneration",
            json!(4),
        ),
    ];
    for (wanted, kind, name, path, value) in table {
        let mut applied = settled(&shop());
        with(&mut applied, kind, name, |it| {
            *it.data.pointer_mut(path).unwrap() = value;
        });
        let status = status(&applied, Some(RedisHealth::Ready), &[]);
        assert_eq!(reason(&status, READY), is("False", wanted), "{name} {path}");
    }
}

#[test]
fn ready_is_false_for_whatever_could_not_be_written() {
    let text = || "Deployment demo-payments".to_owned();
    for (wanted, refusal) in [
        ("NameConflict", Refusal::NameConflict(text())),
        ("ApplyRefused", Refusal::Refused(text())),
        ("WaitingForDeletion", Refusal::Leaving(text())),
        ("VolumeRefused", Refusal::Volume(text())),
    ] {
        let mut applied = settled(&shop());
        applied.refusals.push(refusal);
        let status = status(&applied, Some(RedisHealth::Ready), &[]);
        assert_eq!(reason(&status, READY), is("False", wanted));
    }
}

#[test]
fn ready_follows_redis() {
    for health in [
        None,
        Some(RedisHealth::Loading),
        Some(RedisHealth::Unreachable),
        Some(RedisHealth::AppendOnlyFileFailing),
        Some(RedisHealth::Denied("WRONGPASS")),
    ] {
        let status = status(&settled(&shop()), health, &[]);
        assert_eq!(reason(&status, READY), is("False", "RedisNotReady"));
        assert_ne!(reason(&status, REDIS_READY).0, "True");
        assert!(!status.redis.unwrap().ready);
    }
}

#[test]
fn consumers_are_no_part_of_ready() {
    let mut applied = settled(&shop());
    with(&mut applied, Kind::Deployment, "demo-payments-consumer", |it| {
        it.data["spec"]["replicas"] = json!(3);
    });
    let status = status(&applied, Some(RedisHealth::Ready), &[Component::PaymentsConsumer]);
    assert_eq!(reason(&status, READY), is("True", "AsExpected"));
    assert_eq!(reason(&status, DEGRADED), is("True", "ConsumersUnavailable"));
    assert_eq!(status.consumer_replicas, Some(3));
}

#[test]
fn storage_says_what_it_lacks() {
    let storage = |change: fn(&mut DynamicObject)| {
        let mut applied = settled(&shop());
        with(&mut applied, Kind::VolumeClaim, "demo-redis-data", change);
        reason(&status(&applied, Some(RedisHealth::Ready), &[]), STORAGE_READY)
    };
    assert_eq!(
        storage(|it| it.data["status"] = json!({"phase": "Pending"})),
        is("False", "NoDefaultStorageClass")
    );
    let with_class: fn(&mut DynamicObject) = |it| {
        it.data["spec"]["storageClassName"] = json!("fast");
        it.data["status"] = json!({"phase": "Pending"});
    };
    assert_eq!(storage(with_class), is("False", "WaitingForVolume"));
    assert_eq!(
        storage(|it| it.data["status"]["capacity"]["storage"] = json!("512Mi")),
        is("False", "Resizing")
    );

    let large = validate(
        &shop_for_tests(json!({"redis": {"managed": {"resources": {"limits": {"memory": "2Gi"}}}}})),
        &Settings::for_tests(),
    )
    .unwrap();
    let small = of(&View {
        shop: &large,
        applied: &settled(&large),
        redis: None,
        starved: &[],
        books: None,
        previous: &ShopStatus::default(),
        now: now(),
    });
    assert_eq!(reason(&small, STORAGE_READY), is("False", "VolumeSmall"));
}

#[test]
fn an_unknown_backlog_is_not_a_small_one() {
    let mut applied = settled(&shop());
    with(&mut applied, Kind::ConsumerGroup, "demo-payments-consumer", |it| {
        it.data["status"].as_object_mut().unwrap().remove("backlog");
    });
    assert_eq!(status(&applied, Some(RedisHealth::Ready), &[]).backlog, None);
}

#[test]
fn an_invalid_shop_is_told_every_problem_and_keeps_what_was_seen() {
    let before = status(&settled(&shop()), Some(RedisHealth::Ready), &[]);
    let problems = [("spec.a", "is wrong"), ("spec.b", "is worse")].map(|(field, message)| Problem {
        field: field.into(),
        message: message.into(),
    });
    let after = invalid(&problems, Some(4), &before, now());
    assert_eq!(reason(&after, READY), is("False", "InvalidSpec"));
    let message = &find(&after.conditions, READY).unwrap().message;
    assert_eq!(message, "spec.a: is wrong; spec.b: is worse");
    assert_eq!((after.observed_generation, &after.version), (Some(4), &before.version));
    assert_eq!(reason(&after, REDIS_READY), is("True", "Answering"));
    let types: BTreeSet<_> = after.conditions.iter().map(|it| &it.type_).collect();
    assert_eq!(types.len(), after.conditions.len(), "each type once");
}

#[test]
fn figures_alone_are_told_apart() {
    let one = status(&settled(&shop()), Some(RedisHealth::Ready), &[]);
    let mut other = one.clone();
    other.backlog = Some(99);
    other.consumers[0].replicas = 4;
    assert!(differ_in_figures_only(&one, &other));
    other.url = None;
    assert!(!differ_in_figures_only(&one, &other));
}

#[test]
fn the_books_are_a_condition_of_their_own_while_they_are_compared() {
    let with_books = |books: Option<Verdict>, previous: &ShopStatus| {
        of(&View {
            shop: &shop(),
            applied: &settled(&shop()),
            redis: Some(RedisHealth::Ready),
            starved: &[],
            books,
            previous,
            now: now(),
        })
    };
    let nothing = ShopStatus::default();
    let first = with_books(Some(Verdict::NotYet), &nothing);
    assert_eq!(reason(&first, CONSISTENT), is("Unknown", "NotVerified"));
    assert_eq!(
        reason(&first, READY),
        is("True", "AsExpected"),
        "Ready does not wait for it"
    );
    let sound = with_books(Some(Verdict::Sound), &first);
    assert_eq!(reason(&sound, CONSISTENT), is("True", "Verified"));
    let violated = with_books(Some(Verdict::of(&violation())), &sound);
    assert_eq!(reason(&violated, CONSISTENT), is("False", "InvariantViolated"));
    assert_eq!(
        reason(&violated, READY),
        is("True", "AsExpected"),
        "and does not depend on it"
    );
    let message = &find(&violated.conditions, CONSISTENT).unwrap().message;
    assert_eq!(message, "violations of loss: 1");
    let restarted = with_books(Some(Verdict::NotYet), &violated);
    assert_eq!(restarted, violated, "a restart proves nothing");
    let failed = with_books(Some(Verdict::NotVerified(Obstacle::Deadline)), &violated);
    assert_eq!(reason(&failed, CONSISTENT), is("Unknown", "NotVerified"));
    let again = with_books(Some(Verdict::NotYet), &failed);
    assert_eq!(reason(&again, CONSISTENT), is("Unknown", "NotVerified"));
    assert_eq!(
        find(&with_books(None, &violated).conditions, CONSISTENT),
        None,
        "not wanted any more"
    );
}

fn violation() -> shopwright_verify::Report {
    let finding = shopwright_verify::Finding {
        invariant: shopwright_verify::Invariant::Loss,
        order: None,
        product: None,
        detail: String::new(),
    };
    shopwright_verify::Report {
        findings: vec![finding],
        ..shopwright_verify::Report::default()
    }
}
