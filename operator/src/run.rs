//! Wiring: client, lease, controllers, HTTP port, and the one signal that ends them in the right order.

use std::{net::IpAddr, sync::Arc};

use anyhow::Context as _;
use kube::{
    Client, Config,
    runtime::events::{Recorder, Reporter},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    cli::{RunArguments, VERSION},
    consumer_group,
    health::{self, Health},
    lease::{self, KubernetesLease, Leadership},
    metrics::Metrics,
    shop,
};

/// Runs the operator until it is told to end.
pub async fn run(arguments: RunArguments) -> anyhow::Result<()> {
    let config = Config::infer().await.context("finding the API server")?;
    let api_server = addresses_of(&config).await;
    let client = Client::try_from(config).context("making a client of the API server")?;
    let listener = TcpListener::bind(arguments.http_address)
        .await
        .with_context(|| format!("listening on {}", arguments.http_address))?;
    info!(version = VERSION, address = %listener.local_addr()?, "the operator starts");

    let metrics = Metrics::new();
    let health = Health::expecting(shop::CACHES.into_iter().chain(consumer_group::CACHES));
    let stop = on_signal()?;
    // Each part ends only when those that need it have ended.
    let (stop_lease, stop_http) = (CancellationToken::new(), CancellationToken::new());
    let http = tokio::spawn(health::serve(
        listener,
        Arc::clone(&health),
        Arc::clone(&metrics),
        stop_http.clone(),
    ));
    let (leadership, lease) = leadership(&client, &arguments, &metrics, &stop_lease)?;
    let reporter = Reporter {
        controller: "shopwright-operator".into(),
        instance: Some(arguments.pod_name.clone()),
    };
    let recorder = Recorder::new(client.clone(), reporter);
    let known = Arc::new(shop::KnownShops::default());
    let shops = shop::run(
        shop::Dependencies {
            known: Arc::clone(&known),
            client: client.clone(),
            namespaces: arguments.namespaces(),
            leadership: leadership.clone(),
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            recorder: recorder.clone(),
            vet: consumer_group::address::vet(api_server.clone()),
            settings: arguments.settings(),
            concurrency: arguments.concurrency,
        },
        stop.clone(),
    );
    let groups = consumer_group::run(
        consumer_group::Dependencies {
            client,
            namespaces: arguments.namespaces(),
            leadership,
            metrics,
            health: Arc::clone(&health),
            recorder,
            api_server,
            owner_is_going: Arc::new(move |namespace: &str, uid: &str| known.is_going(namespace, uid)),
        },
        stop.clone(),
    );
    let draining = async {
        stop.cancelled().await;
        info!("the operator ends");
        health.drain();
    };
    tokio::join!(shops, groups, draining);
    stop_lease.cancel();
    if let Some(lease) = lease {
        lease.await.context("releasing the lease")?;
    }
    stop_http.cancel();
    http.await.context("ending the HTTP port")??;
    Ok(())
}

fn leadership(
    client: &Client,
    arguments: &RunArguments,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
) -> anyhow::Result<(Leadership, Option<tokio::task::JoinHandle<()>>)> {
    if !arguments.leader_election {
        metrics.leader(true);
        return Ok((Leadership::always(), None));
    }
    let namespace = arguments.pod_namespace.as_deref().filter(|name| !name.is_empty());
    let namespace = namespace.context("--pod-namespace is needed for the election: the lease lives there")?;
    let store = KubernetesLease::new(client.clone(), namespace, &arguments.lease_name);
    let settings = lease::Settings::new(&arguments.pod_name);
    let (leadership, handle) = lease::hold(store, settings, Arc::clone(metrics), stop.clone());
    Ok((leadership, Some(handle)))
}

/// The API server's addresses, which nobody's Redis has. Its name is looked up once: inside a cluster it is an address.
async fn addresses_of(config: &Config) -> Vec<IpAddr> {
    let Some(host) = config.cluster_url.host() else {
        return Vec::new();
    };
    let port = config.cluster_url.port_u16().unwrap_or(443);
    let host = host.trim_matches(['[', ']']);
    let found = tokio::net::lookup_host((host, port)).await;
    found
        .map(|addresses| addresses.map(|it| it.ip().to_canonical()).collect())
        .unwrap_or_default()
}

/// Cancelled by SIGTERM or SIGINT.
fn on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("handling SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handling SIGINT")?;
    let token = CancellationToken::new();
    tokio::spawn({
        let token = token.clone();
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(token)
}
