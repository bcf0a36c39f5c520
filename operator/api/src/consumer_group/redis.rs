//! Where a ConsumerGroup's Redis listens and how to sign in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where Redis listens and how to sign in.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct RedisAddress {
    /// Host name or address. A name without a dot is a Service of this namespace.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// TCP port. Default 6379.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Number of the database. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65535))]
    pub database: u32,
    /// Connect by TLS. `{}` trusts the public certificate authorities. Absent, the default: no TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTls>,
    /// A Secret of the same namespace with the keys `username` (optional) and `password`. Read again when Redis refuses them. Without one the operator does not sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

fn default_port() -> u16 {
    6379
}

/// How TLS trusts the server, and shows who it is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct RedisTls {
    /// A Secret of the same namespace. Its key `ca.crt`, if there is one, holds the only certificate authorities to trust (PEM); `tls.crt` and `tls.key`, if there, are a client certificate (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// The name that the server's certificate must bear. Default: `host`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// A Secret of the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub struct SecretReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
