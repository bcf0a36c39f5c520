//! The connections of an actor: made from what the Secrets say now, made anew when that changes, and left alone for a while
//! when Redis or its certificates refuse them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::RngExt as _;
use shopwright_streams::{
    Client, Endpoint,
    connection::Mode,
    sample::Sampler,
    watch::{self, Watcher},
};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinSet};

use super::{
    super::{cluster::Cluster, credentials, status::Unknown, tracked::Cadence},
    Actor, Token,
};

/// What is held open to one Redis: a shared connection for samples, and the watcher's own.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) sampler: Sampler,
    pub(super) watcher: Watcher<Token>,
    pub(super) events: UnboundedReceiver<watch::Event<Token>>,
    endpoint: Endpoint,
    /// When the Secrets are read again.
    resync: Instant,
    /// That reading, while it is under way.
    reading: JoinSet<Result<Endpoint, Unknown>>,
    /// The server was asked how it runs.
    introduced: bool,
    /// The user may not repair Redis's counters, and need not be told again.
    pub(super) may_repair: bool,
}

/// A failure that concerns every group of this Redis. Until it is worth another try nobody asks: else each group would
/// dial by itself.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failures: u32,
    until: Option<Instant>,
    reason: Option<Unknown>,
}

impl Outage {
    /// One more failure. Answers when the next try is.
    pub(super) fn struck(&mut self, reason: Unknown, cadence: &Cadence, now: Instant) -> Instant {
        if self.reason.map(|known| known.reason()) != Some(reason.reason()) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let wait = match self.failures {
            // The Secret may have changed before Redis did, or the other way round: it is read again at once.
            1 if reason.is_about_credentials() => Duration::ZERO,
            failures => cadence.after_misses(failures, reason.needs_people()),
        };
        let until = now + wait.mul_f64(rand::rng().random_range(0.9..1.1));
        self.reason = Some(reason);
        self.until = Some(until);
        until
    }

    /// Why nobody is asked now, and until when.
    pub(super) fn lasting(&self, now: Instant) -> Option<(Unknown, Instant)> {
        self.reason.zip(self.until).filter(|(_, until)| now < *until)
    }

    pub(super) fn over(&mut self) {
        *self = Self::default();
    }
}

impl<C: Cluster> Actor<C> {
    /// Sees to it that there is a connection with what the Secrets said when they were last read.
    pub(super) async fn connect(&mut self) -> Result<Client, Unknown> {
        let now = Instant::now();
        if self.connection.is_none() {
            let endpoint = credentials::endpoint(&*self.with.cluster, &self.key).await?;
            self.open(endpoint, now);
        } else {
            self.refresh(now);
        }
        let Some(connection) = &mut self.connection else {
            return Err(Unknown::SecretUnreadable);
        };
        let client = connection.client.clone();
        if !connection.introduced {
            match client.mode().await.map_err(Unknown::Redis)? {
                Mode::Standalone => connection.introduced = true,
                Mode::Cluster => return Err(Unknown::RedisCluster),
            }
        }
        Ok(client)
    }

    /// Reads the Secrets again when it is time, beside everything else: what works is used until they have been read, and
    /// kept when they cannot be.
    fn refresh(&mut self, now: Instant) {
        let resync = now + self.until_resync();
        let Some(connection) = &mut self.connection else { return };
        if connection.resync <= now && connection.reading.is_empty() {
            let (cluster, key) = (Arc::clone(&self.with.cluster), self.key.clone());
            connection
                .reading
                .spawn(async move { credentials::endpoint(&*cluster, &key).await });
        }
        let Some(read) = connection.reading.try_join_next() else {
            return;
        };
        connection.resync = resync;
        if let Ok(Ok(endpoint)) = read
            && endpoint != connection.endpoint
        {
            self.disconnect();
            // Those that were watched have to be put under watch again.
            self.all_due(now);
            self.open(endpoint, now);
        }
    }

    fn until_resync(&self) -> Duration {
        self.with.settings.resync.mul_f64(rand::rng().random_range(0.9..1.1))
    }

    fn open(&mut self, endpoint: Endpoint, now: Instant) {
        let client = Client::vetted(endpoint.clone(), self.with.vet.clone());
        let (watcher, events) = Watcher::start(client.clone(), watch::Settings::default());
        self.connection = Some(Connection {
            sampler: Sampler::new(client.shared()),
            client,
            watcher,
            events,
            endpoint,
            resync: now + self.until_resync(),
            reading: JoinSet::new(),
            introduced: false,
            may_repair: true,
        });
    }

    /// Something failed that concerns all groups.
    pub(super) fn struck(&mut self, reason: Unknown) {
        let until = self.outage.struck(reason, &self.with.settings.cadence, Instant::now());
        if reason.is_about_credentials() {
            self.disconnect();
            // Those at rest are not watched any more, and must not wait for their turn.
            for group in self.groups.values_mut() {
                group.due = group.due.min(until);
            }
        }
    }

    pub(super) fn disconnect(&mut self) {
        self.connection = None;
        for group in self.groups.values_mut() {
            // Another connection may have other rights, and its watcher can be asked again.
            group.poll = false;
            for stream in &mut group.streams {
                stream.watched_after = None;
            }
        }
    }
}
