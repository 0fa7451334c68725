//! `roost backup` and `roost restore`: copies of the database.

use std::{io::Write, path::PathBuf};

use anyhow::Result;

use super::{output, progress::show_while};
use crate::{
    clock,
    config::{self, DataFlags},
    report::{Report, counted},
    store::{self, Restored, StoreError},
};

/// Back up the database to a file, whether or not the host is running
///
/// The backup is a consistent snapshot. It does not contain the plugins and their settings, which are files of your
/// own.
#[derive(clap::Args)]
pub(super) struct Backup {
    /// The file to write; it must not exist yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: DataFlags,
}

/// Restore the database from a backup
///
/// Runs that were due before now are not caught up. Only owed messages are sent: if a run of the backup has opened
/// something, it is closed, possibly for the second time. The host must not be running. The current database is kept
/// beside the restored one as `roost.db.before-restore`, with a number appended if that file exists; you can restore it
/// in turn, or delete it.
#[derive(clap::Args)]
pub(super) struct Restore {
    /// The backup to restore
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: DataFlags,
}

/// Runs that are listed by name; the rest are only counted.
const NAMED: usize = 20;

pub(super) fn backup(args: Backup) -> Result<()> {
    let config = config::load(&args.data.into())?;
    let copied = show_while("copying the database", || config.reader().back_up(&args.file));
    copied.map_err(|error| Report::from(&error))?;
    Ok(writeln!(output::stderr(), "copied to `{}`", args.file.display())?)
}

pub(super) fn restore(args: Restore) -> Result<()> {
    let config = config::load(&args.data.into())?;
    if let Some(url) = &config.store {
        return Err(Report::from(&StoreError::NoFile(url.to_string())).into());
    }
    let restore = || store::restore(&config.data, &args.file, clock::now());
    let restored = show_while("checking and restoring the copy", restore).map_err(|error| Report::from(&error))?;
    Ok(output::stderr().write_all(summary(&restored).as_bytes())?)
}

fn summary(Restored { jobs, owed, ended, forgotten, kept }: &Restored) -> String {
    let mut lines = vec![format!("restored {}", counted(*jobs, "job"))];
    if *ended > 0 {
        lines.push(format!("ended {} that were under way when the backup was made", counted(*ended, "run")));
    }
    let lists = [
        (owed, "these runs owe messages, which are sent when the host starts:"),
        (forgotten, "these runs owed messages and are not in the backup; check their devices:"),
    ];
    for (runs, heading) in lists.into_iter().filter(|(runs, _)| !runs.is_empty()) {
        lines.push(heading.into());
        lines.extend(runs.iter().take(NAMED).map(|run| format!("  {run}")));
        if runs.len() > NAMED {
            lines.push(format!("  and {} more", runs.len() - NAMED));
        }
    }
    lines.extend(kept.as_ref().map(|kept| format!("the previous database is kept as `{}`", kept.display())));
    lines.join("\n") + "\n"
}
