//! What the Secrets of a `ConsumerGroup` say: as whom to sign in to Redis, and whom to trust. Pure but for the reading.

use std::{collections::BTreeMap, fmt};

use shopwright_streams::{Endpoint, Secret, connection::Tls};

use super::{
    cluster::Cluster,
    identity::{EndpointKey, ObjectKey, TlsKey},
    status::Unknown,
};

/// The data of a Secret. `Debug` shows its keys only.
#[derive(Clone, Default)]
pub(super) struct SecretData(BTreeMap<String, Vec<u8>>);

impl FromIterator<(String, Vec<u8>)> for SecretData {
    fn from_iter<Pairs: IntoIterator<Item = (String, Vec<u8>)>>(pairs: Pairs) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl fmt::Debug for SecretData {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

impl SecretData {
    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key).filter(|bytes| !bytes.is_empty()).cloned()
    }

    fn text(&self, key: &str) -> Option<String> {
        String::from_utf8(self.bytes(key)?).ok()
    }
}

/// Where to connect, as whom, trusting whom; read from the Secrets just now.
pub(super) async fn endpoint<C: Cluster>(cluster: &C, key: &EndpointKey) -> Result<Endpoint, Unknown> {
    let secret = |name: &String| ObjectKey::new(&key.namespace, name);
    let mut endpoint = Endpoint::new(key.host.clone(), key.port).with_database(key.database);
    if let Some(name) = &key.secret {
        let data = cluster.secret(&secret(name)).await?;
        let password = data.text("password").ok_or(Unknown::SecretIncomplete)?;
        endpoint.username = data.text("username");
        endpoint.password = Some(Secret::new(password));
    }
    if let Some(wanted) = &key.tls {
        let data = match &wanted.secret {
            Some(name) => cluster.secret(&secret(name)).await?,
            None => SecretData::default(),
        };
        endpoint.tls = Some(tls(wanted, &data)?);
    }
    Ok(endpoint)
}

fn tls(wanted: &TlsKey, data: &SecretData) -> Result<Tls, Unknown> {
    let mut tls = Tls::default()
        .with_server_name(wanted.server_name.clone())
        .map_err(Unknown::InvalidTls)?;
    if let Some(authority) = data.bytes("ca.crt") {
        tls = tls.with_authority(authority).map_err(Unknown::InvalidTls)?;
    }
    match (data.bytes("tls.crt"), data.bytes("tls.key")) {
        (None, None) => Ok(tls),
        (Some(chain), Some(key)) => tls.with_identity(chain, key).map_err(Unknown::InvalidTls),
        _ => Err(Unknown::SecretIncomplete),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_identity_and_bytes_that_are_no_certificate_are_the_users_to_fix() {
        let wanted = TlsKey {
            secret: None,
            server_name: "redis.example.com".to_owned(),
        };
        let of = |key: &str| tls(&wanted, &[(key.to_owned(), b"text".to_vec())].into_iter().collect());
        assert_eq!(of("tls.key"), Err(Unknown::SecretIncomplete));
        assert_eq!(of("ca.crt").map_err(|it| it.reason()), Err("InvalidTls"));
        assert!(tls(&wanted, &SecretData::default()).is_ok(), "the public roots");
        let data: SecretData = [("password".to_owned(), b"hunter2".to_vec())].into_iter().collect();
        assert!(!format!("{data:?}").contains("hunter2"));
    }
}
