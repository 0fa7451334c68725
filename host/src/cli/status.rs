//! `roost status`: how a host is that runs.

use std::io::{self, Write};

use anyhow::Result;

use super::{client::Client, table::local};
use crate::{config::DataFlags, http::Status, when::distance};

/// Show how a Roost is that runs
///
/// It is the one of the data folder, or where `ROOST_URL` says, with `ROOST_TOKEN` if it wants one.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Write an object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let status: Status = Client::new(args.data)?.get("/api/v1/status")?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &status).map_err(io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    Ok(out.write_all(told(&status).as_bytes())?)
}

fn told(status: &Status) -> String {
    let Status { version, started, uptime_ms, clock, link, store, counts, stopping } = status;
    let up = distance(i64::try_from(*uptime_ms).unwrap_or(i64::MAX));
    let host = if *stopping { "is stopping" } else { "runs" };
    let broker = match &link.since {
        Some(since) => format!("connected since {}", local(since)),
        None => "not connected".into(),
    };
    let store = if store.writes { "is written" } else { "cannot be written: the host's log says why" };
    format!(
        "roost {version}  {host} for {up}, since {}\nclock     {}, {}\nbroker    {broker}, {} messages under way\n\
         database  {store}\nplugins   {}, with {} devices and {} jobs\nruns      {} under way\n",
        local(started),
        local(&clock.now),
        clock.zone,
        counts.attempts,
        counts.plugins,
        counts.devices,
        counts.jobs,
        counts.runs
    )
}
