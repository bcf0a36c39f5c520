//! What an actor asks of its Redis: make missing groups, sample, repair counters. Writes nothing but those.

use std::time::{Duration, Instant};

use shopwright_streams::{
    Class, Client, Error, group,
    sample::{self, Target},
};

use super::{
    super::{
        cluster::Cluster,
        identity::ObjectKey,
        status::Unknown,
        tracked::{Now, Tracked},
    },
    Actor, tell,
};
use crate::{lease::WriteToken, scaling};

/// What is known of each group's work.
type Known = Vec<(ObjectKey, scaling::Sample)>;

/// Between two tries to repair the counters of one stream.
const REPAIR: Duration = Duration::from_mins(1);

/// Most repairs of one pass: they are for others' eyes, and no decision waits for them long.
const REPAIRS: usize = 4;

impl<C: Cluster> Actor<C> {
    /// Everything that is asked of Redis.
    pub(super) async fn read(&mut self, token: &WriteToken, due: &[ObjectKey]) -> Known {
        if let Some((reason, _)) = self.outage.lasting(Instant::now()) {
            return self.missed(due, reason);
        }
        let client = match self.connect().await {
            Ok(client) => client,
            Err(reason) => return self.failed(due, reason),
        };
        let mut whole = Vec::new();
        let mut known = Vec::new();
        for key in due {
            if token.check().is_err() {
                // Another leads, and makes what is missing.
                return Known::new();
            }
            match self.make_missing(&client, key).await.map_err(Unknown::Redis) {
                Ok(()) => whole.push(key.clone()),
                Err(reason) if reason.concerns_all() => return self.failed(due, reason),
                Err(reason) => known.extend(self.failed(std::slice::from_ref(key), reason)),
            }
        }
        let asked = Instant::now();
        let answers = self.sample(&whole, asked).await;
        self.with.metrics.sampled(asked.elapsed());
        match answers {
            Ok(answers) => known.extend(self.learn(&whole, answers)),
            Err(error) => known.extend(self.failed(&whole, Unknown::Redis(error))),
        }
        known
    }

    async fn sample(&mut self, due: &[ObjectKey], now: Instant) -> Result<Vec<Result<sample::Sample, Error>>, Error> {
        let cadence = self.with.settings.cadence;
        let mut details = Vec::new();
        for key in due {
            if let Some(group) = self.groups.get_mut(key) {
                details.push((key, group.wants_detail(&cadence, now)));
            }
        }
        let targets: Vec<Target<'_>> = details
            .iter()
            .filter_map(|(key, detail)| Some((self.groups.get(*key)?, *detail)))
            .flat_map(|(group, detail)| targets(group, detail))
            .collect();
        match &mut self.connection {
            Some(connection) => connection.sampler.sample_all(&targets).await,
            None => Ok(Vec::new()),
        }
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
            if let Some(notice) = group.ensured(index, ensured.created, Now::read()) {
                tell(&self.with, &group.assignment.subject, notice);
            }
        }
        Ok(())
    }

    /// Something failed for these groups.
    fn failed(&mut self, keys: &[ObjectKey], reason: Unknown) -> Known {
        if let Unknown::Redis(error) = reason {
            self.with.metrics.redis_error(error.word());
        }
        if reason.concerns_all() {
            self.struck(reason);
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
        let now = Now::read();
        let mut answers = answers.into_iter();
        let mut known = Vec::new();
        let mut concerns_all = None;
        let mut is_lost = false;
        for key in due {
            let Some(group) = self.groups.get_mut(key) else {
                continue;
            };
            let own: Vec<_> = answers.by_ref().take(group.streams.len()).collect();
            for error in own.iter().filter_map(|answer| answer.as_ref().err()) {
                self.with.metrics.redis_error(error.word());
            }
            let (sample, learned) = group.learn(own, now);
            for notice in learned.notices {
                tell(&self.with, &group.assignment.subject, notice);
            }
            concerns_all = concerns_all.or(learned.concerns_all);
            is_lost |= learned.is_lost;
            known.push((key.clone(), sample));
        }
        if is_lost {
            self.alarm(now.instant);
        }
        match concerns_all {
            Some(reason) => self.struck(reason),
            None => self.outage.over(),
        }
        known
    }

    /// Has Redis mend a lag that it does not know, for whoever else looks at it. Failing changes nothing. Comes last in a
    /// pass, because no decision needs it.
    pub(super) async fn repair(&mut self, token: &WriteToken, due: &[ObjectKey]) {
        let Some(connection) = self.connection.as_mut().filter(|connection| connection.may_repair) else {
            return;
        };
        let now = Instant::now();
        let mut wanted = Vec::new();
        for key in due {
            let Some(tracked) = self.groups.get_mut(key).filter(|group| may_be_repaired(group)) else {
                continue;
            };
            for stream in &mut tracked.streams {
                let is_nil = stream.known.as_ref().is_some_and(|known| known.reported_lag.is_none());
                let is_time = stream.repaired.is_none_or(|tried| now.duration_since(tried) >= REPAIR);
                if is_nil && is_time && wanted.len() < REPAIRS {
                    stream.repaired = Some(now);
                    wanted.push((stream.key.clone(), tracked.assignment.plan.group.clone()));
                }
            }
        }
        let client = connection.client.clone();
        for (key, group) in wanted {
            if token.check().is_err() {
                return;
            }
            match group::repair(&client.shared(), &key, &group).await {
                Ok(_) => {}
                Err(error) if error.class() == Class::Denied => connection.may_repair = false,
                // The next sample finds out what is wrong.
                Err(_) => return,
            }
        }
    }
}

/// Only what was sampled just now: of the others nobody knows whether Redis answers.
fn may_be_repaired(group: &Tracked) -> bool {
    group.misses() == 0 && !group.assignment.plan.policy.is_paused()
}

fn targets(group: &Tracked, detail: bool) -> impl Iterator<Item = Target<'_>> {
    let plan = &group.assignment.plan;
    let worth = plan
        .policy
        .backlog_per_replica()
        .saturating_mul(u64::from(plan.policy.max_replicas()));
    let cap = u32::try_from(worth).unwrap_or(u32::MAX).min(sample::COUNT_LIMIT);
    group.streams.iter().map(move |stream| Target {
        cap,
        claim_min_idle: plan.pending.claim_min_idle,
        max_deliveries: plan.pending.max_deliveries,
        detail,
        ..Target::new(&stream.key, &plan.group)
    })
}
