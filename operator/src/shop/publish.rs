//! What a pass tells the world: the Shop's status, when it differs, and Events.

use std::time::{Duration, Instant};

use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::json;
use shopwright_api::{
    Shop, ShopStatus,
    condition::{self, CONSISTENT, DEGRADED, READY},
    names::{self, STATUS_MANAGER},
};
use tracing::{info, warn};

use super::{
    apply::Applied, conditions::INVARIANT_VIOLATED, error::Error, gather, memory::Memory, reconcile::Pass, status,
};
use crate::events::{self, Reason};

/// Figures are written at most this often.
pub(super) const FIGURES: Duration = Duration::from_secs(15);

impl Pass<'_> {
    pub(super) async fn tell(&self, shop: &Shop, applied: &Applied) {
        if applied.adopted {
            let note = format!("uses the data in {} again", names::redis_volume_claim(&shop.name_any()));
            self.event(shop, Reason::DataAdopted, "AdoptVolume", &note).await;
        }
        for object in &applied.pruned {
            info!(%object, "removed what is no longer wanted");
            // The object is part of the action, or the second removal would be folded into the first.
            self.event(
                shop,
                Reason::Pruned,
                &format!("Prune{}", object.replace(' ', "/")),
                &format!("removed {object}"),
            )
            .await;
        }
    }

    pub(super) async fn event(&self, shop: &Shop, reason: Reason, action: &str, note: &str) {
        events::publish(&self.context.recorder, &shop.object_ref(&()), reason, action, note).await;
    }

    /// Writes the status when it differs. The answer says when to come back, if figures have to wait.
    pub(super) async fn write_status(
        &self,
        shop: &Shop,
        memory: &mut Memory,
        previous: &ShopStatus,
        status: ShopStatus,
    ) -> Result<Option<Duration>, Error> {
        let written = memory.status.as_ref().map(|(_, at)| at.elapsed());
        if status == *previous {
            return Ok(None);
        }
        if status::differ_in_figures_only(&status, previous)
            && let Some(wait) = written.and_then(|since| FIGURES.checked_sub(since))
        {
            return Ok(Some(wait));
        }
        self.patch_status(&status).await?;
        memory.status = Some((status.clone(), Instant::now()));
        self.tell_of_transitions(shop, previous, &status).await;
        Ok(None)
    }

    pub(super) async fn patch_status(&self, status: &ShopStatus) -> Result<(), Error> {
        let resource = ApiResource::erase::<Shop>(&());
        let (namespace, name) = self.key;
        let api: Api<DynamicObject> = Api::namespaced_with(self.context.client.clone(), namespace, &resource);
        let patch = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"name": name}, "status": status,
        });
        self.token.check()?;
        let parameters = PatchParams::apply(STATUS_MANAGER).force();
        match gather::within_deadline(api.patch_status(name, &parameters, &Patch::Apply(&patch))).await {
            Ok(_) => Ok(()),
            // Deleted in the meantime.
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) => Err(error.about_status()),
        }
    }

    async fn tell_of_transitions(&self, shop: &Shop, before: &ShopStatus, after: &ShopStatus) {
        let (earlier, now) = (Ready::of(before, READY), Ready::of(after, READY));
        if let (Some(reason), Some(now)) = (transition(earlier.as_ref(), now.as_ref()), now) {
            info!(reason = now.reason, message = now.message, "readiness changed");
            self.event(shop, reason, now.reason, now.message).await;
        }
        let was_degraded = Ready::of(before, DEGRADED).is_some_and(|it| it.holds);
        if let Some(now) = Ready::of(after, DEGRADED).filter(|it| it.holds && !was_degraded) {
            self.event(shop, Reason::ConsumersUnavailable, now.reason, now.message)
                .await;
        }
        let violated = |it: &Ready<'_>| it.reason == INVARIANT_VIOLATED;
        let was_violated = Ready::of(before, CONSISTENT).is_some_and(|it| violated(&it));
        if let Some(now) = Ready::of(after, CONSISTENT).filter(|it| violated(it) && !was_violated) {
            warn!(message = now.message, "the books of the shop do not agree");
            self.event(shop, Reason::InvariantViolated, "Verify", now.message).await;
        }
    }
}

/// A condition, as far as an Event speaks of it.
struct Ready<'a> {
    holds: bool,
    reason: &'a str,
    message: &'a str,
}

impl<'a> Ready<'a> {
    fn of(status: &'a ShopStatus, kind: &str) -> Option<Self> {
        condition::find(&status.conditions, kind).map(|it| Self {
            holds: it.status == "True",
            reason: &it.reason,
            message: &it.message,
        })
    }
}

/// The Event that a change of readiness is worth, if any: a shop that is being opened for the first time is no news.
fn transition(before: Option<&Ready<'_>>, now: Option<&Ready<'_>>) -> Option<Reason> {
    let now = now?;
    if before.is_some_and(|it| it.holds == now.holds && it.reason == now.reason) {
        return None;
    }
    match now.reason {
        _ if now.holds => Some(Reason::Ready),
        "InvalidSpec" => Some(Reason::InvalidSpec),
        "NameConflict" => Some(Reason::NameConflict),
        "ApplyRefused" | "ApplyFailed" | "VolumeRefused" => Some(Reason::ApplyRefused),
        _ => before.is_some_and(|it| it.holds).then_some(Reason::NotReady),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(holds: bool, reason: &str) -> Ready<'_> {
        Ready {
            holds,
            reason,
            message: "",
        }
    }

    #[test]
    fn only_changes_are_news() {
        let news = |before: Option<Ready<'_>>, now: Ready<'_>| transition(before.as_ref(), Some(&now));
        assert_eq!(news(None, ready(false, "RedisNotReady")), None, "being opened");
        assert_eq!(
            news(Some(ready(false, "RedisNotReady")), ready(false, "ServicesNotReady")),
            None
        );
        assert_eq!(
            news(Some(ready(false, "ServicesNotReady")), ready(true, "AsExpected")),
            Some(Reason::Ready)
        );
        assert_eq!(news(Some(ready(true, "AsExpected")), ready(true, "AsExpected")), None);
        assert_eq!(
            news(Some(ready(true, "AsExpected")), ready(false, "RedisNotReady")),
            Some(Reason::NotReady)
        );
        assert_eq!(news(None, ready(false, "InvalidSpec")), Some(Reason::InvalidSpec));
        assert_eq!(
            news(Some(ready(false, "NameConflict")), ready(false, "NameConflict")),
            None
        );
    }
}
