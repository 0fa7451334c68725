//! Problems for plugins, devices and jobs that do not exist, with suggestions for misspelt names.

use roost_scheduler::{
    event::Part,
    names::{DeviceName, JobId, PluginName},
    scheduler::{Scheduler, api_device},
    suggest::{did_you_mean, nearest},
};

use super::{limits, problem::Problem};

fn parts(part: &Part) -> Option<(&PluginName, Option<&DeviceName>, Option<&JobId>)> {
    Some(match part {
        Part::All => return None,
        Part::Plugin(plugin) => (plugin, None, None),
        Part::Device(plugin, device) => (plugin, Some(device), None),
        Part::Job((plugin, device, job)) => (plugin, Some(device), Some(job)),
    })
}

/// Returns the problem for a plugin, device or job that does not exist; `is_refused` states whether every version of the
/// plugin was refused.
pub(super) fn not_found(scheduler: &Scheduler, part: &Part, is_refused: bool) -> Problem {
    let Some(parts) = parts(part) else { return Problem::bug(&"all plugins are always there") };
    match parts {
        (plugin, Some(device), Some(job)) if *plugin == PluginName::host() && *device == api_device() => {
            no_ad_hoc_job(scheduler, job)
        }
        (plugin, ..) if scheduler.plugin(plugin).is_none() => no_plugin(scheduler, plugin, is_refused),
        (plugin, Some(device), _) if scheduler.device(plugin, device).is_none() => {
            let problem = Problem::not_found(format!("plugin `{plugin}` has no device `{device}`"));
            let known = scheduler.devices_after(plugin, None).map(|device| device.name.as_str());
            match nearest(device.as_str(), known.take(limits::SUGGESTION_CANDIDATES)) {
                Some(nearest) => problem.hint(did_you_mean(format_args!("{plugin}/{nearest}"))),
                None => problem.hint(format!("`roost plugins {plugin}` lists its devices")),
            }
        }
        (plugin, Some(device), Some(job)) => {
            let problem = Problem::not_found(format!("device `{plugin}/{device}` has no job `{job}`"));
            match nearest_job(scheduler, (plugin, device), job) {
                Some(nearest) => problem.hint(did_you_mean(format_args!("{plugin}/{device}/{nearest}"))),
                None => problem.hint(format!("`roost jobs {plugin}/{device}` lists its jobs")),
            }
        }
        (plugin, ..) => no_plugin(scheduler, plugin, is_refused),
    }
}

/// Returns the problem for a plugin that does not run.
fn no_plugin(scheduler: &Scheduler, plugin: &PluginName, is_refused: bool) -> Problem {
    if is_refused {
        let problem = Problem::not_found(format!("no version of plugin `{plugin}` runs"));
        return problem.hint(format!("see `roost plugins {plugin}` for the reason"));
    }
    let problem = Problem::not_found(format!("there is no plugin `{plugin}`"));
    let ad_hoc = JobId::parse(plugin.as_str()).ok();
    if ad_hoc.is_some_and(|job| scheduler.job(&PluginName::host(), &api_device(), &job).is_some()) {
        return problem.hint(format!("there is an ad-hoc job of that name: write `roost/api/{plugin}`"));
    }
    match nearest(plugin.as_str(), scheduler.plugin_names().take(limits::SUGGESTION_CANDIDATES).map(PluginName::as_str))
    {
        Some(nearest) => problem.hint(did_you_mean(nearest)),
        None => problem.hint("`roost plugins` lists the plugins"),
    }
}

/// Returns the problem for an ad-hoc job. Commands take a name without slashes for the name of one.
fn no_ad_hoc_job(scheduler: &Scheduler, job: &JobId) -> Problem {
    let plugin = PluginName::parse(job.as_str()).ok();
    if let Some(plugin) = plugin.filter(|plugin| scheduler.plugin(plugin).is_some()) {
        let problem = Problem::not_found(format!("`{plugin}` is a plugin, not an ad-hoc job"));
        let first = scheduler.jobs_from((Some(&plugin), None), 0, 1).0.into_iter().next();
        let example = first.map(|job| format!(", as in `{plugin}/{}/{}`", job.device, job.job.body.id()));
        let example = example.unwrap_or_default();
        return problem.hint(format!("name one of its jobs{example}: `roost jobs {plugin}` lists them"));
    }
    let problem = Problem::not_found(format!("there is no ad-hoc job `{job}`"));
    let (roost, api) = (PluginName::host(), api_device());
    match nearest_job(scheduler, (&roost, &api), job) {
        Some(nearest) => problem.hint(did_you_mean(nearest)),
        None => problem
            .hint("`roost jobs roost` lists ad-hoc jobs; the job of a plugin is named like `coop-door/north/open`"),
    }
}

fn nearest_job(scheduler: &Scheduler, (plugin, device): (&PluginName, &DeviceName), job: &JobId) -> Option<String> {
    let (jobs, _) = scheduler.jobs_from((Some(plugin), Some(device)), 0, limits::SUGGESTION_CANDIDATES);
    nearest(job.as_str(), jobs.iter().map(|job| job.job.body.id())).map(str::to_owned)
}
