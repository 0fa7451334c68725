//! `roost replay` and `roost abandon`: what a person decides about single runs.

use std::io::Write;

use anyhow::Result;
use roost_scheduler::names::RunId;

use super::{client::Client, output};
use crate::{config::DataFlags, http::runs::Which};

/// Do runs again that have failed
///
/// Each is done once more, at once and by what it was to do then, as a run of its own, whose name is written to standard
/// output. The Roost of that data folder has to run, or the one
/// that `ROOST_URL` names.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost runs --failed
  roost replay coop-door/north/open/2027-03-01T06:30:00Z")]
pub(super) struct Replay {
    #[command(flatten)]
    runs: Runs,
}

/// End runs, whatever they owe
///
/// What a run has not sent yet is never sent: a valve that it opened stays open. Nothing else ends a run that has begun and
/// owes messages; see to the device yourself. The Roost of that data folder has to run, or the one
/// that `ROOST_URL` names.
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
    /// As `roost runs` shows them
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<RunId>,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn replay(args: Replay) -> Result<()> {
    ask(args.runs, "/api/v1/runs/replay")
}

pub(super) fn abandon(args: Abandon) -> Result<()> {
    ask(args.runs, "/api/v1/runs/abandon")
}

/// One after the other, until one cannot be done.
fn ask(args: Runs, path: &str) -> Result<()> {
    let client = Client::new(args.data)?;
    for run in args.runs {
        let done: Which = client.post(path, &Which { run: run.to_string() })?;
        writeln!(output::stdout(), "{}", done.run)?;
    }
    Ok(())
}
