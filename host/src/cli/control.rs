//! `roost run-now`, `skip`, `pause` and `resume`: what a person wants of jobs that are planned.

use std::io::Write;

use anyhow::Result;
use hyper::Method;
use serde_json::Value;

use super::{
    client::Client,
    output,
    target::{JobPath, PartName},
};
use crate::{
    config::DataFlags,
    http::{JobRecord, PluginRecord, runs::Which},
};

/// Run jobs now, besides their triggers
///
/// The names of the runs are written to standard output. A job that is paused runs as well.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost run-now sprinkler/garden/water")]
pub(super) struct RunNow {
    #[command(flatten)]
    jobs: Jobs,
}

/// Leave out the next run of jobs
///
/// The names of the runs that will be left out are written to standard output.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost skip sprinkler/garden/water
  roost skip sprinkler/garden/water --undo")]
pub(super) struct Skip {
    /// Do not leave it out, after all
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    jobs: Jobs,
}

#[derive(clap::Args)]
struct Jobs {
    /// As `roost jobs` shows them; of a job of your own, its `NAME` alone will do
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobPath>,
    #[command(flatten)]
    data: DataFlags,
}

/// Start no runs of a plugin, a device or a job, until it is resumed
///
/// What falls due meanwhile is recorded as skipped, and not made up for. What has started goes on, and a valve that was opened
/// is closed.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost pause sprinkler
  roost pause sprinkler/garden
  roost pause sprinkler/garden/water")]
pub(super) struct Pause {
    #[command(flatten)]
    parts: Parts,
}

/// Start runs again of what was paused
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost resume sprinkler/garden")]
pub(super) struct Resume {
    #[command(flatten)]
    parts: Parts,
}

#[derive(clap::Args)]
struct Parts {
    /// What; a job of your own is `roost/api/NAME`
    #[arg(required = true, value_name = "PLUGIN[/DEVICE[/JOB]]")]
    parts: Vec<PartName>,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn run_now(args: RunNow) -> Result<()> {
    let Jobs { jobs, data } = args.jobs;
    let client = Client::new(data)?;
    for job in &jobs {
        let Which { run } = client.post(&format!("{}/run", job.path()), &Value::Null)?;
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
            writeln!(output::stderr(), "no run of `{}` was to be left out", job.as_str())?;
            continue;
        }
        let Which { run } = if args.undo { client.delete(&path)? } else { client.post(&path, &Value::Null)? };
        writeln!(output::stdout(), "{run}")?;
        writeln!(
            output::stderr(),
            "{}",
            if args.undo { "it is not left out any more" } else { "it will be left out" }
        )?;
    }
    Ok(())
}

pub(super) fn pause(args: Pause) -> Result<()> {
    let Parts { parts, data } = args.parts;
    let client = Client::new(data)?;
    for part in &parts {
        client.order::<()>(Method::POST, &format!("{}/pause", part.path()))?;
        writeln!(output::stderr(), "{}", left_out(part))?;
    }
    Ok(())
}

/// What it means that something is paused.
fn left_out(part: &PartName) -> String {
    let what = if part.job.is_some() { "it is" } else { "its jobs are" };
    format!("`{part}` is paused: {what} left out until `roost resume {part}`")
}

pub(super) fn resume(args: Resume) -> Result<()> {
    let Parts { parts, data } = args.parts;
    let client = Client::new(data)?;
    for part in &parts {
        client.order::<()>(Method::POST, &format!("{}/resume", part.path()))?;
        writeln!(output::stderr(), "`{part}` is not paused any more")?;
        let still = match part {
            PartName { job: Some(_), .. } => paused(&client.get(&part.path())?),
            PartName { plugin, device: Some(_), .. } => {
                let plugin: PluginRecord = client.get(&format!("/api/v1/plugins/{plugin}"))?;
                plugin.paused.then(|| plugin.plugin.parse().ok()).flatten().map(|plugin| left_out(&plugin))
            }
            _ => None,
        };
        still.map_or(Ok(()), |still| writeln!(output::stderr(), "but {still}"))?;
    }
    Ok(())
}

/// Why a job is left out, where it is paused, or what it belongs to.
pub(super) fn paused(job: &JobRecord) -> Option<String> {
    let JobRecord { plugin, device, job, paused, .. } = job;
    let part = match paused.as_deref()? {
        "plugin" => plugin.clone(),
        "device" => format!("{plugin}/{device}"),
        _ => format!("{plugin}/{device}/{job}"),
    };
    Some(left_out(&part.parse().ok()?))
}
