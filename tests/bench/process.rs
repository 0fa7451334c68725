//! The kernel's figures of a process.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A process that is measured from outside.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

/// Its memory.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// The resident set size.
    pub(crate) rss_bytes: f64,
    /// The proportional set size, in which shared pages are divided among the processes.
    pub(crate) pss_bytes: f64,
}

impl Process {
    fn file(self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.0.to_string()).join(name)
    }

    /// Returns the number after a word, in a file of lines such as `Pss:   12 kB`.
    fn number(self, file: &str, word: &str) -> f64 {
        let text = fs::read_to_string(self.file(file)).expect("the process runs");
        let line = text.lines().find_map(|line| line.strip_prefix(word)).expect(word);
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect(word)
    }

    /// Returns the CPU time of all present threads, in nanoseconds.
    pub(crate) fn cpu_ns(self) -> f64 {
        let threads = fs::read_dir(self.file("task")).expect("the process runs");
        let time = |thread: PathBuf| {
            let text = fs::read_to_string(thread.join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<f64>().ok()
        };
        threads.flatten().filter_map(|thread| time(thread.path())).sum()
    }

    /// Returns its memory.
    pub(crate) fn memory(self) -> Memory {
        let kilobytes = |word| 1024.0 * self.number("smaps_rollup", word);
        Memory { rss_bytes: kilobytes("Rss:"), pss_bytes: kilobytes("Pss:") }
    }

    /// Returns its largest resident set size so far.
    pub(crate) fn peak_bytes(self) -> f64 {
        1024.0 * self.number("status", "VmHWM:")
    }

    /// Returns the bytes that it has given to disks.
    pub(crate) fn written_bytes(self) -> f64 {
        self.number("io", "write_bytes:")
    }
}
