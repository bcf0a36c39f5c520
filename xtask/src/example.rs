//! `examples/consumer-group` on the cluster that `up` runs, with images built here instead of pulled.

use anyhow::{Context, Result, bail};
use shopwright_cluster::{Cluster, images};

use crate::steps::Steps;
use crate::{install, workspace};

/// The images that the manifests name.
const WORKER: &str = "registry.example/example-worker:0.1.0";
const REDIS: &str = "redis/redis-stack-server:7.4.0-v3";
const FILES: [&str; 3] = ["redis.yaml", "worker.yaml", "consumer-group.yaml"];

/// Builds the worker, imports it and the local Redis, and applies the manifests.
pub(crate) fn run(namespace: &str) -> Result<()> {
    let mut steps = Steps::new(3);
    let (worker, redis) = steps.run("build the images", || {
        let folder = workspace::target()?.join("images");
        Ok((
            install::build_worker()?,
            images::redis(&shopwright_redis_stack::install()?.root, &folder)?,
        ))
    })?;
    let cluster = Cluster::open(&workspace::cluster_state()?).context("`cargo xtask up` comes first")?;
    steps.run("import the images", || {
        cluster.import_images(&[worker.archive, redis.archive])
    })?;
    let host = format!("letters-redis.{namespace}.svc");
    let replacements = [
        (WORKER, worker.reference.as_str()),
        (REDIS, redis.reference.as_str()),
        ("letters-redis.default.svc", &host),
    ];
    steps.run("apply examples/consumer-group", || {
        let manifests = manifests(&replacements)?;
        let mut apply = cluster.kubectl();
        apply.args(["apply", "--server-side", "--namespace", namespace, "--filename", "-"]);
        workspace::feed(&mut apply, &manifests)
    })?;
    println!(
        "\nexport KUBECONFIG={kubeconfig} PATH={binaries}:$PATH\n\
         # when it is Ready, add entries and watch\n\
         kubectl wait --namespace {namespace} --for=condition=Ready cg/letters --timeout=2m\n\
         kubectl exec --namespace {namespace} letters-redis-0 -- /opt/redis-stack/bin/redis-cli --user admin \\\n  \
         -r 2000 XADD letters '*' text hello > /dev/null &\n\
         kubectl get cg letters --namespace {namespace} --watch",
        kubeconfig = cluster.kubeconfig().display(),
        binaries = cluster.kubernetes().bin_dir().display(),
    );
    Ok(())
}

/// The example's objects; every replacement must find its place.
fn manifests(replacements: &[(&str, &str)]) -> Result<String> {
    let folder = workspace::root()?.join("examples/consumer-group");
    let texts: Vec<String> = FILES
        .iter()
        .map(|name| std::fs::read_to_string(folder.join(name)).with_context(|| format!("cannot read {name}")))
        .collect::<Result<_>>()?;
    let mut text = texts.join("---\n");
    for (from, to) in replacements {
        if !text.contains(from) {
            bail!("examples/consumer-group names no {from}");
        }
        text = text.replace(from, to);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_names_what_is_replaced() {
        let replacements = [(WORKER, "w"), (REDIS, "r"), ("letters-redis.default.svc", "h")];
        let text = manifests(&replacements).unwrap();
        assert!(text.contains("image: w\n") && text.contains("image: r\n") && text.contains("host: h\n"));
    }
}
