//! `roost compile`: the child in which plugins are compiled. Not for people.

use std::{path::PathBuf, process::ExitCode};

use crate::plugins::compile;

/// Compile a component from standard input into a file.
#[derive(clap::Args)]
pub(super) struct Args {
    into: PathBuf,
}

#[allow(clippy::print_stderr, reason = "the parent reads it")]
pub(super) fn main(args: &Args) -> ExitCode {
    match compile::child(&args.into) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => {
            eprintln!("{error}");
            ExitCode::from(code)
        }
    }
}
