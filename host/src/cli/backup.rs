//! `roost backup`, `roost restore` and `roost move`: copies of the database.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{output, progress::show_while};
use crate::{
    clock,
    config::{self, DataFlags},
    plugins::plugin_copies,
    report::{Report, counted},
    store::{self, Copied, DatabaseUrl, Restored},
};

/// Back up the database to a file, whether or not the host is running
///
/// The backup is a consistent snapshot. It does not contain the plugins and their settings, which are files of your
/// own. Hosts that share a database are backed up to such a file as well.
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
/// in turn, or delete it. The database of several hosts must be empty; the plugins in the folder are put into it.
#[derive(clap::Args)]
pub(super) struct Restore {
    /// The backup to restore
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: DataFlags,
}

/// Move a stopped host into a database that several hosts share
///
/// Its jobs, its history, the runs that are under way, its pauses, and its plugins with their settings are copied to an
/// empty database. Hosts with `[store] url` in their settings then go on where it has stopped. Nothing is changed in its
/// data folder, but no host may run with that folder alone any more, because it would send everything a second time.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost move
  roost move --to postgres://roost@db.example/roost")]
pub(super) struct Move {
    /// The address of the database; by default, `url` of `[store]` in the settings
    #[arg(long, value_name = "URL")]
    to: Option<DatabaseUrl>,
    #[command(flatten)]
    data: DataFlags,
}

/// The cell that a store of one machine becomes.
const CELL: i64 = 0;
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
    let (data, file, now) = (&config.data, &args.file, clock::now());
    // What hosts copied from the database that was lost.
    let copied = data.join("plugins");
    let plugins =
        if fs::read_dir(&copied).is_ok_and(|mut files| files.next().is_some()) { &copied } else { &config.plugins };
    let restored = match &config.store {
        None => show_while("checking and restoring the copy", || store::restore(data, file, now)),
        Some(url) => {
            let plugins = plugin_copies(plugins, data)?;
            let restore = || store::restore_to((url.clone(), CELL), data, file, plugins, now);
            show_while("checking and restoring the copy", restore)
        }
    };
    let restored = restored.map_err(|error| Report::from(&error))?;
    Ok(output::stderr().write_all(summary(&restored).as_bytes())?)
}

pub(super) fn move_to(args: Move) -> Result<()> {
    let config = config::load(&args.data.into())?;
    let Some(url) = args.to.or(config.store) else {
        let report = Report::new("no database is named");
        return Err(report
            .hint("name it with `--to postgres://USER:PASSWORD@HOST/DATABASE`, or in `[store]` of the settings")
            .into());
    };
    let plugins = plugin_copies(&config.plugins, &config.data)?;
    let (cell, name) = ((url.clone(), CELL), url);
    let copy = || store::move_to(cell, &config.data, plugins, clock::now());
    let copied = show_while("copying the database", copy).map_err(|error| Report::from(&error))?;
    Ok(output::stderr().write_all(moved(&copied, &name, &config.data).as_bytes())?)
}

fn moved(Copied { jobs, runs, plugins }: &Copied, url: &DatabaseUrl, data: &Path) -> String {
    format!(
        "copied {}, {} and {} to `{url}`\n\
         start hosts with `[store] url` now, and none with the database in `{}` alone: it would send everything again\n",
        counted(*plugins, "plugin"),
        counted(*jobs, "job"),
        counted(*runs, "run"),
        data.display()
    )
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
