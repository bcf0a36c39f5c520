//! Every request this controller makes of the API server apart from its watches: scale, status, Event, Secret.
//! Every write needs a token.

use std::{future::Future, sync::Arc, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret as KubernetesSecret};
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
use shopwright_streams::Secret;
use tracing::debug;

use super::{
    assign::Subject,
    identity::{ObjectKey, reference},
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

/// Who the operator is to a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    /// None is Redis's user `default`.
    pub(super) username: Option<String>,
    pub(super) password: Secret,
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

    /// Reads the credentials in a Secret.
    fn credentials(&self, secret: &ObjectKey) -> impl Future<Output = Result<Credentials, Unknown>> + Send;

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

    async fn credentials(&self, secret: &ObjectKey) -> Result<Credentials, Unknown> {
        let api: Api<KubernetesSecret> = Api::namespaced(self.client.clone(), &secret.namespace);
        let found = match self.ask(api.get(&secret.name)).await {
            Ok(found) => found,
            Err(Failure::NotFound) => return Err(Unknown::SecretNotFound),
            Err(_) => return Err(Unknown::SecretUnreadable),
        };
        let text = |key: &str| {
            let bytes = found.data.as_ref()?.get(key)?;
            String::from_utf8(bytes.0.clone()).ok().filter(|text| !text.is_empty())
        };
        let password = text("password").ok_or(Unknown::SecretIncomplete)?;
        Ok(Credentials {
            username: text("username"),
            password: Secret::new(password),
        })
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
                note: Some(notice.note.chars().take(900).collect()),
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
