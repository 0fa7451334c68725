//! What the kernel says of this process: proc(5).

use std::fs;

/// What it uses.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) cpu_s: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) threads: u64,
    /// How many are open.
    pub(crate) files: usize,
}

/// Nothing where `/proc` is not there.
pub(crate) fn look() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may have anything in it: the third field is the first here.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = number(14)? + number(15)?;
    let page = rustix::param::page_size() as u64;
    Some(Process {
        cpu_s: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        threads: number(20)?,
        virtual_bytes: number(23)?,
        resident_bytes: number(24)? * page,
        files: fs::read_dir("/proc/self/fd").ok()?.count(),
    })
}
