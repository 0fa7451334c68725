//! What the compiler's process may not do: nearly everything. A component that takes the compiler over would find a process
//! without files, network, descriptors or privileges, which the kernel kills before any other.

use std::{fs, io};

use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetError, Scope};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::plugins::limits;

/// Of the kernel's choices of what to kill when memory runs out, the first.
const FIRST_TO_BE_KILLED: &str = "1000";

/// Closes what this process has inherited beyond standard input, output and error. It opens its own files for itself alone;
/// those of a program that started the host need not be so.
#[allow(unsafe_code, reason = "nothing else closes descriptors that this program knows nothing of")]
pub(super) fn close_inherited() {
    // SAFETY: it is done first of all, so that none of them has an owner in this program.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
}

/// From here on the process can compute, read what is open, and write what is open. Threads that it starts are confined too.
pub(super) fn confine(memory: u64) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // Where `/proc` cannot be written, the host has to live with it.
    let _ = fs::write("/proc/self/oom_score_adj", FIRST_TO_BE_KILLED);
    rustix::process::nice(limits::NICE)?;
    limit(Resource::As, memory, memory)?;
    limit(Resource::Cpu, limits::COMPILE_CPU_S, limits::COMPILE_CPU_S + 1)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, limits::COMPILED_BYTES, limits::COMPILED_BYTES)?;
    rustix::thread::set_no_new_privs(true)?;
    reach_nothing().map_err(io::Error::other)?;
    // The last one, because the others may open something. What is open stays so.
    limit(Resource::Nofile, 0, 0)
}

/// Never more than is allowed already, which could not be raised.
fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit { current: Some(soft.min(allowed)), maximum: Some(hard.min(allowed)) };
    Ok(setrlimit(resource, limit)?)
}

/// No file by its path, no TCP, no abstract socket, no signal to other processes: as much of that as the kernel can forbid
/// (landlock(7)); an old one forbids nothing.
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

    /// Whether this is a process that was started by [`in_a_process`] to run that test.
    fn is_asked(what: &str) -> bool {
        std::env::args().any(|argument| argument == what)
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
        if !is_asked("confined") {
            let done = in_a_process("a_confined_process_reaches_nothing");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        confine(1 << 30).unwrap();
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
        if !is_asked("confined") {
            let done = in_a_process("landlock_alone_forbids_files_and_network");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let before = File::open("/etc/passwd");
        reach_nothing().unwrap();
        // An old kernel, and some containers, have no Landlock: there is nothing to be seen then.
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
    fn what_is_limited_already_is_not_raised() {
        if !is_asked("confined") {
            let done = in_a_process("what_is_limited_already_is_not_raised");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            return;
        }
        limit(Resource::Cpu, 5, 5).unwrap();
        limit(Resource::Cpu, 60, 61).unwrap();
        assert_eq!(getrlimit(Resource::Cpu), Rlimit { current: Some(5), maximum: Some(5) });
    }
}
