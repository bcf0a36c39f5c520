//! What the operator may do is what it does.

use anyhow::{Context as _, Result, ensure};
use shopwright_e2e::audit;
use shopwright_e2e::operator::Operator;
use shopwright_e2e::runner::Scenario;

/// In all scenarios before this one, the API server refused the operator nothing: no grant is missing.
pub(crate) async fn nothing_refused(scenario: Scenario) -> Result<()> {
    demand_none_refused(&scenario).await
}

/// The same, since the present release was installed.
pub(crate) async fn demand_none_refused(scenario: &Scenario) -> Result<()> {
    let environment = &scenario.cluster.environment;
    let Some(log) = &environment.audit_log else {
        scenario.say("left out: SHOPWRIGHT_AUDIT_LOG names no audit log");
        return Ok(());
    };
    let deployment = Operator::of(&scenario.cluster).deployment().await?;
    let installed = deployment
        .metadata
        .creation_timestamp
        .context("a Deployment without a time")?
        .0;
    let refused = audit::refused(log, &environment.operator_namespace, installed)?;
    for (request, times) in &refused {
        scenario.say(format!("refused {times} times: {request}"));
    }
    ensure!(
        refused.is_empty(),
        "{} kinds of requests of the operator were refused",
        refused.len()
    );
    Ok(())
}
