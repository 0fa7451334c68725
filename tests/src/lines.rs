//! The lines that a process writes.

use std::{
    io::{self, BufRead, BufReader},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::PATIENCE;

/// The lines so far, which grow while the process runs.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Read>, Condvar)>);

#[derive(Default)]
struct Read {
    lines: Vec<String>,
    is_all: bool,
}

impl Lines {
    /// Reads a stream to its end, on a thread of its own.
    pub fn of(stream: impl io::Read + Send + 'static) -> Self {
        let lines = Self::default();
        let written = lines.clone();
        thread::spawn(move || {
            BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| written.push(line));
            written.0.0.lock().unwrap().is_all = true;
            written.0.1.notify_all();
        });
        lines
    }

    /// Adds a line.
    pub fn push(&self, line: String) {
        self.0.0.lock().unwrap().lines.push(line);
        self.0.1.notify_all();
    }

    /// Returns the lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Waits for the end of the stream, and returns all lines.
    pub fn whole(&self) -> Vec<String> {
        let read = self.0.0.lock().unwrap();
        self.0.1.wait_while(read, |read| !read.is_all).unwrap().lines.clone()
    }

    /// Returns the lines after the first `from`.
    pub fn after(&self, from: usize) -> Vec<String> {
        self.0.0.lock().unwrap().lines.iter().skip(from).cloned().collect()
    }

    /// Returns the number of lines so far.
    pub fn count(&self) -> usize {
        self.0.0.lock().unwrap().lines.len()
    }

    /// Waits until `done` returns a value for the lines so far.
    pub fn wait<T>(&self, what: &str, done: impl FnMut(&[String]) -> Option<T>) -> T {
        self.wait_at_most(PATIENCE, what, done)
    }

    /// As [`Self::wait`], for the lines after the first `from`.
    pub fn wait_after<T>(&self, from: usize, what: &str, done: impl FnMut(&[String]) -> Option<T>) -> T {
        self.wait_until(from, PATIENCE, what, done)
    }

    /// As [`Self::wait`], with another time limit.
    pub fn wait_at_most<T>(&self, limit: Duration, what: &str, done: impl FnMut(&[String]) -> Option<T>) -> T {
        self.wait_until(0, limit, what, done)
    }

    #[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
    fn wait_until<T>(
        &self,
        from: usize,
        limit: Duration,
        what: &str,
        mut done: impl FnMut(&[String]) -> Option<T>,
    ) -> T {
        let until = Instant::now() + limit;
        loop {
            let so_far = self.after(from);
            if let Some(answer) = done(&so_far) {
                return answer;
            }
            assert!(Instant::now() < until, "timed out waiting for {what}; the lines are:\n{}", so_far.join("\n"));
            let read = self.0.0.lock().unwrap();
            if read.lines.len() == from + so_far.len() {
                // A condition may depend on other things as well, so it is checked again now and then.
                drop(self.0.1.wait_timeout(read, Duration::from_millis(50)).unwrap());
            }
        }
    }

    /// Waits for a line after the first `from` that contains a text, and returns it.
    pub fn wait_for(&self, from: usize, text: &str) -> String {
        self.wait(text, |lines| lines.iter().skip(from).find(|line| line.contains(text)).cloned())
    }
}
