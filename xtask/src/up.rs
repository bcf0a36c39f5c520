//! From a bare machine to a completed order on a real Kubernetes. Every step is idempotent: run again after an edit, only what
//! changed is built and rolled.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use shopwright_cluster::{Cluster, Kubernetes, Options};

use crate::install::Images;
use crate::steps::{self, Steps};
use crate::storefront::Shop;
use crate::{install, preflight, workspace};

const PATIENCE: Duration = Duration::from_secs(120);
const STEPS: usize = 8;
const SERVICES: [&str; 3] = ["inventory", "payments", "storefront"];

/// Brings everything up and places an order.
pub(crate) fn run(file: &Path, yes: bool) -> Result<()> {
    let manifest = read_manifest(file)?;
    let mut steps = Steps::new(STEPS);
    steps.run("look at the machine", || preflight::ensure(yes))?;
    steps.run("build Kubernetes", || Kubernetes::build(&mut steps::detail))?;
    let images = steps.run("build the images", Images::build)?;
    let state = workspace::cluster_state()?;
    let options = Options {
        state_dir: Some(state.clone()),
        ..Options::default()
    };
    let cluster = steps.run("boot the cluster", || Cluster::up(&options, &mut steps::detail))?;
    steps.run("import the images", || cluster.import_images(&images.archives()))?;
    steps.run("install the operator", || {
        let values = images.write_values(&state)?;
        explain(&cluster, install::install_operator(&cluster, &values))
    })?;
    let (namespace, name) = (manifest.namespace.as_str(), manifest.name.as_str());
    steps.run(&format!("apply Shop {name} and wait until it is Ready"), || {
        workspace::capture(
            cluster
                .kubectl()
                .args(["apply", "--server-side", "--filename"])
                .arg(file),
        )?;
        explain(&cluster, wait_ready(&cluster, namespace, name))?;
        explain(&cluster, wait_rolled_out(&cluster, &manifest, &images))
    })?;
    let address = cluster.forward(&format!("{name}-storefront.{namespace}:8080"))?;
    let address = format!("http://{address}");
    let order = steps.run("place an order and follow it", || {
        let shop = Shop::new(&address, &admin_key(&cluster, namespace, name)?)?;
        explain(&cluster, workspace::block_on(shop.demonstrate(PATIENCE))?)
    })?;
    println!(
        "order {} {} after {} ms; all of it took {:.1} s",
        order.id,
        order.state,
        order.took.as_millis(),
        steps.elapsed_seconds()
    );
    print_next(&cluster, &address, &manifest, &order.product);
    Ok(())
}

/// What of the Shop's manifest matters here.
struct Manifest {
    namespace: String,
    name: String,
    /// Services that run this checkout's images, because the Shop names no others.
    follows: Vec<&'static str>,
}

fn read_manifest(file: &Path) -> Result<Manifest> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let shop: serde_yaml::Value = serde_yaml::from_str(&text)
        .with_context(|| format!("{} is to hold one YAML document, a Shop", file.display()))?;
    if shop["kind"].as_str() != Some("Shop") {
        bail!(
            "{} holds no Shop: its kind is {:?}",
            file.display(),
            shop["kind"].as_str().unwrap_or("missing")
        );
    }
    let name = shop["metadata"]["name"]
        .as_str()
        .with_context(|| format!("{}: metadata.name is missing", file.display()))?;
    let spec = &shop["spec"];
    if spec["storefront"]["enabled"].as_bool() == Some(false) {
        bail!(
            "{}: spec.storefront.enabled is false, but `up` places its order through the storefront",
            file.display()
        );
    }
    let follows = SERVICES
        .into_iter()
        .filter(|service| spec["version"].is_null() && spec[*service]["image"].is_null());
    Ok(Manifest {
        namespace: shop["metadata"]["namespace"].as_str().unwrap_or("default").to_owned(),
        name: name.to_owned(),
        follows: follows.collect(),
    })
}

/// After an upgrade of the operator a Shop stays Ready until the new operator rolls its services: waits for that roll too.
fn wait_rolled_out(cluster: &Cluster, manifest: &Manifest, images: &Images) -> Result<()> {
    for service in &manifest.follows {
        let deployment = format!("deployment/{}-{service}", manifest.name);
        let image = format!(
            "--for=jsonpath={{.spec.template.spec.containers[0].image}}={}",
            images.reference(service)?
        );
        for arguments in [["wait", image.as_str()], ["rollout", "status"]] {
            let mut kubectl = cluster.kubectl();
            kubectl.args(arguments).args([
                deployment.as_str(),
                "--timeout=120s",
                "--namespace",
                &manifest.namespace,
            ]);
            workspace::capture(&mut kubectl)?;
        }
    }
    Ok(())
}

fn wait_ready(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    let mut wait = cluster.kubectl();
    wait.args([
        "wait",
        "--for=condition=Ready",
        "--timeout=180s",
        "--namespace",
        namespace,
        &format!("shop/{name}"),
    ]);
    workspace::capture(&mut wait).map(|_| ()).map_err(|error| {
        let mut describe = cluster.kubectl();
        describe.args(["describe", "--namespace", namespace, &format!("shop/{name}")]);
        error.context(workspace::capture(&mut describe).unwrap_or_default())
    })
}

fn admin_key(cluster: &Cluster, namespace: &str, name: &str) -> Result<String> {
    let mut get: Command = cluster.kubectl();
    get.args(["get", "secret", &format!("{name}-admin"), "--namespace", namespace]);
    get.args(["--output", "go-template={{index .data \"admin-key\" | base64decode}}"]);
    workspace::capture(&mut get)
}

/// Adds the operator's last lines to an error.
fn explain<T>(cluster: &Cluster, outcome: Result<T>) -> Result<T> {
    outcome.map_err(|error| {
        let mut logs = cluster.kubectl();
        logs.args([
            "logs",
            "--namespace",
            install::NAMESPACE,
            "--selector",
            "app.kubernetes.io/name=shop-operator",
            "--tail=20",
        ]);
        let lines = workspace::capture(&mut logs).unwrap_or_else(|_| "the operator has no log yet".to_owned());
        error.context(format!("the operator's last lines:\n{lines}"))
    })
}

fn print_next(cluster: &Cluster, address: &str, manifest: &Manifest, product: &str) {
    let (namespace, name) = (&manifest.namespace, &manifest.name);
    println!(
        "\nstorefront  {address}/\nexport KUBECONFIG={kubeconfig} PATH={binaries}:$PATH\n\n\
         three things to try:\n  \
         # watch consumers come and go while you place orders on the page\n  \
         kubectl get shop,cg --namespace {namespace} --watch\n  \
         # push many\n  \
         for i in $(seq 200); do curl --silent --output /dev/null {address}/api/v1/orders \\\n    \
         --header \"idempotency-key: $(cat /proc/sys/kernel/random/uuid)\" \\\n    \
         --json '{{\"lines\": [{{\"product_id\": \"{product}\", \"quantity\": 1}}]}}'; done\n  \
         # delete every pod of the shop in the middle of it: each accepted order still ends\n  \
         kubectl delete pod --namespace {namespace} --selector app.kubernetes.io/instance={name} --wait=false\n\n\
         cargo xtask down ends it.",
        kubeconfig = cluster.kubeconfig().display(),
        binaries = cluster.kubernetes().bin_dir().display(),
    );
}
