//! What things are called inside this controller. Plain data.

use std::{fmt, time::Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use shopwright_api::ConsumerGroup;

use crate::scaling::Moment;

/// An object of a namespace, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ObjectKey {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl ObjectKey {
    pub(super) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// One Redis as one user of one namespace: what an actor serves. Nothing is shared across namespaces, so that no
/// namespace can use another's credentials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EndpointKey {
    pub(super) namespace: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: u16,
    /// Name of the Secret with the credentials.
    pub(super) secret: Option<String>,
    pub(super) tls: Option<TlsKey>,
}

/// How TLS is to be spoken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TlsKey {
    /// Name of the Secret with the certificates.
    pub(super) secret: Option<String>,
    /// The name that the server's certificate must bear.
    pub(super) server_name: String,
}

/// A reference for Events.
pub(super) fn reference(key: &ObjectKey, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(ConsumerGroup::api_version(&()).into_owned()),
        kind: Some(ConsumerGroup::kind(&()).into_owned()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// This process's monotonic clock, in the terms of `scaling`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::from_milliseconds(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
