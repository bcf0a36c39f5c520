//! Where a Redis is and as whom to connect. Pure.

use super::tls::Tls;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult};
use std::fmt;

/// A password. It never shows in logs: `Debug` prints a placeholder, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// The password itself, to hand to the client library.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// One Redis database as one user. Two equal endpoints can share a [`Client`](super::Client).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The logical database. Other than 0, the user needs SELECT.
    pub database: u16,
    /// The ACL user; none is `default`.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// How to speak TLS; none is plain TCP.
    pub tls: Option<Tls>,
}

impl Endpoint {
    /// Database 0 of a Redis that wants no password.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            database: 0,
            username: None,
            password: None,
            tls: None,
        }
    }

    /// The same, as an ACL user.
    #[must_use]
    pub fn with_user(self, username: impl Into<String>, password: Secret) -> Self {
        Self {
            username: Some(username.into()),
            password: Some(password),
            ..self
        }
    }

    /// The same, in another logical database.
    #[must_use]
    pub fn with_database(self, database: u16) -> Self {
        Self { database, ..self }
    }

    /// The same, over TLS.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    pub(super) fn connection_info(&self) -> RedisResult<ConnectionInfo> {
        // An ACL user of ours may not CLIENT SETINFO; asking anyway would fill the server's ACL log.
        let mut user = RedisConnectionInfo::default()
            .set_db(i64::from(self.database))
            .set_skip_set_lib_name();
        if let Some(username) = &self.username {
            user = user.set_username(username);
        }
        if let Some(password) = &self.password {
            user = user.set_password(password.expose());
        }
        let info = (self.host.as_str(), self.port)
            .into_connection_info()?
            .set_redis_settings(user);
        let Some(tls) = &self.tls else { return Ok(info) };
        // The library expects the certificate of the name it dials. The resolver dials the host all the same.
        let address = ConnectionAddr::TcpTls {
            host: tls.server_name().unwrap_or(&self.host).to_owned(),
            port: self.port,
            insecure: false,
            tls_params: None,
        };
        Ok(info.set_addr(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_prints() {
        let endpoint = Endpoint::new("redis", 6379).with_user("operator", Secret::new("hunter2"));
        assert!(!format!("{endpoint:?}").contains("hunter2"));
        assert!(!format!("{:?}", super::super::Client::new(endpoint)).contains("hunter2"));
    }
}
