//! The cluster under test: a client, the command-line tools, namespaces of our own.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Event, Namespace};
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tokio::process::Command;

use crate::environment::Environment;
use crate::{object, wait};

/// A cluster that the scenarios share.
#[derive(Clone)]
pub struct Cluster {
    /// What the environment said.
    pub environment: Environment,
    /// A client with the rights of whoever runs the tests.
    pub client: Client,
}

impl Cluster {
    /// Opens the cluster and asks it for its version, so that a wrong address fails here and not in a scenario.
    pub async fn open(environment: Environment) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(&environment.kubeconfig)
            .with_context(|| format!("read {}", environment.kubeconfig.display()))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let version = client
            .apiserver_version()
            .await
            .context("ask the API server for its version")?;
        println!("cluster: Kubernetes {}", version.git_version);
        Ok(Self { environment, client })
    }

    /// Objects of the Shop kind in a namespace.
    pub fn shops(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &object::shops())
    }

    /// Objects of the ConsumerGroup kind in a namespace.
    pub fn consumer_groups(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &object::consumer_groups())
    }

    /// Makes a namespace where only pods by the restricted security standard may run.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        let namespace: Namespace = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {
                "shopwright-e2e": "true",
                "pod-security.kubernetes.io/enforce": "restricted",
            }},
        }))?;
        Api::all(self.client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("create namespace {name}"))?;
        Ok(())
    }

    /// Deletes every Shop and ConsumerGroup of a namespace, then the namespace, without waiting for the end of it.
    /// In this order the operator never meets a half-deleted namespace, where each write is answered 403.
    pub async fn delete_namespace(&self, name: &str) -> Result<()> {
        let everything = kube::api::ListParams::default();
        for api in [self.shops(name), self.consumer_groups(name)] {
            api.delete_collection(&DeleteParams::default(), &everything).await?;
        }
        wait::until("the namespace's Shops to go", wait::SHORT, || async {
            let left = self.shops(name).list(&everything).await?.items.len();
            anyhow::ensure!(left == 0, "{left} left");
            Ok(())
        })
        .await?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until the namespaces are gone, with everything in them.
    pub async fn namespaces_gone(&self, names: &[String]) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespaces = &namespaces;
        for name in names {
            wait::until(&format!("namespace {name} to go"), wait::LONG, || async move {
                match namespaces.get_opt(name).await? {
                    None => Ok(()),
                    Some(found) => bail!("still there: {:?}", found.status),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// The reasons of all Events of a namespace.
    pub async fn event_reasons(&self, namespace: &str) -> Result<BTreeSet<String>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let found = events.list(&kube::api::ListParams::default()).await?;
        Ok(found.into_iter().filter_map(|event| event.reason).collect())
    }

    /// Runs kubectl against this cluster; its output, or what it complained of.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.run(&self.environment.kubectl, arguments).await
    }

    /// Runs helm against this cluster; its output, or what it complained of.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        self.run(&self.environment.helm, arguments).await
    }

    async fn run(&self, program: &Path, arguments: &[&str]) -> Result<String> {
        let running = Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", &self.environment.kubeconfig)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_mins(5), running)
            .await
            .with_context(|| format!("{} {} took over 300 s", program.display(), arguments.join(" ")))?
            .with_context(|| format!("start {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        bail!(
            "{} {} ended with {}: {}{said}",
            program.display(),
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
    }
}
