//! `examples/consumer-group` as the guide has it: three files applied, entries added by redis-cli.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use shopwright_e2e::consumer_group::wait_condition;
use shopwright_e2e::replicas::Recorder;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::{own_redis, wait};

use crate::reached;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/consumer-group");
const ENTRIES: usize = 400;

/// All at the same moment: one by one, on a disk that takes its time for each, the workers would keep up with them.
const ADD: &str = "for n = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', 'text', 'hello') end";

/// The example wakes, handles every entry once, and goes back to zero, with images and namespace changed and nothing else.
pub(crate) async fn from_the_guide(scenario: Scenario) -> Result<()> {
    let (cluster, namespace) = (&scenario.cluster, scenario.namespace.as_str());
    let Some(worker) = cluster.environment.worker_image.clone() else {
        scenario.say("left out, because SHOPWRIGHT_WORKER_IMAGE names no image of the example worker");
        return Ok(());
    };
    let replacements = [
        ("registry.example/example-worker:0.1.0", worker),
        ("redis/redis-stack-server:7.4.0-v3", own_redis::image(cluster).await?),
        ("letters-redis.default.svc", format!("letters-redis.{namespace}.svc")),
    ];
    let folder = tempfile::tempdir()?;
    for name in ["redis.yaml", "worker.yaml", "consumer-group.yaml"] {
        let mut text = std::fs::read_to_string(format!("{FOLDER}/{name}"))?;
        for (from, to) in &replacements {
            text = text.replace(from, to);
        }
        std::fs::write(folder.path().join(name), text)?;
    }
    let files = folder.path().to_str().context("a path that is no text")?;
    cluster
        .kubectl(&["apply", "--namespace", namespace, "--filename", files])
        .await?;
    wait_condition(cluster, namespace, "letters", "Ready", "True").await?;
    // Before the recorder: it may be at rest by the time that somebody looks.
    let begun = Instant::now();
    let replicas = Recorder::start(cluster, namespace, "letters-worker").await;
    reached(&replicas, begun, 0).await?;
    scenario.say("at rest");

    let added = Instant::now();
    let count = ENTRIES.to_string();
    redis(&scenario, &["EVAL", ADD, "1", "letters", &count]).await?;
    reached(&replicas, added, 10).await?;
    wait::until("every entry to be handled", wait::LONG, || async {
        let handled = redis(&scenario, &["HVALS", "letters:effects"]).await?;
        let times: Vec<&str> = handled.lines().collect();
        ensure!(times.len() == ENTRIES, "{} of {ENTRIES} are handled", times.len());
        Ok(())
    })
    .await?;
    reached(&replicas, added, 0).await?;
    let handled = redis(&scenario, &["HVALS", "letters:effects"]).await?;
    ensure!(handled.lines().all(|times| times == "1"), "an entry was handled twice");
    scenario.say(format!("replicas {:?}", replicas.seen()));
    Ok(())
}

/// redis-cli in the pod of the example's Redis, as the guide runs it.
async fn redis(scenario: &Scenario, words: &[&str]) -> Result<String> {
    let namespace = scenario.namespace.as_str();
    let cli = [
        "exec",
        "--namespace",
        namespace,
        "letters-redis-0",
        "--",
        "/opt/redis-stack/bin/redis-cli",
        "--user",
        "admin",
    ];
    scenario.cluster.kubectl(&[&cli, words].concat()).await
}
