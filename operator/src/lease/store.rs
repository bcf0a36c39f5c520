//! Reading and writing one Lease. The only file of the election that talks to the API server.

use std::{future::Future, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

/// Why a Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote it first.
    #[error("the lease was changed by someone else")]
    Conflict,
    /// Everything else.
    #[error(transparent)]
    Kubernetes(#[from] Box<kube::Error>),
}

/// Where a Lease is kept. Writes must be refused when the object's `resourceVersion` is not the stored one.
pub trait LeaseStore: Send + Sync + 'static {
    /// The Lease, or `None` when there is none.
    fn get(&self) -> impl Future<Output = Result<Option<Lease>, StoreError>> + Send;
    /// Creates it; [`StoreError::Conflict`] when it exists.
    fn create(&self, lease: &Lease) -> impl Future<Output = Result<Lease, StoreError>> + Send;
    /// Replaces exactly the version that `lease` names.
    fn replace(&self, lease: &Lease) -> impl Future<Output = Result<Lease, StoreError>> + Send;
}

/// A Lease of the cluster.
#[derive(Clone)]
pub struct KubernetesLease {
    api: Api<Lease>,
    name: String,
}

impl KubernetesLease {
    /// The Lease `name` in `namespace`.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
        }
    }
}

impl LeaseStore for KubernetesLease {
    async fn get(&self) -> Result<Option<Lease>, StoreError> {
        self.api.get_opt(&self.name).await.map_err(store_error)
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, StoreError> {
        let mut lease = lease.clone();
        lease.metadata.name = Some(self.name.clone());
        self.api
            .create(&PostParams::default(), &lease)
            .await
            .map_err(store_error)
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, StoreError> {
        self.api
            .replace(&self.name, &PostParams::default(), lease)
            .await
            .map_err(store_error)
    }
}

fn store_error(error: kube::Error) -> StoreError {
    match error {
        kube::Error::Api(status) if status.code == 409 => StoreError::Conflict,
        other => StoreError::Kubernetes(Box::new(other)),
    }
}

/// A new Lease held by `me`.
pub(super) fn new_lease(me: &str, ttl: Duration, now: k8s_openapi::jiff::Timestamp) -> Lease {
    let mut lease = Lease {
        metadata: ObjectMeta::default(),
        spec: Some(LeaseSpec::default()),
    };
    take(&mut lease, me, ttl, 0, now);
    lease
}

/// Makes `me` the holder.
pub(super) fn take(lease: &mut Lease, me: &str, ttl: Duration, transitions: i32, now: k8s_openapi::jiff::Timestamp) {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(me.to_owned());
    spec.lease_duration_seconds = Some(whole_seconds(ttl));
    spec.acquire_time = Some(MicroTime(now));
    spec.renew_time = Some(MicroTime(now));
    spec.lease_transitions = Some(transitions);
}

/// Renews it for its holder.
pub(super) fn renew(lease: &mut Lease, ttl: Duration, now: k8s_openapi::jiff::Timestamp) {
    let spec = lease.spec.get_or_insert_default();
    spec.lease_duration_seconds = Some(whole_seconds(ttl));
    spec.renew_time = Some(MicroTime(now));
}

/// Clears the holder, so that the next one need not wait.
pub(super) fn release(lease: &mut Lease, now: k8s_openapi::jiff::Timestamp) {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = None;
    spec.renew_time = Some(MicroTime(now));
}

/// The API keeps whole seconds of at least one. Rounded up: others then wait longer, never less.
fn whole_seconds(ttl: Duration) -> i32 {
    i32::try_from(ttl.as_millis().div_ceil(1000).max(1)).unwrap_or(i32::MAX)
}
