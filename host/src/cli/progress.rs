//! A line on the terminal that shows what a command is doing, while it takes longer than a moment.

use std::{
    io::{self, Write},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{limits, output};
use crate::{report::in_one_line, terminal};

/// The width of a terminal that does not know its own.
const COLUMNS: usize = 80;

/// A progress line on standard error, which is erased when this is dropped. There is none unless standard error is a
/// terminal that can write a line again.
pub(super) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Shows `text`, which is asked for each time the line is written, with the time since the start.
    pub(super) fn start(text: impl Fn(Duration) -> String + Send + 'static) -> Self {
        if !terminal::stderr_can_rewrite() {
            return Self(None);
        }
        let (stop, stopped) = mpsc::channel();
        let show = move || {
            let (mut line, mut elapsed, mut pause) = (Line::default(), limits::PROGRESS_DELAY, limits::PROGRESS_DELAY);
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let columns = terminal::stderr_columns().unwrap_or(COLUMNS);
                // A terminal that is gone needs no progress.
                let _ = line.draw(&mut output::unescaped_stderr(), &text(elapsed), columns);
                (elapsed, pause) = (elapsed + limits::PROGRESS_EVERY, limits::PROGRESS_EVERY);
            }
            let _ = line.erase(&mut output::unescaped_stderr());
        };
        // Without another thread the command works all the same.
        Self(thread::Builder::new().name("progress".into()).spawn(show).ok().map(|thread| (stop, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// Standard output of a command that shows its progress. The progress line ends when the first output may be seen on the
/// same terminal.
pub(super) struct Output<W> {
    pub(super) out: W,
    pub(super) progress: Option<Progress>,
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.progress.is_some() && terminal::stdout_is_seen() {
            self.progress = None;
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Does `work`, and shows what it is, such as `copying the database`, with the seconds that it has taken.
pub(super) fn show_while<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let what = what.to_owned();
    let _progress = Progress::start(move |elapsed| format!("{what}: {} s", elapsed.as_secs()));
    work()
}

/// The line, by its width. It is written without escape codes, so that every terminal shows it.
#[derive(Default)]
struct Line(usize);

impl Line {
    fn draw(&mut self, out: &mut impl Write, text: &str, columns: usize) -> io::Result<()> {
        // In the last column, some terminals would begin another line.
        let text: String = in_one_line(text).chars().take(columns.saturating_sub(1)).collect();
        // The spaces cover a longer text before.
        write!(out, "\r{text:<0$}", self.0)?;
        self.0 = text.chars().count();
        out.flush()
    }

    fn erase(&self, out: &mut impl Write) -> io::Result<()> {
        if self.0 > 0 {
            write!(out, "\r{:1$}\r", "", self.0)?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_covers_the_one_before_fits_the_terminal_and_is_erased() {
        let (mut line, mut out) = (Line::default(), Vec::new());
        line.erase(&mut out).unwrap();
        assert!(out.is_empty(), "nothing was shown");
        line.draw(&mut out, "copying \u{1b}[2Jthe database", 12).unwrap();
        line.draw(&mut out, "copied", 12).unwrap();
        line.erase(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "\rcopying \\u{\rcopied     \r      \r");
    }
}
