//! The logs of plugins: lines from `log`, standard output (`info`) and standard error (`warn`).

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

/// A plugin's log. All devices and calls share one budget of lines (I7).
#[derive(Debug)]
pub(super) struct Log {
    plugin: PluginName,
    budget: Mutex<Budget>,
    event_log: EventLog,
}

#[derive(Debug)]
struct Budget {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Budget {
    /// Takes a line from the budget. Returns whether there was one left, and how many lines were dropped before it.
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
    pub(super) fn new(plugin: PluginName, event_log: EventLog) -> Self {
        let budget = Budget { since: clock::monotonic(), lines: 0, left_out: 0 };
        Self { plugin, budget: Mutex::new(budget), event_log }
    }

    fn write(&self, device: &DeviceName, level: Level, line: &str) {
        let (is_allowed, left_out) = self.budget().take(clock::monotonic());
        self.log_left_out(left_out);
        if !is_allowed {
            return;
        }
        // Line ends are escaped, so that a guest cannot imitate a line of the host's log.
        let line = in_one_line(line[..line.floor_char_boundary(limits::LINE_BYTES)].trim_end());
        let line = &line[..line.floor_char_boundary(limits::LINE_BYTES)];
        self.publish(Some(device), level, line);
        let plugin = &self.plugin;
        match level {
            Level::TRACE => tracing::trace!(target: "plugin", %plugin, %device, "{line}"),
            Level::DEBUG => tracing::debug!(target: "plugin", %plugin, %device, "{line}"),
            Level::INFO => tracing::info!(target: "plugin", %plugin, %device, "{line}"),
            Level::WARN => tracing::warn!(target: "plugin", %plugin, %device, "{line}"),
            Level::ERROR => tracing::error!(target: "plugin", %plugin, %device, "{line}"),
        }
    }

    fn log_left_out(&self, count: u64) {
        if count > 0 {
            let (plugin, limit) = (&self.plugin, limits::LINES_PER_MINUTE);
            let line = format!("{count} lines were dropped: a plugin may write {limit} lines per minute");
            tracing::warn!(target: "plugin", %plugin, "{line}");
            self.publish(None, Level::WARN, &line);
        }
    }

    fn publish(&self, device: Option<&DeviceName>, level: Level, line: &str) {
        let (plugin, device) = (self.plugin.clone(), device.cloned());
        self.event_log.push(HostEvent::Logged { plugin, device, level, line: line.into() });
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The output of one call.
#[derive(Clone, Debug)]
pub(super) struct CallOutput {
    log: Arc<Log>,
    device: DeviceName,
    buffer: Arc<Mutex<LineBuffer>>,
}

/// Checks whether a line is worth logging: not empty, and not the advice to set `RUST_BACKTRACE`.
fn is_informative(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE")
}

/// Shortens a guest's text and escapes it into one line, so that it cannot imitate the host's own output.
pub(super) fn sanitize(text: &str) -> String {
    let kept = &text[..text.floor_char_boundary(limits::MESSAGE_BYTES)];
    in_one_line(kept) + if kept.len() < text.len() { " …" } else { "" }
}

/// Incomplete lines, and the end of standard error.
#[derive(Debug, Default)]
struct LineBuffer {
    output: Vec<u8>,
    error: Vec<u8>,
    error_tail: Vec<u8>,
}

impl CallOutput {
    pub(super) fn new(log: Arc<Log>, device: DeviceName) -> Self {
        Self { log, device, buffer: Arc::default() }
    }

    pub(super) fn write(&self, level: Level, line: &str) {
        self.log.write(&self.device, level, line);
    }

    pub(super) fn stream(&self, kind: StreamKind) -> Stream {
        Stream { call_output: self.clone(), kind }
    }

    /// Ends the call's output: writes the incomplete lines, and logs the number of dropped ones. Returns the end of
    /// standard error.
    pub(super) fn finish(&self) -> String {
        let buffer = std::mem::take(&mut *self.buffer());
        for (rest, level) in [(buffer.output, Level::INFO), (buffer.error, Level::WARN)] {
            if !rest.is_empty() {
                self.write(level, &String::from_utf8_lossy(&rest));
            }
        }
        let left_out = std::mem::take(&mut self.log.budget().left_out);
        self.log.log_left_out(left_out);
        let tail = String::from_utf8_lossy(&buffer.error_tail);
        sanitize(&tail.lines().filter(|line| is_informative(line)).collect::<Vec<_>>().join(" "))
    }

    fn append(&self, kind: StreamKind, bytes: &[u8]) {
        let lines = self.buffer().append(kind, bytes);
        let level = if kind == StreamKind::Output { Level::INFO } else { Level::WARN };
        for line in lines.iter().filter(|line| is_informative(line)) {
            self.write(level, line);
        }
    }

    fn buffer(&self) -> MutexGuard<'_, LineBuffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineBuffer {
    /// Appends bytes and returns the lines that are complete now. Longer lines are truncated.
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

/// A standard stream that writes to a [`CallOutput`] and never blocks.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    call_output: CallOutput,
    kind: StreamKind,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 uses this one, which is not served.
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
        self.call_output.append(self.kind, &bytes);
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
    fn a_guests_text_is_shortened_and_escaped() {
        assert_eq!(sanitize("no\ttides\r\x1b[2J\n2031 ERROR\u{202e}"), "no\\ttides\\r\\u{1b}[2J\\n2031 ERROR\\u{202e}");
        let long = sanitize(&"ß".repeat(limits::MESSAGE_BYTES));
        assert!(long.len() < limits::MESSAGE_BYTES + 8 && long.ends_with("ß …"));
    }

    #[test]
    fn lines_are_assembled_and_truncated() {
        let mut buffer = LineBuffer::default();
        assert!(buffer.append(StreamKind::Error, b"thread pan").is_empty());
        assert_eq!(buffer.append(StreamKind::Error, b"icked\r\nat x\nnote"), ["thread panicked", "at x"]);
        assert_eq!(buffer.error, b"note");
        let long = vec![b'x'; limits::LINE_BYTES * 3];
        buffer.append(StreamKind::Error, &long);
        assert_eq!(buffer.append(StreamKind::Error, b"\n")[0].len(), limits::LINE_BYTES);
        assert_eq!(buffer.error_tail.len(), limits::STDERR_TAIL_BYTES);
    }

    #[test]
    fn lines_beyond_the_budget_are_dropped_and_counted() {
        let now = clock::monotonic();
        let mut budget = Budget { since: now, lines: 0, left_out: 0 };
        let written = (0..5_000).filter(|_| budget.take(now).0).count();
        assert_eq!(written, 1_000);
        assert_eq!(budget.take(now + Duration::from_secs(60)), (true, 4_000));
    }
}
