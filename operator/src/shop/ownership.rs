//! Whose an object is. Pure.

use kube::{ResourceExt, core::ObjectMeta};
use shopwright_api::names::{ANNOTATION_USED_BY, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY};

use super::{kinds::Kind, validate::ValidShop};

/// Whose an object is, as one shop sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This shop's.
    Ours,
    /// This shop's from now on: data that an earlier shop of the same name left behind.
    LeftBehind,
    /// This shop's, or an earlier shop's of the same name, and about to go: wait for that.
    Leaving,
    /// Something else's: left alone.
    Foreign,
}

/// Judges by owner reference, and a volume claim without owner by its labels.
pub fn of(kind: Option<Kind>, metadata: &ObjectMeta, shop: &ValidShop) -> Ownership {
    let owner = metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    match owner {
        Some(owner) if owner.uid == shop.uid => going_or(metadata, Ownership::Ours),
        // The collector removes what a deleted Shop owned.
        Some(owner) if owner.kind == "Shop" && owner.name == shop.name => Ownership::Leaving,
        None if kind == Some(Kind::VolumeClaim) && labelled(metadata, shop) => {
            let last_user = metadata.annotations.as_ref().and_then(|it| it.get(ANNOTATION_USED_BY));
            let adopted = if last_user == Some(&shop.uid) {
                Ownership::Ours
            } else {
                Ownership::LeftBehind
            };
            going_or(metadata, adopted)
        }
        _ => Ownership::Foreign,
    }
}

fn going_or(metadata: &ObjectMeta, otherwise: Ownership) -> Ownership {
    if metadata.deletion_timestamp.is_some() {
        Ownership::Leaving
    } else {
        otherwise
    }
}

fn labelled(metadata: &ObjectMeta, shop: &ValidShop) -> bool {
    let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key));
    label(LABEL_INSTANCE).is_some_and(|it| *it == shop.name)
        && label(LABEL_MANAGED_BY).is_some_and(|it| it == MANAGED_BY)
}

/// Whether this shop controls an object; what it controls and no longer wants is removed.
pub fn controlled(object: &impl ResourceExt, shop: &ValidShop) -> bool {
    object
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.uid == shop.uid)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::shop::{
        settings::Settings,
        validate::{shop_for_tests, validate},
    };

    fn judged(kind: Kind, metadata: Value) -> Ownership {
        let shop = validate(&shop_for_tests(json!({})), &Settings::for_tests()).unwrap();
        of(Some(kind), &serde_json::from_value(metadata).unwrap(), &shop)
    }

    fn owner(kind: &str, name: &str, uid: &str) -> Value {
        json!([{"apiVersion": "shopwright.dev/v1alpha1", "kind": kind, "name": name, "uid": uid, "controller": true}])
    }

    const UID: &str = "11111111-2222-3333-4444-555555555555";

    #[test]
    fn only_the_uid_makes_it_ours() {
        assert_eq!(
            judged(Kind::Service, json!({"ownerReferences": owner("Shop", "demo", UID)})),
            Ownership::Ours
        );
        assert_eq!(
            judged(
                Kind::Service,
                json!({"ownerReferences": owner("Shop", "demo", "other")})
            ),
            Ownership::Leaving
        );
        assert_eq!(
            judged(
                Kind::Service,
                json!({"ownerReferences": owner("Shop", "else", "other")})
            ),
            Ownership::Foreign
        );
        assert_eq!(
            judged(
                Kind::Service,
                json!({"ownerReferences": owner("ReplicaSet", "demo", "other")})
            ),
            Ownership::Foreign
        );
        let going = json!({"ownerReferences": owner("Shop", "demo", UID), "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(judged(Kind::Service, going), Ownership::Leaving);
    }

    #[test]
    fn labels_alone_make_nothing_ours_but_data() {
        let labels = json!({LABEL_INSTANCE: "demo", LABEL_MANAGED_BY: MANAGED_BY});
        assert_eq!(judged(Kind::Service, json!({"labels": labels})), Ownership::Foreign);
        assert_eq!(
            judged(Kind::VolumeClaim, json!({"labels": labels})),
            Ownership::LeftBehind
        );
        assert_eq!(
            judged(
                Kind::VolumeClaim,
                json!({"labels": labels, "annotations": {ANNOTATION_USED_BY: UID}})
            ),
            Ownership::Ours
        );
        assert_eq!(judged(Kind::VolumeClaim, json!({})), Ownership::Foreign);
        let another = json!({"labels": {LABEL_INSTANCE: "other", LABEL_MANAGED_BY: MANAGED_BY}});
        assert_eq!(judged(Kind::VolumeClaim, another), Ownership::Foreign);
    }
}
