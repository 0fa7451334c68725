//! `roost manual`: manual pages.

use std::{fs, path::PathBuf};

use anyhow::Result;
use clap::CommandFactory;

use crate::report::Report;

/// Write a manual page for each command to a folder
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost manual /usr/local/share/man/man1")]
pub(super) struct Args {
    /// The folder; it is created if it does not exist
    folder: PathBuf,
}

pub(super) fn main<C: CommandFactory>(args: &Args) -> Result<()> {
    let folder = &args.folder;
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(C::command(), folder));
    Ok(written.map_err(|error| {
        let report = Report::new(format!("the manual pages cannot be written to `{}`", folder.display())).cause(error);
        report.hint("name a folder that you may write to")
    })?)
}
