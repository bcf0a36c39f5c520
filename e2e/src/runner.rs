//! Runs scenarios: some at the same time, some alone, each in a namespace of its own. Prints as it goes, diagnoses what fails.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};

use crate::cluster::Cluster;
use crate::diagnosis;
use crate::environment::Environment;

/// How long one scenario may take, on a machine of two cores that also runs the cluster.
const SCENARIO_LIMIT: Duration = Duration::from_mins(15);

/// Scenarios at work at the same time.
const DEFAULT_CONCURRENCY: usize = 3;

/// What a scenario is given.
#[derive(Clone)]
pub struct Scenario {
    /// The cluster.
    pub cluster: Cluster,
    /// A namespace that exists, is empty and is nobody else's.
    pub namespace: String,
    /// What the scenario is called.
    pub name: &'static str,
    started: Instant,
}

impl Scenario {
    /// Prints a line with the scenario's name and how long it has been at work.
    pub fn say(&self, line: impl AsRef<str>) {
        println!(
            "{:>28} {:>6.1} s  {}",
            self.name,
            self.started.elapsed().as_secs_f64(),
            line.as_ref()
        );
    }
}

type Body = Box<dyn Fn(Scenario) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A named scenario.
pub struct Trial {
    name: &'static str,
    body: Body,
}

impl Trial {
    /// Names a scenario.
    pub fn new<F, R>(name: &'static str, body: F) -> Self
    where
        F: Fn(Scenario) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            name,
            body: Box::new(move |scenario| body(scenario).boxed()),
        }
    }
}

/// All scenarios, in the order of their phases.
#[derive(Default)]
pub struct Plan {
    /// On a quiet machine, one after the other: what is measured.
    pub first: Vec<Trial>,
    /// A few at a time, in any order: what disturbs nobody else.
    pub together: Vec<Trial>,
    /// Alone, one after the other: what disturbs the operator, and what looks back on all others.
    pub last: Vec<Trial>,
}

struct Outcome {
    name: &'static str,
    took: Duration,
    failure: Option<String>,
}

/// Runs what the command line selects (a part of a name; `--list`; `--test-threads=N`); whether all of it passed.
pub async fn run(plan: Plan) -> Result<bool> {
    let selection = Selection::from_arguments(std::env::args().skip(1));
    let names: Vec<&str> = plan
        .first
        .iter()
        .chain(&plan.together)
        .chain(&plan.last)
        .map(|trial| trial.name)
        .filter(|name| selection.chooses(name))
        .collect();
    if selection.list {
        for name in names {
            println!("{name}: test");
        }
        return Ok(true);
    }
    let Some(environment) = Environment::read()? else {
        println!("left out, because SHOPWRIGHT_KUBECONFIG names no cluster (`cargo xtask test` boots one):");
        for name in &names {
            println!("  {name}");
        }
        println!(
            "test result: ok. 0 passed; 0 failed; {} ignored; 0 measured; 0 filtered out",
            names.len()
        );
        return Ok(true);
    };
    if names.is_empty() {
        return Ok(true);
    }
    let runner = Arc::new(Runner::new(Cluster::open(environment).await?)?);
    Ok(runner.all(plan, &selection).await)
}

struct Selection {
    parts: Vec<String>,
    list: bool,
    concurrency: usize,
}

impl Selection {
    fn from_arguments(arguments: impl Iterator<Item = String>) -> Self {
        let mut selection = Self {
            parts: Vec::new(),
            list: false,
            concurrency: DEFAULT_CONCURRENCY,
        };
        for argument in arguments {
            if argument == "--list" {
                selection.list = true;
            } else if let Some(count) = argument.strip_prefix("--test-threads=") {
                selection.concurrency = count.parse().unwrap_or(DEFAULT_CONCURRENCY).max(1);
            } else if !argument.starts_with('-') {
                selection.parts.push(argument);
            }
        }
        selection
    }

    fn chooses(&self, name: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|part| name.contains(part.as_str()))
    }
}

struct Runner {
    cluster: Cluster,
    suffix: String,
}

impl Runner {
    fn new(cluster: Cluster) -> Result<Self> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the clock is before 1970")?;
        Ok(Self {
            cluster,
            suffix: format!("{:x}", now.as_millis() & 0xffff_ffff),
        })
    }

    async fn all(self: &Arc<Self>, plan: Plan, selection: &Selection) -> bool {
        let started = Instant::now();
        let phases = [(plan.first, 1), (plan.together, selection.concurrency), (plan.last, 1)];
        let mut outcomes = Vec::new();
        let mut left = Vec::new();
        for (trials, concurrency) in phases {
            let mut waiting = trials.into_iter().filter(|trial| selection.chooses(trial.name));
            let mut running = FuturesUnordered::new();
            loop {
                while running.len() < concurrency
                    && let Some(trial) = waiting.next()
                {
                    running.push(self.clone().one(trial));
                }
                let Some((outcome, namespace)) = running.next().await else {
                    break;
                };
                left.extend(namespace);
                outcomes.push(outcome);
            }
            // What is still going in one phase would disturb the next.
            if let Err(error) = self.cluster.namespaces_gone(&std::mem::take(&mut left)).await {
                outcomes.push(Outcome {
                    name: "namespaces go",
                    took: started.elapsed(),
                    failure: Some(format!("{error:#}")),
                });
            }
        }
        summary(&outcomes, started.elapsed())
    }

    // The name of the namespace is handed back when it is on its way out.
    async fn one(self: Arc<Self>, trial: Trial) -> (Outcome, Option<String>) {
        let name = trial.name;
        let namespace = format!("e2e-{}-{}", name.replace("::", "-").replace('_', "-"), self.suffix);
        let scenario = Scenario {
            cluster: self.cluster.clone(),
            namespace: namespace.clone(),
            name,
            started: Instant::now(),
        };
        let started = scenario.started;
        scenario.say("begins");
        let result = self.attempt(&trial, scenario.clone()).await;
        let failure = match result {
            Ok(()) => None,
            Err(error) => {
                let report = diagnosis::of(&self.cluster, &namespace).await;
                println!("==== {name} FAILED: {error:#}\n{report}==== end of {name}");
                Some(format!("{error:#}"))
            }
        };
        scenario.say(if failure.is_none() { "passed" } else { "FAILED" });
        let keep = failure.is_some() && self.cluster.environment.keep_failed;
        let mut outcome = Outcome {
            name,
            took: started.elapsed(),
            failure,
        };
        if keep {
            println!("kept for inspection: namespace {namespace}");
            return (outcome, None);
        }
        if let Err(error) = self.cluster.delete_namespace(&namespace).await {
            outcome
                .failure
                .get_or_insert(format!("delete its namespace: {error:#}"));
        }
        (outcome, Some(namespace))
    }

    async fn attempt(&self, trial: &Trial, scenario: Scenario) -> Result<()> {
        self.cluster.create_namespace(&scenario.namespace).await?;
        // On a task of its own, so that scenarios share the machine's cores and a panic ends only its own.
        let body = AssertUnwindSafe((trial.body)(scenario)).catch_unwind();
        let task = tokio::spawn(tokio::time::timeout(SCENARIO_LIMIT, body));
        match task.await? {
            Err(_) => Err(anyhow!("not done after {} s", SCENARIO_LIMIT.as_secs())),
            Ok(Err(_)) => Err(anyhow!("it panicked")),
            Ok(Ok(result)) => result,
        }
    }
}

fn summary(outcomes: &[Outcome], took: Duration) -> bool {
    println!("\nscenarios against Kubernetes:");
    for outcome in outcomes {
        let word = if outcome.failure.is_none() { "ok" } else { "FAILED" };
        println!("  {:>6.1} s  {:<48} {word}", outcome.took.as_secs_f64(), outcome.name);
    }
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    for outcome in outcomes {
        if let Some(failure) = &outcome.failure {
            println!("FAILED {}: {failure}", outcome.name);
        }
    }
    // The form that cargo's own runner has, so that whoever adds up its lines counts these as well.
    println!(
        "test result: {}. {} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
        if failed == 0 { "ok" } else { "FAILED" },
        outcomes.len() - failed,
        took.as_secs_f64()
    );
    failed == 0
}
