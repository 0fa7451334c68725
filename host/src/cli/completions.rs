//! `roost completions`: what a shell completes.

use std::io;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

/// Write what a shell needs to complete commands and options
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost completions bash > ~/.local/share/bash-completion/completions/roost")]
pub(super) struct Args {
    /// For which shell
    shell: Shell,
}

pub(super) fn main<C: CommandFactory>(args: &Args) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "roost", &mut text);
    Ok(io::Write::write_all(&mut super::output::unescaped(), &text)?)
}
