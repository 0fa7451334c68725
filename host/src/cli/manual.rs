//! `roost manual`: manual pages.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::CommandFactory;

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
    fs::create_dir_all(folder).with_context(|| format!("the folder `{}` cannot be created", folder.display()))?;
    clap_mangen::generate_to(C::command(), folder)
        .with_context(|| format!("the manual pages cannot be written to `{}`", folder.display()))
}
