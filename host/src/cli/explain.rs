//! `roost explain`: the outcome of a run and its reason.

use std::io::Write;

use anyhow::Result;

use super::{client::Client, output, target::JobPath};
use crate::{
    config::DataFlags,
    http::{Explanation, Remedy},
    report::{in_one_line, printable},
};

/// Explain why a run did or did not happen
///
/// Explains the job's run under way or, if there is none, its last run or, if none is known, its next one; with `--at`,
/// the run nearest to that time, whether it was started by its trigger or by hand.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost explain coop-door/north/open
  roost explain coop-door/north/open --at 2027-03-01T06:30")]
pub(super) struct Args {
    /// The job, named as in `roost jobs`
    #[arg(value_name = "JOB")]
    job: JobPath,
    /// The approximate time at which the run should have happened: `2027-03-01T06:30:00Z`, or `2027-03-01T06:30` in the
    /// device's time zone
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Print JSON, with all values that the explanation is based on
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let client = Client::new(args.data)?;
    let parts = args.job.as_str().split('/').map(str::to_owned);
    let mut query: Vec<(&str, String)> = ["plugin", "device", "job"].into_iter().zip(parts).collect();
    query.extend(args.at.map(|at| ("at", at)));
    let explanation: Explanation = client.query("/api/v1/explain", &query)?;
    let mut out = output::stdout();
    if args.json {
        serde_json::to_writer(&mut out, &explanation)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{}", in_one_line(&explanation.sentence))?;
    let remedies = |note: Option<usize>| explanation.remedies.iter().filter(move |remedy| remedy.note == note);
    for Remedy { command, .. } in remedies(None) {
        writeln!(out, "remedy: `{}`", in_one_line(command))?;
    }
    for (index, note) in explanation.notes.iter().enumerate() {
        writeln!(out, "note: {}", printable(note).replace('\n', "\n  "))?;
        for Remedy { command, .. } in remedies(Some(index)) {
            writeln!(out, "remedy: `{}`", in_one_line(command))?;
        }
    }
    Ok(())
}
