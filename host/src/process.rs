//! The kernel's figures of this process, from proc(5).

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The resources that the process uses.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) cpu_s: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) threads: u64,
    /// The number of open files.
    pub(crate) files: usize,
}

/// Reads the figures; `None` without `/proc`.
pub(crate) fn look() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The fields after the name, which may contain any character: the first here is the third in all.
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

/// Returns the bytes of memory that this process and those beside it may use: the machine's, or the limit of its
/// control group.
pub(crate) fn memory_limit() -> Option<u64> {
    memory_limit_in(Path::new("/"))
}

fn memory_limit_in(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = machine.as_deref().and_then(total_in).map(|kib| kib * 1_024);
    machine.into_iter().chain(limits_of_groups(root)).min()
}

/// `MemTotal:       24683652 kB`
fn total_in(meminfo: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()
}

/// Returns the limits of the process's control groups (cgroups(7)) and of their ancestors.
fn limits_of_groups(root: &Path) -> Vec<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limit = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let limits = groups.lines().filter_map(|line| {
        // `0::/system.slice/roost.service`, and of version 1 `5:memory:/system.slice/roost.service`.
        let [_, controllers, group]: [&str; 3] = line.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
        let (mounted, files): (&str, &[&str]) = match controllers {
            "" => ("sys/fs/cgroup", &["memory.max", "memory.high"]),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
            }
            _ => return None,
        };
        let folders = Path::new(group.strip_prefix('/')?).ancestors().map(|group| root.join(mounted).join(group));
        // `max` is not a number; without a limit, version 1 has one that no machine reaches.
        let limits: Vec<u64> =
            folders.flat_map(|folder| files.iter().filter_map(move |file| limit(folder.join(file)))).collect();
        Some(limits)
    });
    limits.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(memory_limit_in(root.path()), None);
        write("proc/meminfo", "MemTotal:         439000 kB\nMemFree:         1 kB\n");
        assert_eq!(memory_limit_in(root.path()), Some(439_000 << 10));
        write("proc/self/cgroup", "0::/system.slice/roost.service\n");
        write("sys/fs/cgroup/system.slice/roost.service/memory.max", "max\n");
        assert_eq!(memory_limit_in(root.path()), Some(439_000 << 10));
        write("sys/fs/cgroup/system.slice/memory.max", "268435456\n");
        assert_eq!(memory_limit_in(root.path()), Some(256 << 20));
        write("sys/fs/cgroup/system.slice/roost.service/memory.high", "134217728\n");
        assert_eq!(memory_limit_in(root.path()), Some(128 << 20));
        // Version 1, and both at once, as systemd mounts them in its hybrid mode.
        write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/system.slice/roost.service\n0::/nothing\n");
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory_limit_in(root.path()), Some(439_000 << 10));
        write("sys/fs/cgroup/memory/system.slice/roost.service/memory.limit_in_bytes", "67108864\n");
        assert_eq!(memory_limit_in(root.path()), Some(64 << 20));
        assert!(memory_limit().is_some());
    }
}
