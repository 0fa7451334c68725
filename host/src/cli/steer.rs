//! `roost run-now`, `skip`, `pause` and `resume`: what a person wants of jobs that are planned.

use std::io::{self, Write};

use anyhow::Result;
use hyper::Method;
use serde_json::Value;

use super::{
    client::Client,
    part::{JobPath, PartName},
};
use crate::{config::DataFlags, http::runs::Which};

/// Run jobs now, besides their triggers
///
/// The names of the runs are written to standard output. A job that is paused runs as well.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost run-now sprinkler/lawn/water")]
pub(super) struct RunNow {
    #[command(flatten)]
    jobs: Jobs,
}

/// Leave out the next run of jobs
///
/// The names of the runs that will be left out are written to standard output.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost skip sprinkler/lawn/water
  roost skip sprinkler/lawn/water --undo")]
pub(super) struct Skip {
    /// Do not leave it out, after all
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    jobs: Jobs,
}

#[derive(clap::Args)]
struct Jobs {
    /// As `roost jobs` shows them
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
  roost pause sprinkler/lawn
  roost pause sprinkler/lawn/water")]
pub(super) struct Pause {
    #[command(flatten)]
    parts: Parts,
}

/// Start runs again of what was paused
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost resume sprinkler/lawn")]
pub(super) struct Resume {
    #[command(flatten)]
    parts: Parts,
}

#[derive(clap::Args)]
struct Parts {
    /// What
    #[arg(required = true, value_name = "PLUGIN[/DEVICE[/JOB]]")]
    parts: Vec<PartName>,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn run_now(args: RunNow) -> Result<()> {
    let Jobs { jobs, data } = args.jobs;
    each(&Client::new(data)?, &jobs, |client, path| client.post(&format!("{path}/run"), &Value::Null))
}

pub(super) fn skip(args: Skip) -> Result<()> {
    let Jobs { jobs, data } = args.jobs;
    each(&Client::new(data)?, &jobs, |client, path| {
        let path = format!("{path}/skip");
        if args.undo { client.delete(&path) } else { client.post(&path, &Value::Null) }
    })
}

/// One after the other, until one cannot be done.
fn each(
    client: &Client,
    jobs: &[JobPath],
    ask: impl Fn(&Client, &str) -> Result<Which, crate::report::Report>,
) -> Result<()> {
    for job in jobs {
        writeln!(io::stdout(), "{}", ask(client, &job.path())?.run)?;
    }
    Ok(())
}

pub(super) fn pause(args: Pause) -> Result<()> {
    tell(args.parts, "pause")
}

pub(super) fn resume(args: Resume) -> Result<()> {
    tell(args.parts, "resume")
}

fn tell(args: Parts, what: &str) -> Result<()> {
    let client = Client::new(args.data)?;
    for part in &args.parts {
        client.order::<()>(Method::POST, &format!("{}/{what}", part.path()))?;
    }
    Ok(())
}
