//! Confines the compiler's process. A component that exploits the compiler gains a process without files, network,
//! further descriptors or privileges, and the kernel kills that process first if memory runs out.

use std::{fs, io};

use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetError, Scope};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::plugins::limits;

/// The highest score of the kernel's out-of-memory killer.
const FIRST_TO_BE_KILLED: &str = "1000";

/// Closes all inherited descriptors except standard input, output and error. The host's own files are not inherited,
/// but those of the program that started the host may be.
#[allow(unsafe_code, reason = "no safe function closes unknown descriptors")]
pub(super) fn close_inherited() {
    // SAFETY: this is the program's first action, so that no descriptor has an owner in this program yet.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
}

/// Confines the process: afterwards it can only compute, and read and write its open files. Threads that it starts
/// later are confined as well.
pub(super) fn confine(memory: u64, cpu_s: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // Without a writable `/proc`, the score stays as it is.
    let _ = fs::write("/proc/self/oom_score_adj", FIRST_TO_BE_KILLED);
    rustix::process::nice(limits::NICE)?;
    limit(Resource::As, memory, memory)?;
    limit(Resource::Cpu, cpu_s.into(), u64::from(cpu_s) + 1)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, limits::COMPILED_BYTES, limits::COMPILED_BYTES)?;
    rustix::thread::set_no_new_privs(true)?;
    reach_nothing().map_err(io::Error::other)?;
    // This is last, because the steps above may open files. Open files stay open.
    limit(Resource::Nofile, 0, 0)
}

/// Sets a limit, or leaves a lower one, because limits cannot be raised.
fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit { current: Some(soft.min(allowed)), maximum: Some(hard.min(allowed)) };
    Ok(setrlimit(resource, limit)?)
}

/// Denies access to files by path, TCP, abstract sockets and signals to other processes, as far as the kernel supports
/// it (landlock(7)). An old kernel denies nothing.
fn reach_nothing() -> Result<(), RulesetError> {
    let known = ABI::V6;
    let rules = Ruleset::default().handle_access(AccessFs::from_all(known))?;
    let rules = rules.handle_access(AccessNet::from_all(known))?.scope(Scope::from_all(known))?;
    rules.create()?.restrict_self()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::ErrorKind,
        net::{TcpListener, TcpStream},
        process::Command,
    };

    use super::*;

    /// Checks whether [`in_a_process`] started this process, by its argument.
    fn has_argument(expected: &str) -> bool {
        std::env::args().any(|argument| argument == expected)
    }

    fn in_a_process(test: &str) -> std::process::Output {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            &format!("plugins::compile::confine::tests::{test}"),
            "--nocapture",
            "--test-threads=1",
        ]);
        command.args(["--", "confined"]).output().unwrap()
    }

    #[test]
    fn a_confined_process_reaches_nothing() {
        if !has_argument("confined") {
            let done = in_a_process("a_confined_process_reaches_nothing");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        confine(1 << 30, 60).unwrap();
        // Nothing new can be opened at all.
        assert!(
            File::open("/proc/self/status").is_err() && TcpStream::connect(listener.local_addr().unwrap()).is_err()
        );
        assert!(Command::new("/bin/true").spawn().is_err());
        std::thread::spawn(|| assert!(File::open("/").is_err())).join().unwrap();
        let value = getrlimit(Resource::Fsize).current;
        assert_eq!((value, rustix::thread::no_new_privs().unwrap()), (Some(limits::COMPILED_BYTES), true));
    }

    #[test]
    fn landlock_alone_forbids_files_and_network() {
        if !has_argument("confined") {
            let done = in_a_process("landlock_alone_forbids_files_and_network");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let before = File::open("/etc/passwd");
        reach_nothing().unwrap();
        // Old kernels and some containers do not have Landlock: then nothing is denied.
        let has_landlock = fs::read_to_string("/proc/self/status").is_err();
        if has_landlock {
            let denied = |error: io::Error| assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            denied(File::open("/etc/passwd").unwrap_err());
            denied(File::create("/tmp/roost-test").unwrap_err());
            denied(TcpStream::connect(listener.local_addr().unwrap()).unwrap_err());
        }
        drop(before);
    }

    #[test]
    fn a_lower_limit_is_not_raised() {
        if !has_argument("confined") {
            let done = in_a_process("a_lower_limit_is_not_raised");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            return;
        }
        limit(Resource::Cpu, 5, 5).unwrap();
        limit(Resource::Cpu, 60, 61).unwrap();
        assert_eq!(getrlimit(Resource::Cpu), Rlimit { current: Some(5), maximum: Some(5) });
    }
}
