//! Every read of a reconcile: children from the caches, the few that are missing there by name, Secrets by name.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, core::DynamicObject};
use shopwright_api::{Quantity, names};

use super::{
    build::{Child, ClaimedBytes},
    caches::{Caches, REQUEST_DEADLINE},
    credentials::{Hidden, Holder},
    error::Error,
    kinds::Kind,
    ownership::{self, Ownership},
    validate::ValidShop,
};

/// The children that are there, by kind and name, whosoever they are.
pub type Observed = BTreeMap<(Kind, String), Arc<DynamicObject>>;

/// A Secret as found.
#[derive(Clone, Debug)]
pub enum Found {
    /// There is none.
    Missing,
    /// There is one of ours; a key may be missing in it.
    Present {
        /// The secret text.
        text: Option<Hidden>,
        /// Whether what else belongs in it is there.
        complete: bool,
        /// Its version.
        version: Option<String>,
    },
    /// There is one of ours that holds something under its key which is empty or not text.
    Unusable,
    /// There is one that is not ours, or about to go.
    NotOurs(Ownership),
}

/// The Secrets of a shop as found.
pub struct Secrets {
    /// Each holder's.
    pub holders: Vec<(Holder, Found)>,
    /// The one with Redis's `users.acl`.
    pub acl: Found,
}

/// What the caches hold of a shop.
pub fn cached(caches: &Caches, shop: &ValidShop) -> Observed {
    caches.of_shop(&shop.namespace, &shop.name)
}

/// Reads those children that the caches do not hold: they are not there, or not marked as ours.
pub async fn missing(
    client: &Client,
    shop: &ValidShop,
    children: &[Child],
    observed: &mut Observed,
) -> Result<(), Error> {
    for child in children {
        let key = (child.kind, child.name.clone());
        if observed.contains_key(&key) {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &shop.namespace, &child.kind.resource());
        let found = within_deadline(api.get_opt(&child.name))
            .await
            .map_err(|error| error.about(child.kind, &child.name))?;
        if let Some(object) = found {
            observed.insert(key, Arc::new(object));
        }
    }
    Ok(())
}

/// Reads every Secret of a shop by name.
pub async fn secrets(client: &Client, shop: &ValidShop) -> Result<Secrets, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &shop.namespace);
    let mut holders = Vec::new();
    for holder in Holder::all() {
        let name = holder.secret_name(&shop.name);
        let secret = within_deadline(api.get_opt(&name))
            .await
            .map_err(|error| error.about_secret(&name))?;
        holders.push((holder, found(secret.as_ref(), shop, holder.key(), holder.plain())));
    }
    let name = names::redis_acl_secret(&shop.name);
    let secret = within_deadline(api.get_opt(&name))
        .await
        .map_err(|error| error.about_secret(&name))?;
    Ok(Secrets {
        holders,
        acl: found(secret.as_ref(), shop, "users.acl", None),
    })
}

fn found(secret: Option<&Secret>, shop: &ValidShop, key: &str, plain: Option<(&str, &str)>) -> Found {
    let Some(secret) = secret else {
        return Found::Missing;
    };
    match ownership::of(None, &secret.metadata, shop) {
        Ownership::Ours => {
            let text = |key: &str| {
                let bytes = &secret.data.as_ref()?.get(key)?.0;
                std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())
            };
            let is_there = secret.data.as_ref().is_some_and(|data| data.contains_key(key));
            if is_there && text(key).is_none() {
                return Found::Unusable;
            }
            Found::Present {
                text: text(key).map(Hidden::new),
                complete: plain.is_none_or(|(key, value)| text(key) == Some(value)),
                version: secret.metadata.resource_version.clone(),
            }
        }
        other => Found::NotOurs(other),
    }
}

/// The size that the data volume's claim asks for already.
pub fn claimed_bytes(observed: &Observed, shop: &ValidShop) -> ClaimedBytes {
    let claim = observed.get(&(Kind::VolumeClaim, names::redis_volume_claim(&shop.name)))?;
    let asked = claim.data.pointer("/spec/resources/requests/storage")?.as_str()?;
    Quantity::new(asked).bytes()
}

/// Runs a request within the deadline.
pub async fn within_deadline<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(REQUEST_DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Error::api(error)),
        Err(_) => Err(Error::Deadline),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;
    use crate::shop::{
        build::owner,
        settings::Settings,
        validate::{shop_for_tests, validate},
    };

    #[test]
    fn only_a_key_that_is_absent_may_be_filled_in() {
        let shop = validate(&shop_for_tests(json!({})), &Settings::for_tests()).unwrap();
        let with = |password: Option<&[u8]>| {
            let mut secret = Secret {
                data: password.map(|bytes| [("password".to_owned(), ByteString(bytes.to_vec()))].into()),
                ..Secret::default()
            };
            secret.metadata.labels = Some(names::labels(&shop.name));
            secret.metadata.owner_references = Some(vec![owner(&shop)]);
            found(Some(&secret), &shop, "password", None)
        };
        assert!(matches!(with(None), Found::Present { text: None, .. }));
        assert!(matches!(with(Some(b"text")), Found::Present { text: Some(_), .. }));
        assert!(matches!(with(Some(b"")), Found::Unusable));
        assert!(matches!(with(Some(b"\xff\xfe")), Found::Unusable));
    }
}
