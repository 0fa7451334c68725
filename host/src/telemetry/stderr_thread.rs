//! Writes log lines to standard error on a thread of its own, so that a slow reader, such as a terminal that was halted
//! with Ctrl-S, delays nothing else.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use crate::{config::LogFormat, limits, report::in_json};

enum Order {
    Write(Vec<u8>),
    Flush(Sender<()>),
}

/// A writer of log lines. One call of `write` is one line.
#[derive(Clone)]
pub(super) struct Lines {
    format: LogFormat,
    orders: Sender<Order>,
    waiting: Arc<AtomicUsize>,
    left_out: Arc<AtomicU64>,
}

/// A guard that waits a moment for the last lines when it is dropped.
pub(crate) struct Flush(Sender<Order>);

impl Lines {
    /// Starts the thread that writes the lines to `sink`.
    pub(super) fn to(sink: impl Write + Send + 'static, format: LogFormat) -> io::Result<(Self, Flush)> {
        let (orders, inbox) = channel();
        let lines = Self { format, orders: orders.clone(), waiting: Arc::default(), left_out: Arc::default() };
        let (waiting, left_out) = (lines.waiting.clone(), lines.left_out.clone());
        thread::Builder::new().name("log".into()).spawn(move || write_all(sink, &inbox, &waiting, &left_out))?;
        Ok((lines, Flush(orders)))
    }
}

/// Writes the lines. Errors are ignored, because there is nowhere to report them.
fn write_all(mut sink: impl Write, inbox: &Receiver<Order>, waiting: &AtomicUsize, left_out: &AtomicU64) {
    for order in inbox {
        match order {
            Order::Write(line) => {
                let _ = sink.write_all(&line);
                waiting.fetch_sub(line.len(), Ordering::Relaxed);
                let count = left_out.swap(0, Ordering::Relaxed);
                if count > 0 {
                    let _ = writeln!(sink, "{count} log lines are left out, because they were not read in time");
                }
            }
            Order::Flush(done) => {
                let _ = sink.flush();
                let _ = done.send(());
            }
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = line.len();
        // The fields of a text line are escaped one by one, because there are colours between them.
        let line = match self.format {
            LogFormat::Human => line.to_vec(),
            LogFormat::Json => in_json(line).into_owned(),
        };
        let length = line.len();
        let waiting = self.waiting.fetch_add(length, Ordering::Relaxed);
        if waiting > limits::LOG_BYTES || self.orders.send(Order::Write(line)).is_err() {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let (done, written) = channel();
        if self.0.send(Order::Flush(done)).is_ok() {
            let _ = written.recv_timeout(limits::LOG_FLUSH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that takes a line only when it is released.
    struct Halted(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Halted {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_halted_reader_delays_nothing_and_learns_how_many_lines_are_missing() {
        let ((go, halted), (sink, written)) = (channel(), channel());
        let (mut lines, _flush) = Lines::to(Halted(halted, sink), LogFormat::Human).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            lines.write_all(&line).unwrap();
        }
        drop(go);
        let all: Vec<u8> = (0..6).flat_map(|_| written.recv().unwrap()).collect();
        let notice = String::from_utf8_lossy(&all).replace('x', "");
        assert!(all.len() < 6 << 20 && notice.starts_with("95"), "{notice}");
    }
}
