//! The scenarios against a real Kubernetes, in the order of their phases. A module is a topic; each scenario has a namespace.

mod bursts;
mod changes;
mod charts;
mod data;
mod drift;
mod example;
mod failures;
mod grants;
mod groups;
mod leadership;
mod orders;
mod outages;
mod readiness;
mod scaling;
mod storm;
mod strangers;
mod validation;
mod verification;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use shopwright_e2e::replicas::Recorder;
use shopwright_e2e::runner::{Plan, Trial, run};
use shopwright_e2e::wait;

macro_rules! trials {
    ($($topic:ident :: $scenario:ident),* $(,)?) => {
        vec![$(Trial::new(concat!(stringify!($topic), "::", stringify!($scenario)), $topic::$scenario)),*]
    };
}

#[tokio::main]
async fn main() -> ExitCode {
    let plan = Plan {
        first: trials![readiness::empty_spec],
        together: trials![
            scaling::wake_peak_rest,
            verification::changed_by_hand,
            bursts::dump_and_rest,
            bursts::six_to_two_twice,
            drift::children_return,
            failures::redis_killed,
            failures::provider_down,
            strangers::own_workload,
            example::from_the_guide,
            groups::long_job_and_dead_pod,
            outages::redis_gone,
            groups::at_the_end_and_capped,
            outages::flushed,
            orders::every_ending,
            changes::only_what_it_concerns,
            changes::ten_reapplies,
            readiness::redis_paused,
            outages::bad_neighbours,
            groups::paused,
            data::retained_and_found,
            strangers::name_taken,
            validation::refused,
        ],
        last: trials![
            leadership::restart_mid_backlog,
            leadership::leader_killed,
            leadership::lost_secrets_return,
            storm::on_the_cluster,
            charts::life_cycle,
            grants::nothing_refused,
        ],
    };
    match run(plan).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("the scenarios did not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits until the Deployment is asked for this many replicas; when it was.
async fn reached(replicas: &Recorder, since: Instant, wanted: i32) -> Result<Instant> {
    tokio::time::timeout(wait::LONG, replicas.first_since(since, |now| now == wanted))
        .await
        .with_context(|| format!("{wanted} replicas were not reached: {:?}", replicas.seen()))
}
