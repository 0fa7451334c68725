//! `roost completions`: scripts for the completion of shells.

use std::io;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost completions bash > ~/.local/share/bash-completion/completions/roost")]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn main<C: CommandFactory>(args: &Args) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "roost", &mut text);
    Ok(io::Write::write_all(&mut super::output::unescaped(), &text)?)
}
