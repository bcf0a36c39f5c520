//! TLS to Redis: whom to trust and how to show who we are. Pure; files and Secrets are the caller's to read.

use crate::error::TLS_FAILED;
use redis::{ClientTlsConfig, TlsCertificates};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::fmt;
use std::sync::Arc;

/// How to speak TLS with one Redis. `default()` trusts the public roots and shows no certificate.
///
/// The key never shows in logs: `Debug` says only what is set.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    authority: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

/// Material that TLS cannot be spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTls {
    /// No certificate, or one that cannot be read.
    #[error("the CA holds no usable certificate")]
    Authority,
    /// Certificate and key cannot be read, or do not belong together.
    #[error("the client certificate and its key are not usable together")]
    Identity,
    /// Neither a DNS name nor an address.
    #[error("the server name is neither a DNS name nor an address")]
    ServerName,
}

impl Tls {
    /// Trusts the certificates in `pem`, and no public root any more.
    pub fn with_authority(self, pem: impl Into<Vec<u8>>) -> Result<Self, InvalidTls> {
        let pem = pem.into();
        roots(&pem)?;
        Ok(Self {
            authority: Some(pem),
            ..self
        })
    }

    /// Shows this certificate chain, whose key is `key`; both PEM.
    pub fn with_identity(self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Result<Self, InvalidTls> {
        let (chain, key) = (chain.into(), key.into());
        prove(&chain, &key).ok_or(InvalidTls::Identity)?;
        Ok(Self {
            identity: Some((chain, key)),
            ..self
        })
    }

    /// Expects the certificate of this name instead of the host's.
    pub fn with_server_name(self, name: impl Into<String>) -> Result<Self, InvalidTls> {
        let name = name.into();
        ServerName::try_from(name.as_str()).map_err(|_| InvalidTls::ServerName)?;
        Ok(Self {
            server_name: Some(name),
            ..self
        })
    }

    /// The name that the server's certificate must have, if it is not the host's.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    pub(super) fn certificates(&self) -> TlsCertificates {
        TlsCertificates {
            client_tls: self.identity.clone().map(|(client_cert, client_key)| ClientTlsConfig {
                client_cert,
                client_key,
            }),
            root_cert: self.authority.clone(),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("authority", &self.authority.is_some())
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, InvalidTls> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| InvalidTls::Authority)?;
        roots.add(certificate).map_err(|_| InvalidTls::Authority)?;
    }
    // An empty set trusts nobody: better said now than as a failure of every handshake.
    if roots.is_empty() {
        return Err(InvalidTls::Authority);
    }
    Ok(roots)
}

/// Whether the key is the certificate's.
fn prove(chain: &[u8], key: &[u8]) -> Option<()> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_slice(key).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain, key)
        .ok()
        .map(|_| ())
}

/// Whether an error of the client library is TLS's own: a certificate that is refused by either side, or no TLS at all.
pub(crate) fn is_tls_failure(error: &redis::RedisError) -> bool {
    use std::error::Error as _;
    type Shared = Arc<dyn std::error::Error + Send + Sync>;
    if error.code() == Some(TLS_FAILED) {
        return true;
    }
    let Some(inner) = error.source().and_then(|source| source.downcast_ref::<Shared>()) else {
        return false;
    };
    inner.is::<rustls::Error>()
        || inner
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(["redis".to_owned()]).unwrap()
    }

    #[test]
    fn unusable_material_is_refused_before_anything_is_dialled() {
        let (one, other) = (signed(), signed());
        let tls = Tls::default;
        assert_eq!(tls().with_authority("not PEM"), Err(InvalidTls::Authority));
        assert_eq!(
            tls().with_identity(one.cert.pem(), other.signing_key.serialize_pem()),
            Err(InvalidTls::Identity)
        );
        assert_eq!(tls().with_identity("", ""), Err(InvalidTls::Identity));
        assert_eq!(tls().with_server_name("no name"), Err(InvalidTls::ServerName));
        let usable = tls()
            .with_authority(one.cert.pem())
            .and_then(|tls| tls.with_identity(one.cert.pem(), one.signing_key.serialize_pem()))
            .and_then(|tls| tls.with_server_name("redis.example.com"))
            .unwrap();
        assert!(!format!("{usable:?}").contains("PRIVATE"), "a key never prints");
    }
}
