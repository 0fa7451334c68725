//! What plugins say: through `log`, standard output (`info`) and standard error (`warn`).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roost_scheduler::names::{DeviceName, PluginName};
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::limits;
use crate::{
    clock,
    event_log::{EventLog, HostEvent},
    report::in_one_line,
};

/// A plugin's log. It has a budget, whatever the number of devices and calls (I7).
#[derive(Debug)]
pub(super) struct Log {
    plugin: PluginName,
    budget: Mutex<Budget>,
    feed: EventLog,
}

#[derive(Debug)]
struct Budget {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Budget {
    /// Whether there is room for a line, and how many were left out before it.
    fn take(&mut self, now: Instant) -> (bool, u64) {
        if now.duration_since(self.since) >= Duration::from_secs(60) {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines >= limits::LINES_PER_MINUTE {
            self.left_out += 1;
            return (false, 0);
        }
        self.lines += 1;
        (true, std::mem::take(&mut self.left_out))
    }
}

impl Log {
    pub(super) fn new(plugin: PluginName, feed: EventLog) -> Self {
        let budget = Budget { since: clock::monotonic(), lines: 0, left_out: 0 };
        Self { plugin, budget: Mutex::new(budget), feed }
    }

    fn write(&self, device: &DeviceName, level: Level, line: &str) {
        let (room, left_out) = self.budget().take(clock::monotonic());
        self.tell_left_out(left_out);
        if !room {
            return;
        }
        // One call is one line: what follows a line end must not look like a line of the host's.
        let line = in_one_line(line[..line.floor_char_boundary(limits::LINE_BYTES)].trim_end());
        let line = &line[..line.floor_char_boundary(limits::LINE_BYTES)];
        self.tell(Some(device), level, line);
        let plugin = &self.plugin;
        match level {
            Level::TRACE => tracing::trace!(target: "plugin", %plugin, %device, "{line}"),
            Level::DEBUG => tracing::debug!(target: "plugin", %plugin, %device, "{line}"),
            Level::INFO => tracing::info!(target: "plugin", %plugin, %device, "{line}"),
            Level::WARN => tracing::warn!(target: "plugin", %plugin, %device, "{line}"),
            Level::ERROR => tracing::error!(target: "plugin", %plugin, %device, "{line}"),
        }
    }

    fn tell_left_out(&self, count: u64) {
        if count > 0 {
            let (plugin, limit) = (&self.plugin, limits::LINES_PER_MINUTE);
            let line = format!("{count} lines were left out: a plugin has {limit} a minute");
            tracing::warn!(target: "plugin", %plugin, "{line}");
            self.tell(None, Level::WARN, &line);
        }
    }

    fn tell(&self, device: Option<&DeviceName>, level: Level, line: &str) {
        let (plugin, device) = (self.plugin.clone(), device.cloned());
        self.feed.push(HostEvent::Logged { plugin, device, level, line: line.into() });
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one call says.
#[derive(Clone, Debug)]
pub(super) struct CallOutput {
    log: Arc<Log>,
    device: DeviceName,
    said: Arc<Mutex<LineBuffer>>,
}

/// Not an empty line, nor advice for whoever runs a program in a shell of their own.
fn tells(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE")
}

/// A guest's words, fit to be shown and to be kept: in one line, so that nothing in them looks like the host's.
pub(super) fn sanitize(text: &str) -> String {
    let kept = &text[..text.floor_char_boundary(limits::SAID_BYTES)];
    in_one_line(kept) + if kept.len() < text.len() { " …" } else { "" }
}

/// Lines that have not ended yet, and the end of standard error.
#[derive(Debug, Default)]
struct LineBuffer {
    output: Vec<u8>,
    error: Vec<u8>,
    error_tail: Vec<u8>,
}

impl CallOutput {
    pub(super) fn new(log: Arc<Log>, device: DeviceName) -> Self {
        Self { log, device, said: Arc::default() }
    }

    pub(super) fn write(&self, level: Level, line: &str) {
        self.log.write(&self.device, level, line);
    }

    pub(super) fn stream(&self, kind: StreamKind) -> Stream {
        Stream { journal: self.clone(), kind }
    }

    /// The call is over: lines without an end are written, and it is told if some were left out.
    /// Answers the end of standard error.
    pub(super) fn finish(&self) -> String {
        let said = std::mem::take(&mut *self.said());
        for (rest, level) in [(said.output, Level::INFO), (said.error, Level::WARN)] {
            if !rest.is_empty() {
                self.write(level, &String::from_utf8_lossy(&rest));
            }
        }
        let left_out = std::mem::take(&mut self.log.budget().left_out);
        self.log.tell_left_out(left_out);
        let tail = String::from_utf8_lossy(&said.error_tail);
        sanitize(&tail.lines().filter(|line| tells(line)).collect::<Vec<_>>().join(" "))
    }

    fn append(&self, kind: StreamKind, bytes: &[u8]) {
        let lines = self.said().append(kind, bytes);
        let level = if kind == StreamKind::Output { Level::INFO } else { Level::WARN };
        for line in lines.iter().filter(|line| tells(line)) {
            self.write(level, line);
        }
    }

    fn said(&self) -> MutexGuard<'_, LineBuffer> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineBuffer {
    /// The lines that are complete now. What is longer than a line may be is cut off, not kept.
    fn append(&mut self, kind: StreamKind, bytes: &[u8]) -> Vec<String> {
        if kind == StreamKind::Error {
            self.error_tail.extend_from_slice(bytes);
            let excess = self.error_tail.len().saturating_sub(limits::STDERR_TAIL_BYTES);
            self.error_tail.drain(..excess);
        }
        let pending = if kind == StreamKind::Output { &mut self.output } else { &mut self.error };
        let mut lines = Vec::new();
        for (index, piece) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if index > 0 {
                let line = std::mem::take(pending);
                lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let room = limits::LINE_BYTES.saturating_sub(pending.len());
            pending.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        lines
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    Output,
    Error,
}

/// A standard stream that ends in the journal, and never fills up.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    journal: CallOutput,
    kind: StreamKind,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one, and it is not served.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.journal.append(self.kind, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(limits::LINE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_is_cut_and_moves_no_cursor() {
        assert_eq!(sanitize("no\ttides\r\x1b[2J\n2031 ERROR\u{202e}"), "no\\ttides\\r\\u{1b}[2J\\n2031 ERROR\\u{202e}");
        let long = sanitize(&"ß".repeat(limits::SAID_BYTES));
        assert!(long.len() < limits::SAID_BYTES + 8 && long.ends_with("ß …"));
    }

    #[test]
    fn lines_are_put_together_and_cut_off() {
        let mut said = LineBuffer::default();
        assert!(said.append(StreamKind::Error, b"thread pan").is_empty());
        assert_eq!(said.append(StreamKind::Error, b"icked\r\nat x\nnote"), ["thread panicked", "at x"]);
        assert_eq!(said.error, b"note");
        let long = vec![b'x'; limits::LINE_BYTES * 3];
        said.append(StreamKind::Error, &long);
        assert_eq!(said.append(StreamKind::Error, b"\n")[0].len(), limits::LINE_BYTES);
        assert_eq!(said.error_tail.len(), limits::STDERR_TAIL_BYTES);
    }

    #[test]
    fn a_flood_is_cut_off_and_counted() {
        let now = clock::monotonic();
        let mut budget = Budget { since: now, lines: 0, left_out: 0 };
        let written = (0..5_000).filter(|_| budget.take(now).0).count();
        assert_eq!(written, 1_000);
        assert_eq!(budget.take(now + Duration::from_secs(60)), (true, 4_000));
    }
}
