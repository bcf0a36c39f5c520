//! Every request this controller makes of the API server apart from its watches: scale, status, Event, Secret.
//! Every write needs a token.

use std::{future::Future, sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret as KubernetesSecret},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder},
};
use serde_json::json;
use shopwright_api::{
    ConsumerGroup, ConsumerGroupStatus,
    names::{SCALE_MANAGER, STATUS_MANAGER},
};
use tracing::debug;

use super::{
    assign::Subject,
    credentials::SecretData,
    identity::{ObjectKey, reference},
    pods::DELETION_COST,
    status::Unknown,
};
use crate::{
    lease::WriteToken,
    metrics::{Controller, Metrics},
};

/// Longest time for one request, its retries included.
const DEADLINE: Duration = Duration::from_secs(5);

/// What was written to `/scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) replicas: u32,
    /// Version of the Deployment after the write, if it can be compared.
    pub(super) version: Option<u64>,
}

/// Why a write did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// This operator may not write any more.
    #[error("not the leader")]
    NotLeader,
    /// The object does not exist.
    #[error("not found")]
    NotFound,
    /// The API server answered with this HTTP status; 0 without an answer.
    #[error("refused with status {0}")]
    Refused(u16),
}

/// An Event to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    /// Repeats of one reason and action are folded into one Event that keeps its first note: what must not be lost
    /// differs here.
    pub(super) action: String,
    pub(super) note: String,
}

impl Notice {
    /// Within the API server's limits, which count bytes.
    pub(super) fn new(warning: bool, reason: &'static str, action: &str, note: &str) -> Self {
        let cut = |text: &str, most: usize| text[..text.floor_char_boundary(most)].to_owned();
        Self {
            warning,
            reason,
            action: cut(action, 128),
            note: cut(note, 1_024),
        }
    }
}

/// The cluster, as far as this controller changes it.
pub(super) trait Cluster: Send + Sync + 'static {
    /// Sets the replicas of a Deployment.
    fn scale(
        &self,
        token: &WriteToken,
        target: &ObjectKey,
        replicas: u32,
    ) -> impl Future<Output = Result<Written, Failure>> + Send;

    /// Writes a status.
    fn write_status(
        &self,
        token: &WriteToken,
        subject: &Subject,
        status: &ConsumerGroupStatus,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Reads a Secret.
    fn secret(&self, secret: &ObjectKey) -> impl Future<Output = Result<SecretData, Unknown>> + Send;

    /// Sets how much it costs to delete a pod, if it is still the one of this uid.
    fn set_deletion_cost(
        &self,
        token: &WriteToken,
        pod: &ObjectKey,
        uid: &str,
        cost: i32,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Tells people; never waits and never fails.
    fn tell(&self, subject: &Subject, notice: Notice);
}

/// The real one.
#[derive(Clone)]
pub(super) struct Kubernetes {
    pub(super) client: Client,
    pub(super) recorder: Recorder,
    pub(super) metrics: Arc<Metrics>,
}

impl Kubernetes {
    /// One request with its deadline.
    async fn ask<Answer>(&self, request: impl Future<Output = kube::Result<Answer>>) -> Result<Answer, Failure> {
        let Ok(answer) = tokio::time::timeout(DEADLINE, request).await else {
            self.metrics.api_error(Controller::ConsumerGroup, 0);
            return Err(Failure::Refused(0));
        };
        answer.map_err(|error| {
            self.metrics.kube_error(Controller::ConsumerGroup, &error);
            debug!(%error, "request failed");
            match error {
                kube::Error::Api(status) if status.code == 404 => Failure::NotFound,
                kube::Error::Api(status) => Failure::Refused(status.code),
                _ => Failure::Refused(0),
            }
        })
    }
}

impl Cluster for Kubernetes {
    async fn scale(&self, token: &WriteToken, target: &ObjectKey, replicas: u32) -> Result<Written, Failure> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &target.namespace);
        // Applied, never merged: a merge patch on `/scale` takes no ownership of the field, and whoever applies the
        // Deployment without `replicas` would then reset it.
        let scale = json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": target.name, "namespace": target.namespace},
            "spec": {"replicas": replicas},
        });
        let parameters = PatchParams::apply(SCALE_MANAGER).force();
        let patch = Patch::Apply(&scale);
        token.check().map_err(|_| Failure::NotLeader)?;
        let scale = self.ask(api.patch_scale(&target.name, &parameters, &patch)).await?;
        // Zero is left out of the answer.
        let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
        Ok(Written {
            replicas: u32::try_from(replicas).unwrap_or(0),
            version: scale
                .metadata
                .resource_version
                .as_deref()
                .and_then(|version| version.parse().ok()),
        })
    }

    async fn write_status(
        &self,
        token: &WriteToken,
        subject: &Subject,
        status: &ConsumerGroupStatus,
    ) -> Result<(), Failure> {
        use kube::Resource as _;
        let api: Api<ConsumerGroup> = Api::namespaced(self.client.clone(), &subject.key.namespace);
        // The uid refuses the write to a successor of the same name.
        let object = json!({
            "apiVersion": ConsumerGroup::api_version(&()),
            "kind": ConsumerGroup::kind(&()),
            "metadata": {"name": subject.key.name, "uid": subject.uid},
            "status": status,
        });
        let parameters = PatchParams::apply(STATUS_MANAGER).force();
        let patch = Patch::Apply(&object);
        token.check().map_err(|_| Failure::NotLeader)?;
        self.ask(api.patch_status(&subject.key.name, &parameters, &patch))
            .await
            .map(|_| ())
    }

    async fn secret(&self, secret: &ObjectKey) -> Result<SecretData, Unknown> {
        let api: Api<KubernetesSecret> = Api::namespaced(self.client.clone(), &secret.namespace);
        match self.ask(api.get(&secret.name)).await {
            Ok(found) => Ok(found
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, bytes)| (key, bytes.0))
                .collect()),
            Err(Failure::NotFound) => Err(Unknown::SecretNotFound),
            Err(_) => Err(Unknown::SecretUnreadable),
        }
    }

    async fn set_deletion_cost(
        &self,
        token: &WriteToken,
        pod: &ObjectKey,
        uid: &str,
        cost: i32,
    ) -> Result<(), Failure> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        // The uid refuses the write to a successor of the same name.
        let change = json!({"metadata": {"uid": uid, "annotations": {DELETION_COST: cost.to_string()}}});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&change));
        token.check().map_err(|_| Failure::NotLeader)?;
        self.ask(api.patch_metadata(&pod.name, &parameters, &patch))
            .await
            .map(|_| ())
    }

    fn tell(&self, subject: &Subject, notice: Notice) {
        let recorder = self.recorder.clone();
        let about = reference(&subject.key, &subject.uid);
        // On its own, because a scale write must not wait for an Event.
        tokio::spawn(async move {
            let event = Event {
                type_: if notice.warning {
                    EventType::Warning
                } else {
                    EventType::Normal
                },
                reason: notice.reason.to_owned(),
                note: Some(notice.note),
                action: notice.action,
                secondary: None,
            };
            match tokio::time::timeout(DEADLINE, recorder.publish(&event, &about)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, reason = notice.reason, "an Event could not be published"),
                Err(_) => debug!(reason = notice.reason, "an Event could not be published in time"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_words_keep_within_the_api_servers_limits_in_bytes() {
        let notice = Notice::new(true, "GroupLost", &"ü".repeat(200), &"日".repeat(900));
        assert_eq!((notice.action.len(), notice.note.len()), (128, 1_023));
    }
}
