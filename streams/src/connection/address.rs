//! Name resolution that drops addresses the caller forbids, before anything is dialled.

use crate::error::FORBIDDEN_ADDRESS;
use redis::io::AsyncDNSResolver;
use redis::{RedisError, RedisFuture};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Says which addresses may be dialled. It sees what a name resolved to, so that a name which points at a forbidden
/// place is refused as the address itself would be.
#[derive(Clone)]
pub struct Vet(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl Vet {
    /// Allows the addresses for which `allows` answers true. IPv4 addresses mapped into IPv6 arrive as IPv4.
    pub fn new(allows: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(allows))
    }

    fn allows(&self, address: IpAddr) -> bool {
        (self.0)(address.to_canonical())
    }
}

impl fmt::Debug for Vet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Vet")
    }
}

/// Resolves the endpoint's host, whatever name the library asks for: over TLS that is the name of the certificate.
pub(super) struct VettedResolver {
    pub(super) host: String,
    pub(super) vet: Option<Vet>,
}

impl AsyncDNSResolver for VettedResolver {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let resolved: Vec<SocketAddr> = tokio::net::lookup_host((self.host.as_str(), port)).await?.collect();
            let known = !resolved.is_empty();
            let allowed: Vec<SocketAddr> = resolved
                .into_iter()
                .filter(|address| self.vet.as_ref().is_none_or(|vet| vet.allows(address.ip())))
                .collect();
            if allowed.is_empty() && known {
                return Err(forbidden());
            }
            if allowed.is_empty() {
                return Err(std::io::Error::from(std::io::ErrorKind::HostUnreachable).into());
            }
            Ok(Box::new(allowed.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

fn forbidden() -> RedisError {
    redis::make_extension_error(FORBIDDEN_ADDRESS.to_owned(), None)
}
