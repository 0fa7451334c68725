//! Standard output and standard error. No other module of the commands uses them directly.
#![allow(clippy::disallowed_methods, reason = "this module wraps them")]

use std::io::{self, Write};

use crate::report::in_json;

/// Locks standard output, for the data that a command prints.
pub(super) fn stdout() -> Printable<io::StdoutLock<'static>> {
    Printable(io::stdout().lock())
}

/// Locks standard error, for notes and errors.
pub(super) fn stderr() -> Printable<io::StderrLock<'static>> {
    Printable(io::stderr().lock())
}

/// Locks standard output without escaping: for shell scripts, and for coloured lines with parts that are escaped one by
/// one.
pub(super) fn unescaped() -> io::StdoutLock<'static> {
    io::stdout().lock()
}

/// Locks standard error without escaping, for the progress line, which escapes its text.
pub(super) fn unescaped_stderr() -> io::StderrLock<'static> {
    io::stderr().lock()
}

/// A writer that escapes characters that are invisible or would move the cursor. Each write must be whole characters.
pub(super) struct Printable<W>(W);

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(&in_json(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let mut out = Printable(Vec::new());
        write!(out, "a\u{1b}[2J\r\u{202e}ü\n").unwrap();
        assert_eq!(String::from_utf8(out.0).unwrap(), "a\\u001b[2J\\u000d\\u202eü\n");
    }
}
