//! `roost backup` and `roost restore`: what Roost remembers, in one file.

use std::{io::Write, path::PathBuf};

use anyhow::Result;

use super::output;
use crate::{
    clock,
    config::{self, DataFlags},
    report::{Report, counted},
    store::{self, Restored},
};

/// Copy what Roost remembers into a file, while it runs or not
///
/// The copy is of one moment, and whole. The plugins and their settings are files of your own, and not in it.
#[derive(clap::Args)]
pub(super) struct Backup {
    /// The file to write; it must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: DataFlags,
}

/// Go on with a copy that `roost backup` has made
///
/// No message is sent for anything before now, whether it was sent since the copy was made or not; but what runs of the copy
/// owe is sent: what was opened gets closed, perhaps once more. Roost must not run meanwhile. What it remembers now is kept
/// beside it as `roost.db.before-restore`, or with a number behind that; it can be restored in turn, and is yours to delete.
#[derive(clap::Args)]
pub(super) struct Restore {
    /// The copy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: DataFlags,
}

/// Runs that are named: more are counted.
const NAMED: usize = 20;

pub(super) fn backup(args: Backup) -> Result<()> {
    let config = config::load(&args.data.into())?;
    store::back_up(&config.data, &args.file).map_err(|error| Report::from(&error))?;
    Ok(writeln!(output::stderr(), "copied to `{}`", args.file.display())?)
}

pub(super) fn restore(args: Restore) -> Result<()> {
    let config = config::load(&args.data.into())?;
    let restored = store::restore(&config.data, &args.file, clock::now()).map_err(|error| Report::from(&error))?;
    Ok(output::stderr().write_all(told(&restored).as_bytes())?)
}

fn told(Restored { jobs, owed, ended, forgotten, kept }: &Restored) -> String {
    let mut lines = vec![format!("restored {}", counted(*jobs, "job"))];
    if *ended > 0 {
        lines.push(format!("{} ended that had not when the copy was made", counted(*ended, "run")));
    }
    let several = [
        (owed, "these owe messages, which are sent when Roost runs:"),
        (forgotten, "these owed messages and are not in the copy: see to their devices yourself"),
    ];
    for (runs, what) in several.into_iter().filter(|(runs, _)| !runs.is_empty()) {
        lines.push(what.into());
        lines.extend(runs.iter().take(NAMED).map(|run| format!("  {run}")));
        if runs.len() > NAMED {
            lines.push(format!("  and {} more", runs.len() - NAMED));
        }
    }
    lines.extend(kept.as_ref().map(|kept| format!("what was there is kept as `{}`", kept.display())));
    lines.join("\n") + "\n"
}
