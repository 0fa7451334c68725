//! `roost replay` and `roost abandon`: decisions about single runs.

use std::io::Write;

use anyhow::Result;
use roost_scheduler::names::RunId;

use super::{client::Client, output};
use crate::{config::DataFlags, http::runs::RunName};

/// Replay runs that failed
///
/// Each is repeated at once, with the steps that it had then, as a new run. Prints the names of the new runs. The host
/// of the data folder, or the one at `ROOST_URL`, must be running.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost runs --failed
  roost replay coop-door/north/open/2027-03-01T06:30:00Z")]
pub(super) struct Replay {
    #[command(flatten)]
    runs: Runs,
}

/// Abandon runs and their owed messages
///
/// Messages that a run has not sent yet are never sent: a valve that it opened stays open, so check the device
/// yourself. No other command ends a run that has begun and owes messages. The host of the data folder, or the one at
/// `ROOST_URL`, must be running.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost runs --state running
  roost abandon sprinkler/garden/water/2027-04-01T04:30:00Z")]
pub(super) struct Abandon {
    #[command(flatten)]
    runs: Runs,
}

#[derive(clap::Args)]
struct Runs {
    /// The runs, named as in `roost runs`
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<RunId>,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn replay(args: Replay) -> Result<()> {
    post_each(args.runs, "/api/v1/runs/replay")
}

pub(super) fn abandon(args: Abandon) -> Result<()> {
    post_each(args.runs, "/api/v1/runs/abandon")
}

/// Posts the runs one after another, until one is refused.
fn post_each(args: Runs, path: &str) -> Result<()> {
    let client = Client::new(args.data)?;
    for run in args.runs {
        let answer: RunName = client.post(path, &RunName { run: run.to_string() })?;
        writeln!(output::stdout(), "{}", answer.run)?;
    }
    Ok(())
}
