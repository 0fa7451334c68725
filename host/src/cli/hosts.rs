//! `roost hosts`: the hosts that share a database.

use std::io::{self, Write};

use anyhow::Result;

use super::{
    client::Client,
    output,
    table::{Times, table},
};
use crate::{
    clock,
    config::DataFlags,
    http::{HostRecord, Page, Role},
    terminal,
};

/// List the hosts that share a database
///
/// Queries the host of the data folder, or the one at `ROOST_URL`, with the token in `ROOST_TOKEN` if it requires one. Each
/// of them answers, also while no one works.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost hosts")]
pub(super) struct Args {
    /// Print an array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let Page::<HostRecord> { items, .. } = Client::new(args.data)?.get("/api/v1/hosts")?;
    let mut out = output::stdout();
    if args.json {
        serde_json::to_writer(&mut out, &items).map_err(io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    Ok(out.write_all(describe(&items, terminal::stdout_columns()).as_bytes())?)
}

fn describe(hosts: &[HostRecord], width: Option<usize>) -> String {
    let times = Times::new(hosts.iter().map(|host| host.seen.as_str()), clock::now());
    let seen = times.heading("SEEN");
    let rows: Vec<_> = hosts.iter().map(|host| row(host, &times)).collect();
    table(["HOST", "ROLE", "EPOCH", &seen, "CLOCK", "VERSION", "ADDRESS"], &rows, width)
}

fn row(host: &HostRecord, times: &Times) -> [String; 7] {
    let HostRecord { name, address, version, role, cells, seen, clock_ahead_ms, answers } = host;
    let role = match role {
        Role::Owner => "owner",
        Role::Standby => "standby",
        Role::Away => "away",
    };
    let epochs: Vec<_> = cells.iter().map(|cell| cell.epoch.to_string()).collect();
    [
        format!("{name}{}", if *answers { " (this one)" } else { "" }),
        role.into(),
        if epochs.is_empty() { "-".into() } else { epochs.join(", ") },
        times.format(seen),
        clock_ahead_ms.map_or_else(|| "-".into(), |ms| format!("{ms:+} ms")),
        version.clone(),
        address.clone().unwrap_or_else(|| "-".into()),
    ]
}
