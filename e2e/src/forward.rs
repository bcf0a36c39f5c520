//! A port on loopback that leads to a Service's pods: each connection picks a pod that is ready at that moment, so a forward
//! outlives the pods behind it. Needs nothing but the API server, whose own HTTP proxy would take the `Authorization` header away.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Client;
use kube::api::{Api, ListParams};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::workload;

/// Ends with its value, and all its connections with it.
pub struct Forward {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Forward {
    /// Opens a free loopback port for `port` of a Service.
    pub async fn open(client: &Client, namespace: &str, service: &str, port: i32) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (client, namespace, service) = (client.clone(), namespace.to_owned(), service.to_owned());
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (client, namespace, service) = (client.clone(), namespace.clone(), service.clone());
                // An error closes the connection: that is what the caller would see of a Service without a ready pod.
                connections.spawn(async move { carry(socket, &client, &namespace, &service, port).await });
            }
        });
        Ok(Self { address, accepting })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut socket: TcpStream, client: &Client, namespace: &str, service: &str, port: i32) -> Result<()> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let spec = services.get(service).await?.spec.context("a Service without spec")?;
    let service_port = spec
        .ports
        .iter()
        .flatten()
        .find(|one| one.port == port)
        .with_context(|| format!("no port {port}"))?;
    let selector = spec.selector.as_ref().context("a Service without selector")?;
    let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = pods.list(&ListParams::default().labels(&labels.join(","))).await?.items;
    let pod = found
        .iter()
        .find(|pod| workload::is_ready(pod))
        .or_else(|| found.iter().find(|pod| workload::is_running(pod)))
        .with_context(|| format!("no pod runs behind {service}"))?;
    let target = target_port(service_port, pod).with_context(|| format!("no target port behind {service}:{port}"))?;
    let name = pod.metadata.name.as_deref().context("a pod without name")?;
    let mut forwarder = pods.portforward(name, &[target]).await?;
    let mut stream = forwarder.take_stream(target).ok_or_else(|| anyhow!("no stream"))?;
    tokio::io::copy_bidirectional(&mut socket, &mut stream).await?;
    Ok(())
}

fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = &pod.spec.as_ref()?.containers;
            let mut ports = containers.iter().filter_map(|one| one.ports.as_ref()).flatten();
            ports.find(|one| one.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}
