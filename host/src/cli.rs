//! The command line: its commands and their exit codes.

mod adopt;
mod backup;
mod calendars;
mod check;
mod client;
mod compile;
mod completions;
mod control;
mod explain;
mod format;
mod hosts;
mod jobs;
mod limits;
mod login;
mod logs;
mod manual;
mod new;
mod next;
mod output;
mod plugins;
mod progress;
mod replay;
mod rollback;
mod run;
mod runs;
mod schedule;
mod simulate;
mod status;
mod table;
mod target;
mod timeline;
mod trigger;
mod upload;
mod wit;

use std::{ffi::OsString, io, process::ExitCode};

use crate::report::Report;
use clap::{Parser, Subcommand};

/// A host for device plugins: publishes MQTT messages on time, and survives crashes
#[derive(Parser)]
#[command(name = "roost", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    New(new::Args),
    Check(check::Args),
    Next(next::Args),
    Simulate(simulate::Args),
    Status(status::Args),
    Hosts(hosts::Args),
    Plugins(plugins::Args),
    Upload(upload::Args),
    Adopt(adopt::Args),
    Remove(rollback::Remove),
    Rollback(rollback::Rollback),
    Replan(rollback::Replan),
    Jobs(jobs::Args),
    Explain(explain::Args),
    RunNow(control::RunNow),
    Skip(control::Skip),
    Pause(control::Pause),
    Resume(control::Resume),
    Schedule(schedule::Schedule),
    Cancel(schedule::Cancel),
    Runs(runs::Args),
    Timeline(timeline::Args),
    Logs(logs::Args),
    Login(login::Args),
    Replay(replay::Replay),
    Abandon(replay::Abandon),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Move(backup::Move),
    Wit(wit::Args),
    Completions(completions::Args),
    Manual(manual::Args),
    #[command(hide = true)]
    Compile(compile::Args),
}

/// Parses the command line and runs the command. Exit codes: 0 on success, 1 if the command failed, 2 (from clap) if
/// the command line is not valid.
#[allow(clippy::print_stderr, reason = "errors go to standard error")]
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse_from(std::env::args_os().map(escape_offset));
    let result = match cli.command {
        Command::Run(args) => match run::main(&args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::New(args) => new::main(args),
        Command::Check(args) => check::main(args),
        Command::Next(args) => next::main(args),
        Command::Simulate(args) => simulate::main(args),
        Command::Status(args) => status::main(args),
        Command::Hosts(args) => hosts::main(args),
        Command::Plugins(args) => plugins::main(args),
        Command::Upload(args) => upload::main(args),
        Command::Adopt(args) => adopt::main(args),
        Command::Remove(args) => rollback::remove(args),
        Command::Rollback(args) => rollback::rollback(args),
        Command::Replan(args) => rollback::replan(args),
        Command::Jobs(args) => jobs::main(args),
        Command::Explain(args) => explain::main(args),
        Command::RunNow(args) => control::run_now(args),
        Command::Skip(args) => control::skip(args),
        Command::Pause(args) => control::pause(args),
        Command::Resume(args) => control::resume(args),
        Command::Schedule(args) => schedule::schedule(args),
        Command::Cancel(args) => schedule::cancel(args),
        Command::Runs(args) => runs::main(args),
        Command::Timeline(args) => timeline::main(args),
        Command::Logs(args) => logs::main(args),
        Command::Login(args) => login::main(args),
        Command::Replay(args) => replay::replay(args),
        Command::Abandon(args) => replay::abandon(args),
        Command::Backup(args) => backup::backup(args),
        Command::Restore(args) => backup::restore(args),
        Command::Move(args) => backup::move_to(args),
        Command::Wit(args) => wit::main(&args),
        Command::Completions(args) => completions::main::<Cli>(&args),
        Command::Manual(args) => manual::main::<Cli>(&args),
        Command::Compile(args) => return compile::main(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has closed the pipe, as in `roost next … | head`.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let report = error.downcast::<Report>().unwrap_or_else(|error| {
                error.chain().skip(1).fold(Report::new(error.to_string()), |report, cause| report.cause(cause))
            });
            eprintln!("error: {report}");
            ExitCode::FAILURE
        }
    }
}

/// Replaces the hyphen of an offset by a minus sign (U+2212), so that clap does not take the last word of
/// `roost next sunset -20m` for options.
fn escape_offset(word: OsString) -> OsString {
    match word.to_str().and_then(|word| word.strip_prefix('-')) {
        // Plain numbers are left alone: `--latitude -33.8`.
        Some(offset) if offset.starts_with(|c: char| c.is_ascii_digit()) && offset.parse::<f64>().is_err() => {
            format!("−{offset}").into()
        }
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_negative_offset_is_not_an_option_and_a_negative_latitude_is_unchanged() {
        let words = ["-20m", "-20x", "-33.8", "--json", "-v", "-"].map(|word| escape_offset(word.into()));
        assert_eq!(words, ["−20m", "−20x", "-33.8", "--json", "-v", "-"].map(OsString::from));
    }
}
