//! Kubernetes Events of the Shop controller. A failed Event never fails a reconcile.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use tracing::debug;

/// Why an Event is published: the whole registry of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The shop became Ready.
    Ready,
    /// The shop is Ready no more.
    NotReady,
    /// The spec breaks a rule.
    InvalidSpec,
    /// A child's name is taken by something that is not this shop's.
    NameConflict,
    /// A volume that an earlier shop of this name left behind is used again.
    DataAdopted,
    /// Passwords and the admin key were made.
    CredentialsCreated,
    /// The API server refused a child.
    ApplyRefused,
    /// A child that is no longer wanted was removed.
    Pruned,
    /// Consumers are wanted and none is available.
    ConsumersUnavailable,
    /// The books of the shop do not agree with each other.
    InvariantViolated,
}

impl Reason {
    fn word(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::InvalidSpec => "InvalidSpec",
            Self::NameConflict => "NameConflict",
            Self::DataAdopted => "DataAdopted",
            Self::CredentialsCreated => "CredentialsCreated",
            Self::ApplyRefused => "ApplyRefused",
            Self::Pruned => "Pruned",
            Self::ConsumersUnavailable => "ConsumersUnavailable",
            Self::InvariantViolated => "InvariantViolated",
        }
    }

    fn type_(self) -> EventType {
        match self {
            Self::Ready | Self::DataAdopted | Self::CredentialsCreated | Self::Pruned => EventType::Normal,
            _ => EventType::Warning,
        }
    }
}

/// Publishes one Event. `action` is what was being done; it takes part in how repeats are folded together.
pub async fn publish(recorder: &Recorder, about: &ObjectReference, reason: Reason, action: &str, note: &str) {
    let event = Event {
        type_: reason.type_(),
        reason: reason.word().into(),
        // The API server takes at most 1 kB.
        note: Some(note.chars().take(250).collect()),
        action: action.into(),
        secondary: None,
    };
    match tokio::time::timeout(Duration::from_secs(2), recorder.publish(&event, about)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, reason = reason.word(), "an Event could not be published"),
        Err(_) => debug!(reason = reason.word(), "an Event could not be published in time"),
    }
}
