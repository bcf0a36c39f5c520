//! Many groups on one Redis: what watching and sampling them costs, and whether one of them still wakes at once. Their
//! Deployments never have pods, so that what is measured is the operator and Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Row;
use crate::figures::Figures;
use crate::operator::{self, Operator};
use crate::redis::RedisLink;
use crate::rig::Rig;
use crate::{audit, consumer_group, cpu, idle, object, own_redis, wait};

/// Groups that are woken one after another.
const WAKES: usize = 200;
/// How long processor time is counted.
const WINDOW: Duration = Duration::from_mins(1);
/// Objects that are made at the same time.
const AT_ONCE: usize = 16;

pub(super) async fn measure(rig: &Rig, groups: usize) -> Result<Vec<Row>> {
    make(rig, groups).await?;
    let link = rig.redis.link().await?;
    let fleet = Fleet::watch(rig);
    all_ready(rig, groups).await?;
    println!("{groups} groups are Ready");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let connections = connections(&link).await?;
    let redis = cpu::pids(&[rig.redis.pod().await?], own_redis::PROCESS)?;
    let operator = cpu::pids(&Operator::of(&rig.cluster).pods().await?, operator::PROCESS)?;
    let [redis_rest, operator_rest] = cpu::shares([&redis, &operator], WINDOW).await?;
    println!("at zero: {connections} connections, Redis {redis_rest:.1} %, operator {operator_rest:.1} % of a core");
    let woken = wakes(&link, &fleet, groups).await?;
    println!("woken: {woken}");

    let load = Load::start(rig.redis.link().await?, groups);
    fleet.all_up(groups).await?;
    println!("{groups} groups are active");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let since = Timestamp::now();
    let [redis_active, operator_active] = cpu::shares([&redis, &operator], WINDOW).await?;
    let busiest = busiest(rig, since)?;
    let replicas = Operator::of(&rig.cluster).replicas().await?;
    Operator::of(&rig.cluster).scale(0).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let load_alone = cpu::shares([&redis], WINDOW / 2).await;
    load.stop();
    Operator::of(&rig.cluster).scale(replicas).await?;
    let [redis_alone] = load_alone?;
    println!(
        "active: Redis {redis_active:.1} % ({redis_alone:.1} % without the operator), operator {operator_active:.1} %"
    );
    Ok(vec![
        Row::new(
            format!("{groups} groups at zero on one Redis: connections of the operator"),
            connections.to_string(),
            "2: one for the watch, one for samples",
        ),
        Row::new(
            "... Redis, operator: per cent of a core",
            format!("{redis_rest:.1}, {operator_rest:.1}"),
            "",
        ),
        Row::new(
            "... one of them woken, to the scale write",
            woken.to_string(),
            "p99 250 ms",
        ),
        Row::new(
            format!("{groups} active groups: Redis, per cent of a core, less the load's own"),
            format!(
                "{:.1} ({redis_active:.1} - {redis_alone:.1})",
                redis_active - redis_alone
            ),
            "5",
        ),
        Row::new(
            "... operator (both pods), per cent of a core",
            format!("{operator_active:.1}"),
            "10",
        ),
        Row::new("... status writes of one group in a minute, the most", busiest, "4"),
    ])
}

fn name(number: usize) -> String {
    format!("jobs-{number:04}")
}

async fn make(rig: &Rig, groups: usize) -> Result<()> {
    let making = futures::stream::iter(0..groups).map(|number| async move {
        let name = name(number);
        idle::deploy_without_pods(&rig.cluster, &rig.namespace, &name).await?;
        let mut spec = consumer_group::spec(&rig.redis.host(), &name);
        object::merge(&mut spec, &json!({"streams": [{"key": name}], "maxReplicas": 5}));
        consumer_group::apply(&rig.cluster, &rig.namespace, &name, &spec, false).await?;
        anyhow::Ok(())
    });
    making.buffer_unordered(AT_ONCE).try_collect().await
}

async fn all_ready(rig: &Rig, groups: usize) -> Result<()> {
    let api = rig.cluster.consumer_groups(&rig.namespace);
    let api = &api;
    wait::until("every group to be Ready", 2 * wait::LONG, || async move {
        let found = api.list(&ListParams::default()).await?.items;
        let ready = found
            .iter()
            .filter(|group| object::demand(group, "Ready", "True").is_ok())
            .count();
        ensure!(ready == groups, "{ready} of {groups} are");
        Ok(())
    })
    .await
}

/// How many connections the operator's user has.
async fn connections(link: &RedisLink) -> Result<usize> {
    let list: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query_async(&mut link.connection())
        .await?;
    Ok(list.lines().filter(|line| line.contains(" user=scaler ")).count())
}

async fn wakes(link: &RedisLink, fleet: &Fleet, groups: usize) -> Result<Figures> {
    let mut took = Vec::new();
    for number in 0..WAKES.min(groups) {
        // Spread over all of them, so that neighbours in the watch are not woken in a row.
        let name = name((number * 37) % groups);
        let mut connection = link.connection();
        let added = Instant::now();
        redis::cmd("XADD")
            .arg(&name)
            .arg("*")
            .arg("number")
            .arg(number)
            .query_async::<()>(&mut connection)
            .await?;
        let up = tokio::time::timeout(wait::SHORT, fleet.up(&name)).await;
        took.push(up.with_context(|| format!("{name} was not woken"))? - added);
        take(link, &[name]).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(Figures::of(took))
}

/// Takes and acknowledges one entry of each stream, as a consumer would.
async fn take(link: &RedisLink, streams: &[String]) -> Result<()> {
    work(link, streams, 0).await
}

/// In one script: adds so many entries to each stream, then reads and acknowledges one of each.
async fn work(link: &RedisLink, streams: &[String], added: usize) -> Result<()> {
    const SCRIPT: &str = "for _, key in ipairs(KEYS) do
  for number = 1, tonumber(ARGV[1]) do redis.call('XADD', key, '*', 'number', number) end
  local read = redis.call('XREADGROUP', 'GROUP', 'workers', 'bench', 'COUNT', 1, 'STREAMS', key, '>')
  if read then redis.call('XACK', key, 'workers', read[1][2][1][1]) end
end";
    let mut command = redis::cmd("EVAL");
    command.arg(SCRIPT).arg(streams.len()).arg(streams).arg(added);
    command.query_async::<()>(&mut link.connection()).await?;
    Ok(())
}

/// Keeps every group at work: a standing backlog, and each second one entry more and one done.
struct Load(JoinHandle<()>);

impl Load {
    fn start(link: RedisLink, groups: usize) -> Self {
        Self(tokio::spawn(async move {
            let streams: Vec<String> = (0..groups).map(name).collect();
            let mut added = 25;
            loop {
                if let Err(error) = work(&link, &streams, added).await {
                    println!("the load ended: {error:#}");
                    return;
                }
                added = 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }))
    }

    fn stop(self) {
        self.0.abort();
    }
}

/// The most status writes of any one group within a minute, as text.
fn busiest(rig: &Rig, since: Timestamp) -> Result<String> {
    let Some(log) = &rig.cluster.environment.audit_log else {
        return Ok("no audit log".to_owned());
    };
    let by_group = audit::status_writes(log, &rig.namespace, since)?;
    let most = by_group.values().map(|times| audit::busiest_minute(times)).max();
    Ok(most.unwrap_or_default().to_string())
}

/// When each Deployment was last seen to be asked for replicas after none.
struct Fleet {
    up: Arc<Mutex<HashMap<String, Instant>>>,
    changed: Arc<Notify>,
    watching: JoinHandle<()>,
}

impl Fleet {
    fn watch(rig: &Rig) -> Self {
        let deployments: Api<Deployment> = Api::namespaced(rig.cluster.client.clone(), &rig.namespace);
        let up: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let changed = Arc::new(Notify::new());
        let (seen, bell) = (up.clone(), changed.clone());
        let watching = tokio::spawn(async move {
            let objects = watcher(deployments, watcher::Config::default())
                .default_backoff()
                .applied_objects();
            pin_mut!(objects);
            while let Some(event) = objects.next().await {
                let Ok(found) = event else { continue };
                let replicas = found.spec.replicas.unwrap_or_default();
                let Some(name) = found.metadata.name else { continue };
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if replicas == 0 {
                    seen.remove(&name);
                } else {
                    seen.entry(name).or_insert_with(Instant::now);
                }
                bell.notify_waiters();
            }
        });
        Self { up, changed, watching }
    }

    /// Waits until this Deployment is asked for replicas; when it was.
    async fn up(&self, name: &str) -> Instant {
        loop {
            let bell = self.changed.notified();
            pin_mut!(bell);
            // Counted among the waiters before looking, so that a change in between is not slept over.
            bell.as_mut().enable();
            if let Some(at) = self.up.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
                return *at;
            }
            bell.await;
        }
    }

    async fn all_up(&self, groups: usize) -> Result<()> {
        wait::until("every group to be active", wait::LONG, || async move {
            let up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
            let count = up.keys().filter(|name| name.starts_with("jobs-")).count();
            ensure!(count == groups, "{count} of {groups} are");
            Ok(())
        })
        .await
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
