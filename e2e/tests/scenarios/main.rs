//! The scenarios against a real Kubernetes, in the order of their phases. A module is a topic; each scenario has a namespace.

mod changes;
mod charts;
mod data;
mod drift;
mod failures;
mod grants;
mod leadership;
mod orders;
mod readiness;
mod scaling;
mod strangers;
mod validation;

use std::process::ExitCode;

use shopwright_e2e::runner::{Plan, Trial, run};

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
            drift::children_return,
            failures::redis_killed,
            failures::provider_down,
            strangers::own_workload,
            orders::every_ending,
            changes::only_what_it_concerns,
            changes::ten_reapplies,
            readiness::redis_paused,
            data::retained_and_found,
            strangers::name_taken,
            validation::refused,
        ],
        last: trials![
            leadership::restart_mid_backlog,
            leadership::leader_killed,
            leadership::lost_secrets_return,
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
