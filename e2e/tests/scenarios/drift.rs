//! Whatever becomes of a child, it is repaired.

use anyhow::{Context as _, Result, bail, ensure};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;
use shopwright_e2e::{object, wait};

const KINDS: [(&str, &str, &str); 7] = [
    ("", "ServiceAccount", "serviceaccounts"),
    ("", "Service", "services"),
    ("", "ConfigMap", "configmaps"),
    ("apps", "Deployment", "deployments"),
    ("apps", "StatefulSet", "statefulsets"),
    ("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
    ("policy", "PodDisruptionBudget", "poddisruptionbudgets"),
];

struct Child {
    api: Api<DynamicObject>,
    kind: String,
    name: String,
    before: DynamicObject,
}

/// Each child deleted, then each edited: both times the shop comes back to what it was, without a hand.
pub(crate) async fn children_return(scenario: Scenario) -> Result<()> {
    // A second replica brings a disruption budget.
    let spec = json!({"inventory": {"replicas": 2}});
    let shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &spec).await?;
    let api = shop.open().await?;
    let product = api.create_product("Vase", 700, 10).await?;

    let children = children(&scenario, &shop).await?;
    scenario.say(format!("{} children", children.len()));
    ensure!(children.len() >= 17, "fewer children than a shop has");
    for child in &children {
        child.api.delete(&child.name, &DeleteParams::background()).await?;
    }
    for child in &children {
        returned(child).await?;
    }
    scenario.say("all returned after they were deleted");
    shop.wait_ready().await?;
    api.order_ends(&[(&product, 1)], "completed").await?;

    for child in &self::children(&scenario, &shop).await? {
        edited_and_repaired(child)
            .await
            .with_context(|| format!("edit {} {}", child.kind, child.name))?;
    }
    hidden_and_found(&scenario).await?;
    scenario.say("all repaired after they were edited");
    shop.wait_ready().await?;

    api.order_ends(&[(&product, 1)], "completed").await?;
    Ok(())
}

fn resource((group, kind, plural): &(&str, &str, &str)) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}

async fn children(scenario: &Scenario, shop: &Shop) -> Result<Vec<Child>> {
    let selector = format!(
        "app.kubernetes.io/instance={},app.kubernetes.io/managed-by=shopwright-operator",
        shop.name
    );
    let ours = ListParams::default().labels(&selector);
    let mut resources: Vec<ApiResource> = KINDS.iter().map(resource).collect();
    resources.push(object::consumer_groups());
    let mut found = Vec::new();
    for resource in resources {
        let api: Api<DynamicObject> =
            Api::namespaced_with(scenario.cluster.client.clone(), &scenario.namespace, &resource);
        for before in api.list(&ours).await? {
            let name = before.metadata.name.clone().context("a child without name")?;
            ensure!(
                before
                    .metadata
                    .owner_references
                    .iter()
                    .flatten()
                    .any(|owner| owner.kind == "Shop" && owner.controller == Some(true)),
                "{} {name} has no owner",
                resource.kind
            );
            found.push(Child {
                api: api.clone(),
                kind: resource.kind.clone(),
                name,
                before,
            });
        }
    }
    Ok(found)
}

async fn returned(child: &Child) -> Result<()> {
    wait::until(
        &format!("{} {} to return", child.kind, child.name),
        wait::LONG,
        || async move {
            let now = child.api.get(&child.name).await?;
            ensure!(now.metadata.uid != child.before.metadata.uid, "it is not gone yet");
            Ok(())
        },
    )
    .await
}

// A label of ours that somebody else overwrote, and a field that matters; what is not ours stays.
async fn edited_and_repaired(child: &Child) -> Result<()> {
    let mut edit = json!({
        "metadata": {"labels": {"app.kubernetes.io/part-of": "somebody-else"}, "annotations": {"somebody.example/note": "stays"}},
    });
    let (pointer, value) = damage(child)?;
    lay(&mut edit, &pointer, value);
    let parameters = PatchParams {
        field_manager: Some("somebody-else".into()),
        ..PatchParams::default()
    };
    child.api.patch(&child.name, &parameters, &Patch::Merge(&edit)).await?;
    wait::until(
        &format!("{} {} to be repaired", child.kind, child.name),
        wait::LONG,
        || async move {
            let now = child.api.get(&child.name).await?;
            let label = |object: &DynamicObject| {
                object
                    .metadata
                    .labels
                    .as_ref()?
                    .get("app.kubernetes.io/part-of")
                    .cloned()
            };
            ensure!(label(&now) == label(&child.before), "its label is {:?}", label(&now));
            let pointer = damage(child)?.0;
            let (is, was) = (now.data.pointer(&pointer), child.before.data.pointer(&pointer));
            ensure!(is == was, "{pointer} is {is:?}, was {was:?}");
            let note = now
                .metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get("somebody.example/note"));
            ensure!(note.is_some(), "what others added is gone");
            Ok(())
        },
    )
    .await
}

// Without the label that the operator watches by, a child is out of its sight, as if deleted, and its name seems free.
async fn hidden_and_found(scenario: &Scenario) -> Result<()> {
    const LABEL: &str = "app.kubernetes.io/managed-by";
    let services: Api<DynamicObject> = Api::namespaced_with(
        scenario.cluster.client.clone(),
        &scenario.namespace,
        &resource(&KINDS[1]),
    );
    let edit = Patch::Merge(json!({"metadata": {"labels": {LABEL: "somebody-else"}}}));
    let before = services.patch("demo-inventory", &PatchParams::default(), &edit).await?;
    let (services, before) = (&services, &before);
    wait::until("a child that lost its label to be found", wait::LONG, || async move {
        let now = services.get("demo-inventory").await?;
        let label = now.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL));
        ensure!(
            label.is_some_and(|label| label == "shopwright-operator"),
            "it is {label:?}"
        );
        ensure!(now.metadata.uid == before.metadata.uid, "it was made anew");
        Ok(())
    })
    .await
}

// Where to edit, and what to write there. Lists are written whole, as a merge patch does.
fn damage(child: &Child) -> Result<(String, Value)> {
    let text = |pointer: &str, value: Value| (pointer.to_owned(), value);
    Ok(match child.kind.as_str() {
        "ServiceAccount" => text("/automountServiceAccountToken", json!(true)),
        "Service" => text("/spec/selector/app.kubernetes.io~1component", json!("nothing")),
        "ConfigMap" => {
            let data = child.before.data["data"]
                .as_object()
                .context("a ConfigMap without data")?;
            let key = data.keys().next().context("an empty ConfigMap")?;
            text(&format!("/data/{}", key.replace('/', "~1")), json!("nonsense"))
        }
        "Deployment" if child.name.ends_with("-consumer") => text(
            "/spec/template/metadata/labels/app.kubernetes.io~1name",
            json!("nothing"),
        ),
        "Deployment" => text("/spec/replicas", json!(3)),
        "StatefulSet" => text("/spec/replicas", json!(0)),
        "NetworkPolicy" => text("/spec/policyTypes", json!(["Egress"])),
        "PodDisruptionBudget" => text("/spec/maxUnavailable", json!(0)),
        "ConsumerGroup" => text("/spec/maxReplicas", json!(7)),
        other => bail!("no idea how to damage a {other}"),
    })
}

fn lay(document: &mut Value, pointer: &str, value: Value) {
    let keys: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|key| key.replace("~1", "/").replace("~0", "~"))
        .collect();
    let nested = keys.into_iter().rev().fold(value, |inner, key| json!({key: inner}));
    object::merge(document, &nested);
}
