//! Runs histories against a real Redis, and shortens one that fails.

use super::history::History;
use super::step::{CLAIM_MIN_IDLE, Step};
use super::truth::Truth;
use super::{GROUPS, Tally};
use crate::connection::{Client, Endpoint, Secret, Shared};
use crate::sample::sampler::Rule;
use crate::sample::{Sample, Sampler, Target};
use redis::{RedisResult, Value};
use shopwright_redis_stack::{Append, Options, RedisStack};
use std::sync::Arc;

/// Samples of one history at most.
const ROUNDS: usize = 40;
/// Runs spent on making a failing history shorter.
const SHRINKING: usize = 150;

/// A Redis and the rule that is tried on it.
pub(super) struct Arena {
    stack: RedisStack,
    shared: Shared,
    rule: Arc<Rule>,
}

/// A history whose sample was wrong.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) seed: u64,
    pub(super) what: String,
    pub(super) steps: Vec<Step>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            formatter,
            "seed {}: {}; the shortest history found:",
            self.seed, self.what
        )?;
        self.steps.iter().try_for_each(|step| writeln!(formatter, "  {step}"))
    }
}

/// One history under way.
struct Run<'a> {
    arena: &'a mut Arena,
    sampler: Sampler,
    queued: redis::Pipeline,
    truth: Option<Truth>,
}

impl Arena {
    /// With an append-only file a restart loses nothing; without, it rolls back to what was saved.
    pub(super) async fn new(append: Append, rule: Arc<Rule>) -> Self {
        let options = Options {
            append,
            ..Options::plain()
        };
        let stack = RedisStack::start_async(options).await.unwrap();
        let mut endpoint = Endpoint::new(stack.host(), stack.port());
        if let Some((user, password)) = stack.harness() {
            endpoint = endpoint.with_user(user, Secret::new(password));
        }
        let shared = Client::new(endpoint).shared().repeating();
        Self { stack, shared, rule }
    }

    /// Which server this is, as it says itself.
    pub(super) async fn server(&mut self) -> String {
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut self.shared)
            .await
            .unwrap();
        let versions = info.lines().filter(|line| line.contains("_version:"));
        versions.map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// One history. On failure, the shortest one that fails.
    pub(super) async fn play(&mut self, seed: u64, tally: &mut Tally) -> Result<(), Failure> {
        let mut history = History::new(seed);
        let mut steps = Vec::new();
        let outcome = self.invent(&mut history, &mut steps, tally).await;
        let Err(what) = outcome else { return Ok(()) };
        let (what, steps) = self.shrink(what, steps).await;
        Err(Failure { seed, what, steps })
    }

    async fn invent(&mut self, history: &mut History, steps: &mut Vec<Step>, tally: &mut Tally) -> Result<(), String> {
        let mut run = self.run().await;
        let mut next = history.beginning();
        for _ in 0..ROUNDS {
            for step in &next {
                steps.push(step.clone());
                run.apply(step, tally).await?;
            }
            next = history.next(run.truth.as_ref());
        }
        Ok(())
    }

    async fn run(&mut self) -> Run<'_> {
        let sampler = Sampler::with_rule(self.shared.clone(), Arc::clone(&self.rule));
        let () = redis::cmd("DEL").arg("s").query_async(&mut self.shared).await.unwrap();
        Run {
            arena: self,
            sampler,
            queued: pipeline(),
            truth: None,
        }
    }

    async fn replay(&mut self, steps: &[Step]) -> Result<(), String> {
        let mut run = self.run().await;
        if steps.iter().any(|step| matches!(step, Step::Restart)) {
            run.apply(&Step::Save, &mut Tally::default()).await?;
        }
        for step in steps {
            run.apply(step, &mut Tally::default()).await?;
        }
        Ok(())
    }

    /// Leaves out halves, then quarters, and so on, as long as it still fails.
    async fn shrink(&mut self, mut what: String, mut steps: Vec<Step>) -> (String, Vec<Step>) {
        let mut runs = 0;
        let mut size = steps.len();
        while size > 0 && runs < SHRINKING {
            let mut from = 0;
            while from < steps.len() && runs < SHRINKING {
                let mut fewer = steps.clone();
                fewer.drain(from..(from + size).min(steps.len()));
                runs += 1;
                match self.replay(&fewer).await {
                    Ok(()) => from += size,
                    Err(failure) => (what, steps) = (failure, fewer),
                }
            }
            size /= 2;
        }
        (what, steps)
    }
}

impl Run<'_> {
    async fn apply(&mut self, step: &Step, tally: &mut Tally) -> Result<(), String> {
        match step {
            Step::Command(words) => {
                let mut words = words.split_whitespace();
                let command = self.queued.cmd(words.next().unwrap());
                for word in words {
                    command.arg(word);
                }
            }
            Step::Save => {
                self.flush().await;
                let () = redis::cmd("SAVE").query_async(&mut self.arena.shared).await.unwrap();
            }
            Step::Restart => {
                self.flush().await;
                self.arena.stack.restart().unwrap();
                tally.restarts += 1;
            }
            Step::Sample {
                cap,
                max_deliveries,
                detail,
            } => {
                self.flush().await;
                return self.sample(*cap, *max_deliveries, *detail, tally).await;
            }
        }
        Ok(())
    }

    /// Some steps make no sense in some states, and Redis says so; that is part of a hostile history.
    async fn flush(&mut self) {
        let queued = std::mem::replace(&mut self.queued, pipeline());
        if !queued.is_empty() {
            let _: Vec<RedisResult<Value>> = queued.query_async(&mut self.arena.shared).await.unwrap();
        }
    }

    async fn sample(&mut self, cap: u32, max_deliveries: u32, detail: bool, tally: &mut Tally) -> Result<(), String> {
        let targets = GROUPS.map(|group| Target {
            cap,
            claim_min_idle: CLAIM_MIN_IDLE,
            max_deliveries,
            detail,
            ..Target::new("s", group)
        });
        let samples = self
            .sampler
            .sample_all(&targets)
            .await
            .map_err(|error| error.to_string())?;
        self.truth = Truth::read(&self.arena.shared).await;
        for (group, sample) in GROUPS.into_iter().zip(samples) {
            let sample = sample.map_err(|error| error.to_string())?;
            let asked = (u64::from(cap), u64::from(max_deliveries), detail);
            match &self.truth {
                Some(truth) => truth
                    .check(group, &sample, asked, tally)
                    .map_err(|what| format!("group {group}: {what}; {sample:?}"))?,
                None if sample == Sample::NoStream => {}
                None => return Err(format!("there is no stream; {sample:?}")),
            }
        }
        Ok(())
    }
}

fn pipeline() -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    pipeline
}
