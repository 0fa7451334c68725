//! What the terminals at standard output and standard error can show.
#![allow(clippy::disallowed_methods, reason = "the streams are asked, and nothing is written to them")]

use std::{
    io::{self, IsTerminal as _},
    os::fd::AsFd,
};

use anstream::{AutoStream, ColorChoice};
use rustix::fs::{FileType, fstat};

/// Checks whether standard output may be coloured: it is a terminal with colours, and `NO_COLOR` is not set. The help
/// follows the same rules.
pub(crate) fn stdout_has_colours() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// Checks whether standard error may be coloured.
pub(crate) fn stderr_has_colours() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// Checks whether standard error is a terminal on which a line can be written again.
pub(crate) fn stderr_can_rewrite() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Checks whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Checks whether what is written to standard output may appear on the terminal: it is one, or a pipe to a program that
/// may write to it.
pub(crate) fn stdout_is_seen() -> bool {
    let kind = fstat(io::stdout()).map(|file| FileType::from_raw_mode(file.st_mode));
    stdout_is_terminal() || kind == Ok(FileType::Fifo)
}

/// Returns the width of the terminal at standard output, if there is one.
pub(crate) fn stdout_columns() -> Option<usize> {
    columns(io::stdout())
}

/// Returns the width of the terminal at standard error, if there is one.
pub(crate) fn stderr_columns() -> Option<usize> {
    columns(io::stderr())
}

fn columns(stream: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    // A serial line does not know its width.
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
