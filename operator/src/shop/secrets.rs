//! Writes of Secrets. A password is made only by POST after a 404, never after any other error; a missing key is added and
//! the others are kept.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use shopwright_api::names::{self, FIELD_MANAGER};

use super::{
    apply::Refusal,
    build::owner,
    credentials::{Credentials, Hidden, Holder},
    error::Error,
    gather::{Found, Secrets, within_deadline},
    validate::ValidShop,
};
use crate::{error::Class, lease::WriteToken};

/// What became of a shop's Secrets.
pub enum Outcome {
    /// All are there.
    Complete {
        /// What they hold.
        credentials: Credentials,
        /// Whether one was made just now.
        created: bool,
    },
    /// Some cannot be there.
    Blocked(Vec<Refusal>),
}

/// Writes Secrets of one shop.
pub struct Keeper<'a> {
    /// The API server.
    pub client: &'a Client,
    /// The right to write.
    pub token: &'a WriteToken,
    /// Whose Secrets.
    pub shop: &'a ValidShop,
}

impl Keeper<'_> {
    /// Makes what is missing, then renders `users.acl` from what is there.
    pub async fn complete(&self, secrets: Secrets) -> Result<Outcome, Error> {
        let mut refusals = Vec::new();
        let mut texts = Vec::new();
        let mut created = false;
        for (holder, found) in secrets.holders {
            let name = holder.secret_name(&self.shop.name);
            let text = match found {
                Found::Present {
                    text: Some(text),
                    complete: true,
                    ..
                } => text,
                Found::Present { text, version, .. } => self.mend(holder, &name, text, version).await?,
                Found::Missing => {
                    created = true;
                    match self.make(holder, &name).await {
                        Ok(text) => text,
                        Err(error) if error.class() == Class::User => {
                            refusals.push(Refusal::Refused(error.summary()));
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Found::Unusable => {
                    // Somebody's password may be meant: another one in its place would lock them out without a word.
                    let error = Error::Unusable {
                        secret: format!("Secret {name}"),
                        key: holder.key(),
                    };
                    refusals.push(Refusal::Refused(error.summary()));
                    continue;
                }
                Found::NotOurs(ownership) => {
                    refusals.extend(Refusal::by(ownership, format!("Secret {name}")));
                    continue;
                }
            };
            texts.push((holder, text));
        }
        let Some(credentials) = Credentials::complete(&texts) else {
            return Ok(Outcome::Blocked(refusals));
        };
        match self.acl(&credentials, &secrets.acl).await? {
            Some(refusal) => Ok(Outcome::Blocked(vec![refusal])),
            None => Ok(Outcome::Complete { credentials, created }),
        }
    }

    async fn make(&self, holder: Holder, name: &str) -> Result<Hidden, Error> {
        let text = holder.text(&random_digits());
        let mut secret: Secret = Secret {
            data: Some([(holder.key().to_owned(), bytes(text.expose()))].into()),
            type_: Some("Opaque".into()),
            ..Secret::default()
        };
        if let (Some(data), Some((key, value))) = (&mut secret.data, holder.plain()) {
            data.insert(key.into(), bytes(value));
        }
        secret.metadata.name = Some(name.into());
        secret.metadata.labels = Some(names::labels(&self.shop.name));
        secret.metadata.owner_references = Some(vec![owner(self.shop)]);
        self.token.check()?;
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PostParams::default()
        };
        match within_deadline(self.api().create(&parameters, &secret)).await {
            Ok(_) => Ok(text),
            Err(error) if error.status() == Some(409) => Err(Error::Raced(format!("Secret {name}"))),
            Err(error) => Err(error.about_secret(name)),
        }
    }

    /// Adds what is missing. The version keeps two operators from adding two different texts.
    async fn mend(
        &self,
        holder: Holder,
        name: &str,
        text: Option<Hidden>,
        version: Option<String>,
    ) -> Result<Hidden, Error> {
        let mut data = json!({});
        if let Some((key, value)) = holder.plain() {
            data[key] = encoded(value);
        }
        let text = text.unwrap_or_else(|| {
            let text = holder.text(&random_digits());
            data[holder.key()] = encoded(text.expose());
            text
        });
        let patch = json!({"metadata": {"resourceVersion": version}, "data": data});
        self.token.check()?;
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        within_deadline(self.api().patch(name, &parameters, &Patch::Merge(&patch)))
            .await
            .map_err(|error| error.about_secret(name))?;
        Ok(text)
    }

    async fn acl(&self, credentials: &Credentials, found: &Found) -> Result<Option<Refusal>, Error> {
        let name = names::redis_acl_secret(&self.shop.name);
        let content = credentials.users_acl(&self.shop.name);
        match found {
            Found::NotOurs(ownership) => return Ok(Refusal::by(*ownership, format!("Secret {name}"))),
            Found::Present { text: Some(text), .. } if text.expose() == content => return Ok(None),
            // Rendered, so whatever stands there may be replaced.
            Found::Present { .. } | Found::Unusable | Found::Missing => {}
        }
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": name,
                "labels": names::labels(&self.shop.name),
                "ownerReferences": [owner(self.shop)],
            },
            "type": "Opaque",
            "data": {"users.acl": encoded(&content)},
        });
        self.token.check()?;
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        within_deadline(self.api().patch(&name, &parameters, &Patch::Apply(&secret)))
            .await
            .map_err(|error| error.about_secret(&name))?;
        Ok(None)
    }

    fn api(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.shop.namespace)
    }
}

/// 256 random bits in hex: no character that any shell, URL or ACL file could mistake.
fn random_digits() -> String {
    use std::fmt::Write as _;
    let random: [u8; 32] = rand::random();
    random.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

fn encoded(text: &str) -> Value {
    serde_json::to_value(bytes(text)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_new_and_plain() {
        let (one, other) = (random_digits(), random_digits());
        assert_ne!(one, other);
        assert_eq!(one.len(), 64);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
