//! What a process writes, line by line.

use std::{
    io::{self, BufRead, BufReader},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::PATIENCE;

/// The lines so far, growing while the process runs.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Read>, Condvar)>);

#[derive(Default)]
struct Read {
    lines: Vec<String>,
    is_all: bool,
}

impl Lines {
    /// Reads on a thread of its own until the stream ends.
    pub fn of(stream: impl io::Read + Send + 'static) -> Self {
        let lines = Self::default();
        let written = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                written.0.0.lock().unwrap().lines.push(line);
                written.0.1.notify_all();
            }
            written.0.0.lock().unwrap().is_all = true;
            written.0.1.notify_all();
        });
        lines
    }

    /// All of them so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// All of them, once the stream has ended.
    pub fn whole(&self) -> Vec<String> {
        let read = self.0.0.lock().unwrap();
        self.0.1.wait_while(read, |read| !read.is_all).unwrap().lines.clone()
    }

    /// Those after the first `from`.
    pub fn after(&self, from: usize) -> Vec<String> {
        self.0.0.lock().unwrap().lines.iter().skip(from).cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.0.lock().unwrap().lines.len()
    }

    /// Waits until `done` has an answer to the lines so far.
    #[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
    pub fn wait<T>(&self, what: &str, mut done: impl FnMut(&[String]) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let so_far = self.all();
            if let Some(answer) = done(&so_far) {
                return answer;
            }
            assert!(Instant::now() < until, "waited in vain for {what}; there was:\n{}", so_far.join("\n"));
            let read = self.0.0.lock().unwrap();
            if read.lines.len() == so_far.len() {
                // A condition may look at other things besides: look again now and then.
                drop(self.0.1.wait_timeout(read, Duration::from_millis(50)).unwrap());
            }
        }
    }

    /// Waits for a line after the first `from` that contains a text, and returns it.
    pub fn wait_for(&self, from: usize, text: &str) -> String {
        self.wait(text, |lines| lines.iter().skip(from).find(|line| line.contains(text)).cloned())
    }
}
