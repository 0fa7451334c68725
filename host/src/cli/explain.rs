//! `roost explain`: why a run did or did not happen.

use std::io::Write;

use anyhow::Result;

use super::{client::Client, output, target::JobPath};
use crate::{
    config::DataFlags,
    http::Explanation,
    report::{in_one_line, printable},
};

/// Say why a run did or did not happen
///
/// About the run that is nearest to what was asked for, or the job's last one: whether its trigger made it or a person did.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost explain coop-door/north/open
  roost explain coop-door/north/open --at 2027-03-01T06:30")]
pub(super) struct Args {
    /// As `roost jobs` shows it
    #[arg(value_name = "JOB")]
    job: JobPath,
    /// When it should have happened, more or less: `2027-03-01T06:30:00Z`, or by the device's clock `2027-03-01T06:30`
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// Write it as JSON, with every value
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
    let told: Explanation = client.ask_about("/api/v1/explain", &query)?;
    let mut out = output::stdout();
    if args.json {
        serde_json::to_writer(&mut out, &told)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{}", in_one_line(&told.sentence))?;
    for note in &told.notes {
        writeln!(out, "note: {}", printable(note).replace('\n', "\n  "))?;
    }
    Ok(())
}
