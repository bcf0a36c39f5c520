//! A pod as the watch reads it: metadata and the part of the status that says whether it lives. Everything else, the whole
//! spec above all, is skipped while the answer is read and never held.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{NamespaceResourceScope, Resource};
use serde::Deserialize;

use super::{Fact, SeenPod};

/// Label that a Deployment gives its `ReplicaSet`s and pods; the `ReplicaSet` is named `<Deployment>-<this label>`.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What the `ReplicaSet` controller ranks pods by when it has to delete some.
pub(in super::super) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// `v1/Pod`, read in part.
#[derive(Clone, Debug, Deserialize)]
pub(in super::super) struct WirePod {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl Resource for WirePod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(&(): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group(&(): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version(&(): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(&(): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl WirePod {
    /// The little that is kept.
    pub(in super::super) fn shrink(self) -> Fact {
        let Self { metadata, status } = self;
        let target = deployment(&metadata);
        let ready = |condition: &Condition| condition.kind == "Ready" && condition.status == "True";
        let annotations = metadata.annotations.unwrap_or_default();
        Fact {
            // A phase that ends never changes again: an evicted pod's object stays for long, its containers do not.
            finished: status.phase == "Failed" || status.phase == "Succeeded",
            pod: SeenPod {
                name: metadata.name.unwrap_or_default(),
                uid: metadata.uid.unwrap_or_default(),
                ready: status.conditions.iter().any(ready),
                terminating: metadata.deletion_timestamp.is_some(),
                owned: target.is_some(),
                created: metadata.creation_timestamp.map_or(0, |time| time.0.as_second()),
                deletion_cost: annotations
                    .get(DELETION_COST)
                    .and_then(|cost| cost.parse().ok())
                    .unwrap_or(0),
            },
            target,
        }
    }
}

/// Name of the Deployment that the pod belongs to, by its `ReplicaSet`: no request is needed to learn it.
fn deployment(metadata: &ObjectMeta) -> Option<String> {
    let hash = metadata.labels.as_ref()?.get(TEMPLATE_HASH)?;
    let owners = metadata.owner_references.as_deref()?;
    let replica_set = owners.iter().find(|owner| {
        owner.controller == Some(true) && owner.kind == "ReplicaSet" && owner.api_version.starts_with("apps/")
    })?;
    let name = replica_set.name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(pod: Value) -> Fact {
        serde_json::from_value::<WirePod>(pod).expect("a pod").shrink()
    }

    fn pod() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "worker-5d9c-abcde", "namespace": "shop", "uid": "u1",
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "labels": {"pod-template-hash": "5d9c"},
                "annotations": {DELETION_COST: "17"},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "worker-5d9c", "uid": "r", "controller": true},
                ],
            },
            "spec": {"containers": [{"name": "worker", "image": "worker"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.0.0.1"},
        })
    }

    #[test]
    fn keeps_the_little_that_matters() {
        let fact = read(pod());
        assert_eq!(fact.target.as_deref(), Some("worker"));
        assert!(!fact.finished);
        let expected = SeenPod {
            name: "worker-5d9c-abcde".to_owned(),
            uid: "u1".to_owned(),
            ready: true,
            terminating: false,
            owned: true,
            created: 1_767_323_045,
            deletion_cost: 17,
        };
        assert_eq!(fact.pod, expected);
    }

    #[test]
    fn a_pod_without_a_deployment_has_no_target() {
        for (path, value) in [
            ("/metadata/ownerReferences/0/kind", json!("StatefulSet")),
            ("/metadata/ownerReferences/0/controller", json!(false)),
            ("/metadata/ownerReferences/0/apiVersion", json!("example.com/v1")),
            ("/metadata/ownerReferences/0/name", json!("5d9c")),
            ("/metadata/ownerReferences/0/name", json!("a-replica-set-made-by-hand")),
            ("/metadata/labels", json!({})),
        ] {
            let mut pod = pod();
            *pod.pointer_mut(path).expect("a field") = value.clone();
            assert_eq!(read(pod).target, None, "{path} {value}");
        }
    }

    #[test]
    fn knows_who_is_on_the_way_out_and_who_has_ended() {
        let mut terminating = pod();
        terminating["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:05:05Z");
        terminating["status"]["conditions"][0]["status"] = json!("False");
        let fact = read(terminating);
        assert!(fact.pod.terminating && !fact.pod.ready && !fact.finished);
        for phase in ["Failed", "Succeeded"] {
            let mut ended = pod();
            ended["status"]["phase"] = json!(phase);
            assert!(read(ended).finished);
        }
        let mut new = pod();
        new["status"] = json!({});
        new["metadata"]["annotations"][DELETION_COST] = json!("much");
        let fact = read(new);
        assert_eq!(
            (fact.pod.ready, fact.finished, fact.pod.deletion_cost),
            (false, false, 0)
        );
    }
}
