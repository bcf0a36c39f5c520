//! Why a backlog is not known, in the words of conditions and Events. Pure.

use shopwright_streams::Class;

/// Why a backlog is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Unknown {
    /// The Secret with the credentials, or that with the certificates, does not exist.
    SecretNotFound,
    /// A Secret lacks what it is for: `password`, or both of `tls.crt` and `tls.key` if one is there.
    SecretIncomplete,
    /// A Secret cannot be read.
    SecretUnreadable,
    /// The certificates or the server name cannot be used.
    InvalidTls(shopwright_streams::connection::InvalidTls),
    /// A Redis call failed.
    Redis(shopwright_streams::Error),
    /// The server is a node of a Redis Cluster.
    RedisCluster,
    /// A key holds something that is no stream.
    WrongType,
    /// The group has just been lost; it is made again.
    GroupLost,
}

impl Unknown {
    /// A fixed word for conditions and Events.
    pub(in super::super) fn reason(&self) -> &'static str {
        match self {
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretIncomplete => "SecretIncomplete",
            Self::SecretUnreadable => "SecretUnreadable",
            Self::InvalidTls(_) => "InvalidTls",
            Self::RedisCluster => "RedisCluster",
            Self::WrongType => "WrongType",
            Self::GroupLost => "GroupLost",
            Self::Redis(error) => match error.class() {
                _ if is_of_a_cluster(*error) => "RedisCluster",
                Class::Unreachable => "RedisUnreachable",
                Class::ForbiddenAddress => "ForbiddenAddress",
                Class::Tls => "TlsFailed",
                Class::Denied if error.code() == Some("NOPERM") => "NoPermission",
                Class::Denied => "WrongCredentials",
                Class::NotReady => "RedisNotReady",
                Class::NoGroup => "GroupLost",
                Class::WrongType => "WrongType",
                Class::Other => "UnexpectedAnswer",
            },
        }
    }

    /// A sentence for people: fixed words and Redis's code, nothing that a peer wrote.
    pub(in super::super) fn message(&self) -> String {
        match self {
            Self::SecretNotFound => "a Secret that spec.redis names does not exist".to_owned(),
            Self::SecretIncomplete => {
                "the Secret of spec.redis.secretRef has no key `password`, or that of spec.redis.tls.secretRef has only one of `tls.crt` and `tls.key`".to_owned()
            }
            Self::SecretUnreadable => "a Secret that spec.redis names cannot be read".to_owned(),
            Self::InvalidTls(error) => format!("spec.redis.tls: {error}"),
            Self::RedisCluster => CLUSTER.to_owned(),
            Self::WrongType => "a key of spec.streams holds something that is not a stream".to_owned(),
            Self::GroupLost => "the group was lost and is made again".to_owned(),
            Self::Redis(error) if is_of_a_cluster(*error) => CLUSTER.to_owned(),
            Self::Redis(error) => match error.class() {
                Class::ForbiddenAddress => {
                    "spec.redis.host names a loopback or link-local address or the API server".to_owned()
                }
                Class::Tls => {
                    "TLS with Redis failed: one side does not trust the other's certificate, or misses it".to_owned()
                }
                _ => error.to_string(),
            },
        }
    }

    /// Whether one occurrence is enough to say so: an answer is certain, a silence may be a hiccup.
    pub(in super::super) fn is_certain(&self) -> bool {
        match self {
            Self::Redis(error) => !matches!(
                error.class(),
                Class::Unreachable | Class::Tls | Class::Other | Class::NoGroup
            ),
            Self::GroupLost | Self::SecretUnreadable => false,
            _ => true,
        }
    }

    /// Whether other credentials or certificates might help.
    pub(in super::super) fn is_about_credentials(&self) -> bool {
        match self {
            Self::Redis(error) => {
                error.class() == Class::Tls || error.class() == Class::Denied && error.code() != Some("NOPERM")
            }
            Self::RedisCluster => true,
            _ => false,
        }
    }

    /// Whether no other group of the same Redis, as the same user, will fare better.
    pub(in super::super) fn concerns_all(&self) -> bool {
        match self {
            Self::Redis(error) => {
                matches!(error.class(), Class::Unreachable | Class::ForbiddenAddress) || self.is_about_credentials()
            }
            Self::WrongType | Self::GroupLost => false,
            _ => true,
        }
    }

    /// Whether somebody has to do something before it can be better, so that asking often is of no use.
    pub(in super::super) fn needs_people(&self) -> bool {
        match self {
            Self::Redis(error) => !matches!(error.class(), Class::Unreachable | Class::NotReady | Class::NoGroup),
            Self::GroupLost => false,
            _ => true,
        }
    }
}

const CLUSTER: &str = "the server is a node of a Redis Cluster, which is not supported";

fn is_of_a_cluster(error: shopwright_streams::Error) -> bool {
    matches!(error.code(), Some("MOVED" | "CROSSSLOT" | "CLUSTERDOWN"))
}
