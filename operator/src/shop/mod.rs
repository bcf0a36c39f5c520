//! The Shop controller: gather -> validate -> build -> apply -> status, one file a stage. Here are only the wiring of its
//! watches and what triggers it.

pub mod apply;
pub mod build;
pub mod caches;
pub mod changes;
mod conditions;
pub mod credentials;
pub mod error;
pub mod gather;
pub mod hash;
pub mod kinds;
pub mod memory;
pub mod ownership;
pub mod probe;
mod publish;
mod reconcile;
pub mod replicas;
pub mod secrets;
pub mod settings;
pub mod status;
pub mod validate;
pub mod verdict;
pub mod verifier;

#[cfg(test)]
mod status_tests;
#[cfg(test)]
mod validate_tests;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, future, stream};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, DynamicObject},
    runtime::{
        Controller, WatchStreamExt,
        controller::{self, Action},
        events::Recorder,
        reflector::{ObjectRef, Store, store::Writer},
        watcher::watcher,
    },
};
use rand::RngExt as _;
use shopwright_api::Shop;
use shopwright_streams::connection::Vet;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::{
    caches::{Caches, Scope},
    error::Error,
    memory::{Key, Memories},
    probe::Prober,
    settings::Settings,
    verifier::{Pace, Verifier},
};
use crate::{
    error::{Class, back_off},
    health::Health,
    lease::Leadership,
    metrics::Metrics,
};

/// A Shop, or what is left of one that this version cannot read: one bad object must not stop the others.
pub type Guarded = DeserializeGuard<Shop>;

/// Names under which the caches report to [`Health`].
pub const CACHES: [&str; 2] = ["shops", "shop children"];

/// What the controller needs.
#[derive(Clone)]
pub struct Dependencies {
    /// The API server.
    pub client: Client,
    /// Where to look; empty is everywhere.
    pub namespaces: Vec<String>,
    /// Whether this process may write.
    pub leadership: Leadership,
    /// Counts reconciles.
    pub metrics: Arc<Metrics>,
    /// Told when the caches are filled.
    pub health: Arc<Health>,
    /// Publishes Events.
    pub recorder: Recorder,
    /// Which addresses may be dialled.
    pub vet: Vet,
    /// Images and the like.
    pub settings: Settings,
    /// Shops that are reconciled at the same time.
    pub concurrency: u16,
    /// Filled by the controller.
    pub known: Arc<KnownShops>,
}

/// The Shops that are there, for others to ask.
#[derive(Default)]
pub struct KnownShops(Mutex<Vec<Store<Guarded>>>);

impl KnownShops {
    /// Whether the Shop of this UID is gone or being deleted. Without an answer yet it is not.
    pub fn is_going(&self, namespace: &str, uid: &str) -> bool {
        let stores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = !stores.is_empty()
            && stores
                .iter()
                .all(|it| matches!(it.wait_until_ready().now_or_never(), Some(Ok(()))));
        let found = stores.iter().find_map(|store| {
            store.find(|shop| {
                shop.meta().uid.as_deref() == Some(uid) && shop.meta().namespace.as_deref() == Some(namespace)
            })
        });
        found.map_or(filled, |shop| shop.meta().deletion_timestamp.is_some())
    }
}

struct Context {
    client: Client,
    caches: Caches,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    recorder: Recorder,
    settings: Settings,
    memories: Memories,
    prober: Prober,
    verifier: Verifier,
}

impl Context {
    /// Stops whatever is done for a Shop beside its reconciles.
    fn stop_watching(&self, key: &Key) {
        self.prober.forget(key);
        self.verifier.forget(key);
    }
}

/// Runs until `shutdown`, then lets what is under way end. A standby runs too: its caches are warm and it writes nothing.
pub async fn run(dependencies: Dependencies, shutdown: CancellationToken) {
    let scopes: Vec<Scope> = if dependencies.namespaces.is_empty() {
        vec![None]
    } else {
        dependencies.namespaces.iter().cloned().map(Some).collect()
    };
    // Of the process, not of a scope.
    let turn = Arc::new(Semaphore::new(1));
    let (mut runs, mut fillings) = (Vec::new(), Vec::new());
    for scope in scopes {
        let (run, filled) = in_scope(&dependencies, &scope, &turn, shutdown.clone());
        runs.push(run);
        fillings.push(filled);
    }
    let health = Arc::clone(&dependencies.health);
    let report = async move {
        if future::join_all(fillings).await.into_iter().all(|filled| filled) {
            for name in CACHES {
                health.synced(name);
            }
        }
    };
    future::join(future::join_all(runs), report).await;
}

type Run = future::BoxFuture<'static, ()>;
type Filled = future::BoxFuture<'static, bool>;

fn in_scope(
    dependencies: &Dependencies,
    scope: &Scope,
    turn: &Arc<Semaphore>,
    shutdown: CancellationToken,
) -> (Run, Filled) {
    let client = dependencies.client.clone();
    let api: Api<Guarded> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let writer = Writer::<Guarded>::new(());
    let shops = writer.as_reader();
    dependencies
        .known
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(shops.clone());
    let events = watcher(api, caches::watch_config())
        .default_backoff()
        .reflect(writer)
        .touched_objects();
    let (caches, children) = caches::open(&client, scope);
    let (sender, news) = mpsc::unbounded_channel();
    let verifier = Verifier::new(
        dependencies.vet.clone(),
        sender.clone(),
        Arc::clone(turn),
        Arc::clone(&dependencies.metrics),
        Pace::default(),
    );
    let context = Arc::new(Context {
        client,
        caches,
        leadership: dependencies.leadership.clone(),
        metrics: Arc::clone(&dependencies.metrics),
        recorder: dependencies.recorder.clone(),
        settings: dependencies.settings.clone(),
        memories: Memories::default(),
        prober: Prober::new(dependencies.vet.clone(), sender),
        verifier,
    });
    let mut controller = Controller::for_stream(events, shops.clone())
        .with_config(controller::Config::default().concurrency(dependencies.concurrency))
        .reconcile_on(redis_news(news))
        .reconcile_all_on(leadership_changes(Arc::clone(&context)))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned());
    for (kind, stream) in children {
        controller = controller.watches_stream_with(stream, owner_of, kind.resource());
    }
    let run = controller.run(reconcile::reconcile, error_policy, Arc::clone(&context));
    let run = run.for_each({
        let context = Arc::clone(&context);
        move |outcome| {
            observe(outcome, &context);
            future::ready(())
        }
    });
    let sweep = sweep(shops.clone(), Arc::clone(&context), shutdown);
    let filled = async move { shops.wait_until_ready().await.is_ok() && context.caches.filled().await };
    (future::join(run, sweep).map(|_| ()).boxed(), filled.boxed())
}

#[allow(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn owner_of(object: DynamicObject) -> Option<ObjectRef<Guarded>> {
    let shop = caches::shop_of(&object)?;
    Some(ObjectRef::new(&shop).within(object.metadata.namespace.as_deref()?))
}

/// Shops of whose Redis or books something new is known.
fn redis_news(mut news: mpsc::UnboundedReceiver<Key>) -> impl Stream<Item = ObjectRef<Guarded>> {
    stream::poll_fn(move |context| news.poll_recv(context))
        .map(|(namespace, name)| ObjectRef::new(&name).within(&namespace))
}

/// Whenever leadership was won or lost. What was remembered is dropped: another operator may have written since.
fn leadership_changes(context: Arc<Context>) -> impl Stream<Item = ()> {
    let leadership = context.leadership.clone();
    stream::unfold((leadership, context), |(mut leadership, context)| async move {
        leadership.changed().await;
        context.memories.forget_all();
        if !leadership.is_leader() {
            context.prober.forget_all();
            context.verifier.forget_all();
        }
        Some(((), (leadership, context)))
    })
}

fn observe(
    outcome: Result<(ObjectRef<Guarded>, Action), controller::Error<Error, kube::runtime::watcher::Error>>,
    context: &Context,
) {
    match outcome {
        Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
        Err(controller::Error::ObjectNotFound(gone)) => {
            let key = (gone.namespace.clone().unwrap_or_default(), gone.name.clone());
            context.memories.forget(&key);
            context.stop_watching(&key);
        }
        Err(error) => warn!(%error, "a watch of the Shop controller failed and will be resumed"),
    }
}

/// Forgets Shops that went while the watch was down, of which nobody tells.
async fn sweep(shops: Store<Guarded>, context: Arc<Context>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_mins(1)) => {}
        }
        let is_there = |key: &Key| shops.get(&ObjectRef::new(&key.1).within(&key.0)).is_some();
        context.memories.keep(&is_there);
        context.prober.keep(&is_there);
        context.verifier.keep(&is_there);
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn error_policy(object: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    let key = reconcile::key(&object);
    match error.class() {
        Class::Wait => {
            debug!(%error, "waiting for a change");
            Action::requeue(reconcile::RESYNC)
        }
        Class::Retry | Class::User => {
            let attempts = context.memories.failed(&key);
            Action::requeue(back_off(attempts, rand::rng().random_range(0.0..1.0)))
        }
    }
}
