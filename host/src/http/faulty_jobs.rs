//! The jobs at fault: those whose last run failed, was missed or was denied.

use std::collections::HashSet;

use roost_scheduler::names::{DeviceName, PluginName};

use super::{limits, problem::Problem, reason_template, state::ApiState};
use crate::{clock, store::LastOutcome};

/// Returns the last outcomes of the jobs whose last run failed, was missed or was denied.
pub(super) async fn faulty_jobs(state: &ApiState) -> Result<Vec<LastOutcome>, Problem> {
    let outcomes = state.last_outcomes();
    let recent = clock::now().plus_ms(-limits::GONE_FAULT_MS);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (mut faults, next) = outcomes.faults_after(after.as_ref());
        after = next;
        while !faults.is_empty() {
            let batch = faults.split_off(faults.len().saturating_sub(limits::DEVICES_PER_QUERY));
            let query = state.inspect(move |scheduler| {
                batch.into_iter().partition(|fault| scheduler.has_job(&fault.run.clone().into_job_name()))
            });
            let (present, gone): (Vec<LastOutcome>, Vec<_>) = query.await?;
            found.extend(present);
            let (kept, old): (Vec<_>, Vec<_>) = gone.into_iter().partition(|fault| fault.ended > recent);
            found.extend(kept);
            outcomes.forget(&old);
        }
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// Returns the devices of which a job is at fault, for any reason or for a given one.
pub(super) async fn devices_of_faulty_jobs(
    state: &ApiState,
    reason: Option<&str>,
) -> Result<HashSet<(PluginName, DeviceName)>, Problem> {
    let mut faults = faulty_jobs(state).await?;
    if let Some(reason) = reason {
        faults.retain(|LastOutcome { run, reason: text, .. }| {
            let names = [run.plugin.as_str(), run.device.as_str(), run.job.as_str()];
            reason_template::of_fault(text.as_deref().unwrap_or_default(), names) == reason
        });
    }
    Ok(faults.into_iter().map(|fault| (fault.run.plugin, fault.run.device)).collect())
}
