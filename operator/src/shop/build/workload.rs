//! Deployments of our own programs: what is the same for all of them.

use serde_json::{Map, Value, json};
use shopwright_api::{
    Resources,
    names::{self, ADMIN_PORT, ANNOTATION_CONFIGURATION, Component, HTTP_PORT},
};

use super::Builder;

/// The user and group of every container.
const USER: i64 = 65532;

/// What differs between our Deployments.
pub(super) struct Workload<'a> {
    pub(super) component: Component,
    pub(super) image: &'a str,
    pub(super) command: &'static str,
    /// `None` leaves the number to whoever applies the replicas rule.
    pub(super) replicas: Option<i32>,
    pub(super) resources: &'a Resources,
    /// Whether shoppers' or services' requests arrive here.
    pub(super) serves: bool,
    /// Spread over nodes and kept through disruptions.
    pub(super) several: bool,
    pub(super) grace_seconds: i64,
}

impl Builder<'_> {
    pub(super) fn deployment(&self, workload: &Workload<'_>) -> Value {
        let component = workload.component;
        let environment = self.environment(component);
        let mut template = json!({"labels": names::component_labels(self.name(), component)});
        if let Some(hash) = environment.hash() {
            template["annotations"] = json!({ANNOTATION_CONFIGURATION: hash});
        }
        let mut spec = json!({
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": names::selector(self.name(), component)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": template, "spec": self.pod(workload, environment.variables())},
        });
        if let Some(replicas) = workload.replicas {
            spec["replicas"] = replicas.into();
        }
        json!({"metadata": self.metadata(component), "spec": spec})
    }

    fn pod(&self, workload: &Workload<'_>, environment: &[Value]) -> Value {
        let mut pod = json!({
            "serviceAccountName": account_of(workload.component).object_name(self.name()),
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": workload.grace_seconds,
            "securityContext": pod_security(),
            "imagePullSecrets": self.pull_secrets(),
            "containers": [container(workload, environment)],
        });
        if workload.several {
            pod["topologySpreadConstraints"] = json!([{
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": names::selector(self.name(), workload.component)},
                // Each revision spreads by itself; else the old one's pods push the new ones together.
                "matchLabelKeys": ["pod-template-hash"],
            }]);
        }
        pod
    }
}

fn container(workload: &Workload<'_>, environment: &[Value]) -> Value {
    let mut ports = vec![json!({"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"})];
    let mut container = Map::from_iter([
        ("name".to_owned(), json!(workload.component.program())),
        ("image".to_owned(), json!(workload.image)),
        ("args".to_owned(), json!([workload.command])),
        ("env".to_owned(), json!(environment)),
        ("resources".to_owned(), json!(workload.resources)),
        ("securityContext".to_owned(), restricted()),
        ("livenessProbe".to_owned(), probe("/livez", 10, 6)),
        ("readinessProbe".to_owned(), probe("/readyz", 2, 2)),
    ]);
    if workload.serves {
        ports.insert(
            0,
            json!({"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}),
        );
        // Endpoints are told of a pod's end while it ends: go on answering until they have heard of it.
        container.insert("lifecycle".into(), json!({"preStop": {"sleep": {"seconds": 3}}}));
    }
    container.insert("ports".into(), ports.into());
    Value::Object(container)
}

fn probe(path: &str, period_seconds: i64, failure_threshold: i64) -> Value {
    json!({
        "httpGet": {"path": path, "port": "admin", "scheme": "HTTP"},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 3,
        "failureThreshold": failure_threshold,
    })
}

/// A consumer is the same program as its service, with the same rights.
fn account_of(component: Component) -> Component {
    match component {
        Component::InventoryConsumer => Component::Inventory,
        Component::PaymentsConsumer => Component::Payments,
        other => other,
    }
}

/// Pod Security Standard "restricted", for a pod.
pub(super) fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// Pod Security Standard "restricted", for a container, and no writable root on top.
pub(super) fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]},
    })
}
