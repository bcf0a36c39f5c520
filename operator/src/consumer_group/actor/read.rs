//! What an actor asks of its Redis: connect, make missing groups, sample. Writes nothing but those groups.

use std::time::Instant;

use rand::RngExt as _;
use shopwright_streams::{
    Class, Client, Endpoint, Error, group,
    sample::{self, Target},
    watch::{self, Watcher},
};

use super::{
    super::{
        cluster::{Cluster, Credentials},
        identity::ObjectKey,
        status::Unknown,
        tracked::Tracked,
    },
    Actor, Connection, tell,
};
use crate::scaling;

/// What is known of each group's work.
type Known = Vec<(ObjectKey, scaling::Sample)>;

impl<C: Cluster> Actor<C> {
    /// Everything that is asked of Redis.
    pub(super) async fn read(&mut self, due: &[ObjectKey]) -> Known {
        let client = match self.connect().await {
            Ok(client) => client,
            Err(reason) => return self.missed(due, reason),
        };
        let mut whole = Vec::new();
        let mut known = Vec::new();
        for key in due {
            match self.make_missing(&client, key).await {
                Ok(()) => whole.push(key.clone()),
                Err(error) if concerns_all(error) => return self.failed(due, error),
                Err(error) => known.extend(self.failed(std::slice::from_ref(key), error)),
            }
        }
        let asked = Instant::now();
        let targets: Vec<Target<'_>> = whole
            .iter()
            .filter_map(|key| self.groups.get(key))
            .flat_map(targets)
            .collect();
        let answers = sample::sample_all(&client.shared(), &targets).await;
        self.with.metrics.sampled(asked.elapsed());
        known.extend(match answers {
            Ok(answers) => self.learn(&whole, answers),
            Err(error) => self.failed(&whole, error),
        });
        known
    }

    async fn connect(&mut self) -> Result<Client, Unknown> {
        let now = Instant::now();
        if let Some(connection) = &self.connection
            && now < connection.resync
        {
            return Ok(connection.client.clone());
        }
        let credentials = match &self.key.secret {
            None => None,
            Some(name) => match self
                .with
                .cluster
                .credentials(&ObjectKey::new(&self.key.namespace, name))
                .await
            {
                Ok(credentials) => Some(credentials),
                // What worked so far is kept as long as Redis takes it.
                Err(reason) => match &mut self.connection {
                    None => return Err(reason),
                    Some(connection) => {
                        connection.resync = now + self.with.settings.resync;
                        return Ok(connection.client.clone());
                    }
                },
            },
        };
        let resync = now + self.with.settings.resync.mul_f64(rand::rng().random_range(0.9..1.1));
        if let Some(connection) = &mut self.connection
            && connection.credentials == credentials
        {
            connection.resync = resync;
            return Ok(connection.client.clone());
        }
        self.disconnect();
        let mut endpoint = Endpoint::new(self.key.host.clone(), self.key.port).with_database(self.key.database);
        if let Some(Credentials { username, password }) = credentials.clone() {
            endpoint.username = username;
            endpoint.password = Some(password);
        }
        let client = Client::vetted(endpoint, self.with.vet.clone());
        let (watcher, events) = Watcher::start(client.clone(), watch::Settings::default());
        self.connection = Some(Connection {
            client: client.clone(),
            watcher,
            events,
            credentials,
            resync,
        });
        Ok(client)
    }

    /// Makes the group on each stream on which it is not known to be.
    async fn make_missing(&mut self, client: &Client, key: &ObjectKey) -> Result<(), Error> {
        let Some(group) = self.groups.get_mut(key) else {
            return Ok(());
        };
        for index in 0..group.streams.len() {
            let Some(stream) = group.streams.get(index).filter(|stream| !stream.ensured) else {
                continue;
            };
            let plan = &group.assignment.plan;
            // What was lost starts at 0: `$` would skip what was added since.
            let start = if stream.existed {
                group::StartFrom::Beginning
            } else {
                plan.start
            };
            let ensured = group::ensure(&client.shared(), &stream.key, &plan.group, start).await?;
            if let Some(notice) = group.ensured(index, ensured.created) {
                tell(&self.with, &group.assignment.subject, notice);
            }
        }
        Ok(())
    }

    /// A Redis call failed for these groups.
    fn failed(&mut self, keys: &[ObjectKey], error: Error) -> Known {
        self.with.metrics.redis_error(error.word());
        let reason = Unknown::Redis(error);
        if reason.is_about_credentials() {
            self.disconnect();
        }
        self.missed(keys, reason)
    }

    fn missed(&mut self, due: &[ObjectKey], reason: Unknown) -> Known {
        for key in due {
            let Some(group) = self.groups.get_mut(key) else {
                continue;
            };
            if let Some(notice) = group.miss(reason) {
                tell(&self.with, &group.assignment.subject, notice);
            }
        }
        due.iter().map(|key| (key.clone(), scaling::Sample::Unknown)).collect()
    }

    fn learn(&mut self, due: &[ObjectKey], answers: Vec<Result<sample::Sample, Error>>) -> Known {
        let mut answers = answers.into_iter();
        let mut known = Vec::new();
        let mut credentials_refused = false;
        for key in due {
            let Some(group) = self.groups.get_mut(key) else {
                continue;
            };
            let own: Vec<_> = answers.by_ref().take(group.streams.len()).collect();
            for error in own.iter().filter_map(|answer| answer.as_ref().err()) {
                self.with.metrics.redis_error(error.word());
            }
            let (sample, learned) = group.learn(own);
            for notice in learned.notices {
                tell(&self.with, &group.assignment.subject, notice);
            }
            credentials_refused |= learned.credentials_refused;
            known.push((key.clone(), sample));
        }
        if credentials_refused {
            self.disconnect();
        }
        known
    }
}

/// Whether no other group of this Redis will fare better.
fn concerns_all(error: Error) -> bool {
    matches!(error.class(), Class::Unreachable | Class::ForbiddenAddress)
        || Unknown::Redis(error).is_about_credentials()
}

fn targets(group: &Tracked) -> impl Iterator<Item = Target<'_>> {
    let plan = &group.assignment.plan;
    let worth = plan
        .policy
        .backlog_per_replica()
        .saturating_mul(u64::from(plan.policy.max_replicas()));
    let cap = u32::try_from(worth).unwrap_or(u32::MAX).min(sample::COUNT_LIMIT);
    group.streams.iter().map(move |stream| Target {
        key: &stream.key,
        group: &plan.group,
        cap,
    })
}
