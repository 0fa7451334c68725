//! The faults of all plugins, devices and jobs, grouped by their reason.

mod grouping;

use axum::{Json, extract::State};
use roost_scheduler::scheduler::Scheduler;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::grouping::{Fault, Groups};
use super::{
    devices::{self, After},
    faulty_jobs::faulty_jobs,
    limits,
    problem::{Answered, Problem},
    state::ApiState,
};
use crate::{plugins, report::Report};

/// The faults, grouped by their reason.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Faults {
    /// The groups, those with the most faults first.
    pub(crate) groups: Vec<FaultGroup>,
    /// The number of further groups, which are not listed.
    pub(crate) more: usize,
    /// Whether the runs of the time before the host started have been read. Until then, faults may be missing.
    pub(crate) complete: bool,
}

/// The faults that have one reason.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FaultGroup {
    /// What is at fault: `plugin`, a version that was refused; `plan`, a plan of a device that was refused; `run`, a job
    /// whose last run failed, was missed or was denied.
    #[schema(pattern = "^(plugin|plan|run)$")]
    pub(crate) kind: String,
    /// The outcome of the runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(failed|missed|denied)$")]
    pub(crate) state: Option<String>,
    /// The reason, with `…` in place of names and numbers.
    #[schema(example = "step … was given up after … attempts: the connection was lost before the broker answered")]
    pub(crate) reason: String,
    /// The reason of the newest of them, complete.
    pub(crate) example: String,
    /// The number of plugins, devices or jobs at fault.
    pub(crate) count: usize,
    /// The number of devices that they belong to.
    pub(crate) devices: usize,
    /// Of refused versions and plans: how many of these plugins or devices go on with an earlier one. For the others,
    /// nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<usize>,
    /// When the oldest of them began, if known: when a version was refused, or the last run of a job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) since: Option<String>,
    /// When the newest of them began, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) newest: Option<String>,
    /// The first of them, by name.
    pub(crate) first: Vec<Faulty>,
}

/// A plugin, a device or a job at fault.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Faulty {
    pub(crate) plugin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<String>,
    /// The last run of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    /// When it began, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) at: Option<String>,
    /// The request of the API that explains it.
    #[schema(example = "/api/v1/runs/coop-door/north/close/2027-03-01T18:30:00Z")]
    pub(crate) href: String,
}

/// Group the faults of all plugins, devices and jobs by their reason
///
/// Includes plugins whose newest version was refused, devices whose newest plan was refused, and jobs whose last run
/// failed, was missed or was denied. A job that has been removed counts for a day after its last run.
#[utoipa::path(get, path = "/api/v1/faults", tag = "host", responses((status = 200, body = Faults)))]
pub(super) async fn faults(State(state): State<ApiState>) -> Answered<Faults> {
    Ok(Json(grouped(&state).await?))
}

/// Returns the faults, grouped.
pub(crate) async fn grouped(state: &ApiState) -> Result<Faults, Problem> {
    let complete = state.last_outcomes().is_complete();
    let mut faults = of_plugins(state);
    faults.extend(of_devices(state).await?);
    let of_jobs = faulty_jobs(state).await?;
    let zone = state.zone();
    // On another thread, because there may be thousands.
    let grouped = tokio::task::spawn_blocking(move || {
        faults.extend(of_jobs.into_iter().map(Fault::of_job));
        let mut groups = Groups::default();
        faults.into_iter().for_each(|fault| groups.add(fault));
        groups.into_records(zone)
    });
    let (groups, more) = grouped.await.map_err(|error| Problem::bug(&error))?;
    Ok(Faults { groups, more, complete })
}

/// Returns the refused versions.
fn of_plugins(state: &ApiState) -> Vec<Fault> {
    let statuses = &state.plugins().statuses;
    let (mut faults, mut after) = (Vec::new(), None);
    loop {
        let page = statuses.plugins_after(after.as_ref(), limits::DEVICES_PER_QUERY);
        let Some((last, _)) = page.last() else { return faults };
        after = Some(last.clone());
        for (plugin, status) in page {
            let Some(plugins::Fault { report: Report { what, causes, .. }, at }) = status.fault else { continue };
            let reason = if causes.is_empty() { what } else { causes.join(": ") };
            faults.push(Fault::of_plugin(plugin, reason, at, status.running.is_some()));
        }
    }
}

/// Returns the refused plans.
async fn of_devices(state: &ApiState) -> Result<Vec<Fault>, Problem> {
    let (mut faults, mut after): (_, Option<After>) = (Vec::new(), None);
    loop {
        let (found, next) = state.inspect(move |scheduler| refused_plans(scheduler, after)).await?;
        faults.extend(found);
        after = next;
        if after.is_none() {
            return Ok(faults);
        }
    }
}

fn refused_plans(scheduler: &Scheduler, after: Option<After>) -> (Vec<Fault>, Option<After>) {
    devices::visit(scheduler, None, after, limits::DEVICES_PER_QUERY, |device| {
        let error = device.error?;
        Some(Fault::of_device(device.plugin.clone(), device.name.clone(), error.to_owned(), device.jobs > 0))
    })
}
