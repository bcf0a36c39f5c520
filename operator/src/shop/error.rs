//! Why a reconcile of a Shop failed.

use crate::{error::Class, lease::NotLeader};

use super::kinds::Kind;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or failed a request.
    #[error("{object}: {source}")]
    Api {
        /// What the request was about.
        object: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("the API server did not answer in time")]
    Deadline,
    /// Leadership was lost on the way.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// A Secret was made by somebody else between our look and our write.
    #[error("{0} was made by somebody else just now")]
    Raced(String),
}

impl Error {
    /// A failed request that has no name yet.
    pub fn api(error: kube::Error) -> Self {
        Self::Api {
            object: "request".into(),
            source: Box::new(error),
        }
    }

    /// The same, about a child.
    #[must_use]
    pub fn about(self, kind: Kind, name: &str) -> Self {
        self.named(format!("{} {name}", kind.resource().kind))
    }

    /// The same, about a Secret.
    #[must_use]
    pub fn about_secret(self, name: &str) -> Self {
        self.named(format!("Secret {name}"))
    }

    /// The same, about the Shop's status.
    #[must_use]
    pub fn about_status(self) -> Self {
        self.named("status".into())
    }

    fn named(self, object: String) -> Self {
        match self {
            Self::Api { source, .. } => Self::Api { object, source },
            other => other,
        }
    }

    /// What can be done about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Api { source, .. } => Class::of(source),
            Self::NotLeader(_) => Class::Wait,
            Self::Deadline | Self::Raced(_) => Class::Retry,
        }
    }

    /// The HTTP status of the API server's answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }

    /// A sentence for status: the object and the API server's reason, without its text where that could hold more.
    pub fn summary(&self) -> String {
        match self {
            Self::Api { object, source } => match source.as_ref() {
                kube::Error::Api(status) => format!("{object}: {} ({})", status.message, status.code),
                _ => format!("{object}: the API server could not be reached"),
            },
            other => other.to_string(),
        }
    }
}
