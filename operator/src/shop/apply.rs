//! Every write to children, in order. Each write first checks that this process still leads.

use std::{collections::BTreeMap, sync::Arc};

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use serde_json::{Value, json};
use shopwright_api::names::{FIELD_MANAGER, SCALE_MANAGER};

use super::{
    build::Child,
    error::Error,
    gather::{Observed, within_deadline},
    hash,
    kinds::Kind,
    memory::{Memory, Record},
    ownership::{self, Ownership},
    replicas::{self, Replicas},
    validate::ValidShop,
};
use crate::{error::Class, lease::WriteToken};

/// What writing brought about.
#[derive(Debug, Default)]
pub struct Applied {
    /// The wanted children that are there and ours, as fresh as we know them.
    pub children: BTreeMap<(Kind, String), Arc<DynamicObject>>,
    /// What could not be written; everything else was.
    pub refusals: Vec<Refusal>,
    /// The volume of an earlier shop is used again.
    pub adopted: bool,
    /// What was removed because it is no longer wanted.
    pub pruned: Vec<String>,
}

/// Why one object could not be written. Others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its name is taken by something that is not this shop's.
    NameConflict(String),
    /// An object of that name is about to go.
    Leaving(String),
    /// The volume cannot become as asked.
    Volume(String),
    /// The API server refused it.
    Refused(String),
}

impl Refusal {
    /// The refusal that an ownership means, if it does.
    pub fn by(ownership: Ownership, object: String) -> Option<Self> {
        match ownership {
            Ownership::Ours | Ownership::LeftBehind => None,
            Ownership::Leaving => Some(Self::Leaving(object)),
            Ownership::Foreign => Some(Self::NameConflict(object)),
        }
    }
}

/// Applies children of one shop.
pub struct Applier<'a> {
    /// The API server.
    pub client: &'a Client,
    /// The right to write.
    pub token: &'a WriteToken,
    /// Whose children.
    pub shop: &'a ValidShop,
}

impl Applier<'_> {
    /// Writes what differs, in order, then removes what is no longer wanted. What is as it was after our last write costs
    /// no request.
    pub async fn children(
        &self,
        wanted: Vec<Child>,
        observed: &Observed,
        memory: &mut Memory,
    ) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        for child in &wanted {
            let key = (child.kind, child.name.clone());
            let live = observed.get(&key);
            let ownership = live.map(|live| ownership::of(Some(child.kind), &live.metadata, self.shop));
            if let Some(refusal) = ownership.and_then(|it| Refusal::by(it, describe(child.kind, &child.name))) {
                applied.refusals.push(refusal);
                continue;
            }
            if let Some(live) = live
                && unchanged(child, live, memory.records.get(&key))
            {
                applied.children.insert(key, Arc::clone(live));
                continue;
            }
            match self.child(child, live.map(AsRef::as_ref)).await {
                Ok(object) => {
                    applied.adopted |= ownership == Some(Ownership::LeftBehind);
                    memory.records.insert(key.clone(), record(child, &object));
                    applied.children.insert(key, Arc::new(object));
                }
                Err(error) if error.class() == Class::User => applied.refusals.push(refusal(child.kind, &error)),
                Err(error) => return Err(error),
            }
        }
        self.prune(&wanted, observed, memory, &mut applied).await?;
        Ok(applied)
    }

    async fn child(&self, child: &Child, live: Option<&DynamicObject>) -> Result<DynamicObject, Error> {
        let handed_over = child.scaled_from.map(|minimum| replicas::plan(live, minimum));
        let object = to_apply(child, live, handed_over);
        let api = self.api(child.kind);
        self.token.check()?;
        // By force, because only what is ours gets here, and what we declare is ours to decide.
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let applied = within_deadline(api.patch(&child.name, &parameters, &Patch::Apply(&object)))
            .await
            .map_err(|error| error.about(child.kind, &child.name).or_raced())?;
        if let Some(Replicas::HandOver(replicas)) = handed_over {
            // What we made just now is scaled by nobody else yet, and its own controller changes it at once.
            let version = live.and(applied.resource_version());
            self.hand_over(&api, &child.name, replicas, version).await?;
        }
        Ok(applied)
    }

    /// The same number once more through `scale`, as the scaler, which from then on owns it; only of this version, if one
    /// is given.
    async fn hand_over(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        replicas: i32,
        version: Option<String>,
    ) -> Result<(), Error> {
        let mut scale = json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": name},
            "spec": {"replicas": replicas},
        });
        if let Some(version) = version {
            scale["metadata"]["resourceVersion"] = version.into();
        }
        self.token.check()?;
        let parameters = PatchParams::apply(SCALE_MANAGER).force();
        within_deadline(api.patch_scale(name, &parameters, &Patch::Apply(&scale)))
            .await
            .map(|_| ())
            .map_err(|error| error.about(Kind::Deployment, name).or_raced())
    }

    async fn prune(
        &self,
        wanted: &[Child],
        observed: &Observed,
        memory: &mut Memory,
        applied: &mut Applied,
    ) -> Result<(), Error> {
        // Backwards: what runs goes before what it runs with.
        for ((kind, name), object) in observed.iter().rev() {
            let is_wanted = wanted.iter().any(|child| child.kind == *kind && child.name == *name);
            let going = object.metadata.deletion_timestamp.is_some();
            if is_wanted || going || !kind.prunable() || !ownership::controlled(object.as_ref(), self.shop) {
                continue;
            }
            // The UID keeps us from removing what took its name in the meantime.
            let preconditions = Preconditions {
                uid: object.uid(),
                resource_version: None,
            };
            let parameters = DeleteParams::background().preconditions(preconditions);
            self.token.check()?;
            match within_deadline(self.api(*kind).delete(name, &parameters)).await {
                Ok(_) => applied.pruned.push(describe(*kind, name)),
                // Gone already, or another by now.
                Err(error) if matches!(error.status(), Some(404 | 409)) => {}
                Err(error) => return Err(error.about(*kind, name)),
            }
            memory.records.remove(&(*kind, name.clone()));
        }
        Ok(())
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.shop.namespace, &kind.resource())
    }
}

fn body(kind: Kind, object: &Value) -> Value {
    let resource = kind.resource();
    let mut body = object.clone();
    body["apiVersion"] = resource.api_version.into();
    body["kind"] = resource.kind.into();
    body
}

/// The child as it is sent. A number of replicas that was read is written back only to the version it was read from: it
/// would undo a rescale in between.
fn to_apply(child: &Child, live: Option<&DynamicObject>, replicas: Option<Replicas>) -> Value {
    let mut object = body(child.kind, &child.object);
    if let Some(Replicas::HandOver(replicas)) = replicas {
        object["spec"]["replicas"] = replicas.into();
        if let Some(version) = live.and_then(ResourceExt::resource_version) {
            object["metadata"]["resourceVersion"] = version.into();
        }
    }
    object
}

fn record(child: &Child, object: &DynamicObject) -> Record {
    Record {
        desired: hash::of(&child.object),
        fingerprint: hash::fingerprint(object, child.scaled_from.is_some()),
    }
}

/// Whether nothing is to be done: the same is wanted as at our last write, and nobody edited it since.
fn unchanged(child: &Child, live: &DynamicObject, last: Option<&Record>) -> bool {
    let scaler_owns = child
        .scaled_from
        .is_none_or(|minimum| replicas::plan(Some(live), minimum) == Replicas::LeaveToScaler);
    scaler_owns && last == Some(&record(child, live))
}

fn refusal(kind: Kind, error: &Error) -> Refusal {
    if kind == Kind::VolumeClaim {
        Refusal::Volume(error.summary())
    } else {
        Refusal::Refused(error.summary())
    }
}

/// `Kind name`, for people.
pub fn describe(kind: Kind, name: &str) -> String {
    format!("{} {name}", kind.resource().kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::{
        build::children,
        credentials::for_tests,
        settings::Settings,
        validate::{shop_for_tests, validate},
    };

    fn consumer() -> (Child, DynamicObject) {
        let shop = validate(&shop_for_tests(json!({})), &Settings::for_tests()).unwrap();
        let child = children(&shop, &Settings::for_tests(), &for_tests(), None)
            .into_iter()
            .find(|child| child.scaled_from.is_some())
            .unwrap();
        let mut live = body(child.kind, &child.object);
        live["spec"]["replicas"] = json!(0);
        live["metadata"]["managedFields"] = json!([{
            "manager": SCALE_MANAGER, "operation": "Apply", "subresource": "scale",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }]);
        (child, serde_json::from_value(live).unwrap())
    }

    #[test]
    fn at_rest_nothing_is_written() {
        let (child, live) = consumer();
        let last = record(&child, &live);
        assert!(unchanged(&child, &live, Some(&last)));
        assert!(!unchanged(&child, &live, None), "after a restart it is applied once");
    }

    #[test]
    fn a_rescale_is_no_drift_and_an_edit_is() {
        let (child, mut live) = consumer();
        let last = record(&child, &live);
        live.data["spec"]["replicas"] = json!(7);
        assert!(unchanged(&child, &live, Some(&last)));
        live.data["spec"]["template"]["spec"]["containers"][0]["image"] = json!("stranger");
        assert!(!unchanged(&child, &live, Some(&last)));
    }

    #[test]
    fn another_wish_is_written() {
        let (mut child, live) = consumer();
        let last = record(&child, &live);
        child.object["spec"]["revisionHistoryLimit"] = json!(9);
        assert!(!unchanged(&child, &live, Some(&last)));
    }

    #[test]
    fn replicas_are_written_back_only_to_the_version_they_were_read_from() {
        let (child, mut live) = consumer();
        live.metadata.resource_version = Some("42".into());
        let sent = |live: Option<&DynamicObject>, replicas| {
            let sent = to_apply(&child, live, Some(replicas));
            (
                sent["spec"]["replicas"].clone(),
                sent["metadata"]["resourceVersion"].clone(),
            )
        };
        assert_eq!(sent(Some(&live), Replicas::HandOver(7)), (json!(7), json!("42")));
        assert_eq!(
            sent(None, Replicas::HandOver(0)),
            (json!(0), json!(null)),
            "when it is made"
        );
        assert_eq!(
            sent(Some(&live), Replicas::LeaveToScaler),
            (json!(null), json!(null)),
            "its controller may be busy with it"
        );
    }

    #[test]
    fn replicas_that_the_scaler_lost_are_handed_over_again() {
        let (child, mut live) = consumer();
        let last = record(&child, &live);
        live.metadata.managed_fields = None;
        assert!(!unchanged(&child, &live, Some(&last)));
    }
}
