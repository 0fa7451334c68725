//! Where commands write: the only place that knows standard output and standard error.
#![allow(clippy::disallowed_methods, reason = "it is what others use instead")]

use std::io::{self, IsTerminal as _, Write};

use crate::report::in_json;

/// Data, for people or programs.
pub(super) fn stdout() -> Printable<io::StdoutLock<'static>> {
    Printable(io::stdout().lock())
}

/// Messages to people.
pub(super) fn stderr() -> Printable<io::StderrLock<'static>> {
    Printable(io::stderr().lock())
}

/// Standard output as it is: for a shell's script, and for lines with colours, whose parts are escaped one by one.
pub(super) fn unescaped() -> io::StdoutLock<'static> {
    io::stdout().lock()
}

/// Whether a person sees the data, rather than a program.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Escapes what cannot be seen or would move a cursor, wherever it comes from. What is written is
/// text, in whole characters.
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
    fn nothing_that_is_written_moves_a_cursor() {
        let mut out = Printable(Vec::new());
        write!(out, "a\u{1b}[2J\r\u{202e}ü\n").unwrap();
        assert_eq!(String::from_utf8(out.0).unwrap(), "a\\u001b[2J\\u000d\\u202eü\n");
    }
}
