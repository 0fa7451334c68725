//! `roost compile`: the child in which plugins are compiled. Not for people.

use std::process::ExitCode;

use crate::plugins::compile;

/// Compile a component from standard input to standard output, which is a file.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Bytes of address space that it may take.
    memory: u64,
}

#[allow(clippy::print_stderr, reason = "the parent reads it")]
pub(super) fn main(args: &Args) -> ExitCode {
    match compile::child(args.memory) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => {
            eprintln!("{error}");
            ExitCode::from(code)
        }
    }
}
