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
    /// An object was made or changed by somebody else between our look and our write.
    #[error("{0} was made or changed by somebody else just now")]
    Raced(String),
    /// A Secret holds something under a key that cannot be used, and that is not ours to replace.
    #[error("{secret}: its key `{key}` is empty or not text; write a value there, or remove the key to have one made")]
    Unusable {
        /// The Secret.
        secret: String,
        /// The key.
        key: &'static str,
    },
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

    /// The same, about a Secret. Of the answer only code and reason are kept: its text may quote what was sent.
    #[must_use]
    pub fn about_secret(mut self, name: &str) -> Self {
        if let Self::Api { source, .. } = &mut self
            && let kube::Error::Api(status) = source.as_mut()
        {
            status.message.clone_from(&status.reason);
            for cause in status.details.iter_mut().flat_map(|details| &mut details.causes) {
                cause.message.clear();
            }
        }
        self.named(format!("Secret {name}"))
    }

    /// The same, as a lost race if that is what a conflict means here: nothing to tell people, only to try again.
    #[must_use]
    pub fn or_raced(self) -> Self {
        match self {
            Self::Api { object, .. } if self.status() == Some(409) => Self::Raced(object),
            other => other,
        }
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
            Self::Unusable { .. } => Class::User,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16) -> Error {
        let status = serde_json::json!({
            "code": code, "reason": "Invalid", "message": "quotes hunter2",
            "details": {"causes": [{"reason": "FieldValueInvalid", "message": "hunter2", "field": "data"}]},
        });
        Error::api(kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[test]
    fn of_a_secret_only_code_and_reason_are_told() {
        let error = answer(422).about_secret("demo-admin");
        assert_eq!(error.summary(), "Secret demo-admin: Invalid (422)");
        assert_eq!(error.class(), Class::User);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(
            answer(422)
                .about(Kind::Deployment, "demo")
                .summary()
                .contains("hunter2")
        );
    }

    #[test]
    fn a_lost_race_is_tried_again_and_not_told() {
        let raced = answer(409).about(Kind::Deployment, "demo").or_raced();
        assert_eq!((raced.class(), raced.status()), (Class::Retry, None));
        assert_eq!(answer(422).or_raced().status(), Some(422));
    }
}
