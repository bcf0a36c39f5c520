//! What to look at when a scenario failed: printed once, in the order in which one would ask.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DynamicObject, ListParams};

use crate::cluster::Cluster;
use crate::operator::Operator;

const EVENTS: usize = 40;
const LOG_LINES: i64 = 60;

/// Shop and ConsumerGroup objects, pods and events of a namespace, and the end of the operator's log.
pub async fn of(cluster: &Cluster, namespace: &str) -> String {
    let mut report = String::new();
    objects(&mut report, "Shop", &cluster.shops(namespace)).await;
    objects(&mut report, "ConsumerGroup", &cluster.consumer_groups(namespace)).await;
    pods(&mut report, cluster, namespace).await;
    events(&mut report, cluster, namespace).await;
    let log = Operator::of(cluster).log_tail(LOG_LINES).await;
    let log = log.unwrap_or_else(|error| format!("no log: {error:#}"));
    let _ = writeln!(report, "operator's log:\n{log}");
    report
}

async fn objects(report: &mut String, kind: &str, api: &Api<DynamicObject>) {
    let found = match api.list(&ListParams::default()).await {
        Ok(found) => found.items,
        Err(error) => {
            let _ = writeln!(report, "{kind}: {error}");
            return;
        }
    };
    for object in found {
        let name = object.metadata.name.unwrap_or_default();
        let status = serde_json::to_string_pretty(&object.data["status"]).unwrap_or_default();
        let _ = writeln!(
            report,
            "{kind} {name} at generation {:?}: {status}",
            object.metadata.generation
        );
    }
}

async fn pods(report: &mut String, cluster: &Cluster, namespace: &str) {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    for pod in api
        .list(&ListParams::default())
        .await
        .map(|list| list.items)
        .unwrap_or_default()
    {
        let status = pod.status.unwrap_or_default();
        let name = pod.metadata.name.unwrap_or_default();
        let going = if pod.metadata.deletion_timestamp.is_some() {
            " (going)"
        } else {
            ""
        };
        let _ = writeln!(report, "pod {name}{going}: {}", status.phase.unwrap_or_default());
        for container in status.container_statuses.unwrap_or_default() {
            let state = serde_json::to_string(&container.state).unwrap_or_default();
            let last = serde_json::to_string(&container.last_state).unwrap_or_default();
            let _ = writeln!(
                report,
                "  {} ready={} restarts={} {state} before: {last}",
                container.name, container.ready, container.restart_count
            );
        }
    }
}

async fn events(report: &mut String, cluster: &Cluster, namespace: &str) {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), namespace);
    let mut found = api
        .list(&ListParams::default())
        .await
        .map(|list| list.items)
        .unwrap_or_default();
    let at = |event: &Event| {
        let exact = event.event_time.as_ref().map(|time| time.0);
        exact.or_else(|| event.last_timestamp.as_ref().map(|time| time.0))
    };
    found.sort_by_key(at);
    for event in found.iter().skip(found.len().saturating_sub(EVENTS)) {
        let object = &event.involved_object;
        let _ = writeln!(
            report,
            "event {} {}/{} {}: {}",
            at(event).map(|time| time.to_string()).unwrap_or_default(),
            object.kind.as_deref().unwrap_or_default(),
            object.name.as_deref().unwrap_or_default(),
            event.reason.as_deref().unwrap_or_default(),
            event.message.as_deref().unwrap_or_default()
        );
    }
}
