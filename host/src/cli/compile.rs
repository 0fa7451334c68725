//! `roost compile`: the child process that compiles plugins. It is not a command for users.

use std::process::ExitCode;

use crate::plugins::compile;

/// Compile a component from standard input to standard output, which is a file
#[derive(clap::Args)]
pub(super) struct Args {
    /// Limit of the address space, in bytes
    memory: u64,
    /// Limit of the processor time, in seconds
    cpu_s: u32,
}

#[allow(clippy::print_stderr, reason = "the parent reads it")]
pub(super) fn main(args: &Args) -> ExitCode {
    match compile::child(args.memory, args.cpu_s) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => {
            eprintln!("{error}");
            ExitCode::from(code)
        }
    }
}
