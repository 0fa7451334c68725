//! `roost run-now`, `skip`, `pause` and `resume`: the operator's overrides of jobs.

use std::io::Write;

use anyhow::Result;
use hyper::Method;
use serde_json::Value;

use super::{
    client::Client,
    output,
    target::{JobPath, Target},
};
use crate::{
    config::DataFlags,
    http::{JobRecord, PluginRecord, runs::RunName},
};

/// Run jobs now, in addition to their triggers
///
/// Prints the names of the runs. A paused job runs as well.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost run-now sprinkler/garden/water")]
pub(super) struct RunNow {
    #[command(flatten)]
    jobs: Jobs,
}

/// Skip the next run of jobs
///
/// Prints the names of the runs that will be skipped.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost skip sprinkler/garden/water
  roost skip sprinkler/garden/water --undo")]
pub(super) struct Skip {
    /// Undo the skip
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    jobs: Jobs,
}

#[derive(clap::Args)]
struct Jobs {
    /// The jobs, named as in `roost jobs`; the `NAME` alone suffices for a job made with `roost schedule`
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobPath>,
    #[command(flatten)]
    data: DataFlags,
}

/// Pause plugins, devices or jobs until they are resumed
///
/// Runs that fall due during a pause are recorded as skipped and are not caught up. Runs that have started continue, so
/// that a valve that was opened is closed.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost pause sprinkler
  roost pause sprinkler/garden
  roost pause sprinkler/garden/water")]
pub(super) struct Pause {
    #[command(flatten)]
    targets: Targets,
}

/// Resume plugins, devices or jobs that were paused
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost resume sprinkler/garden")]
pub(super) struct Resume {
    #[command(flatten)]
    targets: Targets,
}

#[derive(clap::Args)]
struct Targets {
    /// The plugins, devices or jobs; a job made with `roost schedule --topic` is `roost/api/NAME`
    #[arg(required = true, value_name = "PLUGIN[/DEVICE[/JOB]]")]
    targets: Vec<Target>,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn run_now(args: RunNow) -> Result<()> {
    let Jobs { jobs, data } = args.jobs;
    let client = Client::new(data)?;
    for job in &jobs {
        let RunName { run } = client.post(&format!("{}/run", job.path()), &Value::Null)?;
        writeln!(output::stdout(), "{run}")?;
    }
    Ok(())
}

pub(super) fn skip(args: Skip) -> Result<()> {
    let Jobs { jobs, data } = args.jobs;
    let client = Client::new(data)?;
    for job in &jobs {
        let path = format!("{}/skip", job.path());
        if args.undo && client.get::<JobRecord>(&job.path())?.skip.is_none() {
            writeln!(output::stderr(), "no run of `{}` was to be skipped", job.as_str())?;
            continue;
        }
        let RunName { run } = if args.undo { client.delete(&path)? } else { client.post(&path, &Value::Null)? };
        writeln!(output::stdout(), "{run}")?;
        writeln!(output::stderr(), "{}", if args.undo { "it will not be skipped" } else { "it will be skipped" })?;
    }
    Ok(())
}

pub(super) fn pause(args: Pause) -> Result<()> {
    let Targets { targets, data } = args.targets;
    let client = Client::new(data)?;
    for target in &targets {
        client.send::<()>(Method::POST, &format!("{}/pause", target.path()))?;
        writeln!(output::stderr(), "{}", paused_note(target))?;
    }
    Ok(())
}

/// Returns the sentence about a pause and how to end it.
fn paused_note(target: &Target) -> String {
    let runs = if target.job.is_some() { "its runs" } else { "the runs of its jobs" };
    format!("`{target}` is paused: {runs} are skipped until `roost resume {target}`")
}

pub(super) fn resume(args: Resume) -> Result<()> {
    let Targets { targets, data } = args.targets;
    let client = Client::new(data)?;
    for target in &targets {
        client.send::<()>(Method::POST, &format!("{}/resume", target.path()))?;
        writeln!(output::stderr(), "`{target}` is resumed")?;
        let still = match target {
            Target { job: Some(_), .. } => paused(&client.get(&target.path())?),
            Target { plugin, device: Some(_), .. } => {
                let plugin: PluginRecord = client.get(&format!("/api/v1/plugins/{plugin}"))?;
                plugin.paused.then(|| plugin.plugin.parse().ok()).flatten().map(|plugin| paused_note(&plugin))
            }
            _ => None,
        };
        still.map_or(Ok(()), |still| writeln!(output::stderr(), "note: {still}"))?;
    }
    Ok(())
}

/// Returns the sentence about the pause of a job, of its device or of its plugin, if one of them is paused.
pub(super) fn paused(job: &JobRecord) -> Option<String> {
    let JobRecord { plugin, device, job, paused, .. } = job;
    let target = match paused.as_deref()? {
        "plugin" => plugin.clone(),
        "device" => format!("{plugin}/{device}"),
        _ => format!("{plugin}/{device}/{job}"),
    };
    Some(paused_note(&target.parse().ok()?))
}
