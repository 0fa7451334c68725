//! Compiling, in a child process: a compile can neither be cancelled nor survive running out of memory (I7). The child gets
//! the component on standard input and an open file on standard output, and can reach nothing else.

mod confine;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use super::{engine, limits};
use crate::process;

/// Why there is no compiled component.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileError {
    #[error("{0}")]
    Invalid(String),
    #[error("compiling it took more than {} s of CPU time", limits::COMPILE_CPU_S)]
    Cpu,
    #[error("compiling it took more than {} s", .0.as_secs())]
    Wall(Duration),
    #[error("compiling it took more than {} MiB of memory", .0 >> 20)]
    Memory(u64),
    #[error("compiled, it has more than {} MiB", limits::COMPILED_BYTES >> 20)]
    Size,
    #[error("the compiler was killed, as the kernel does when the machine has no memory left")]
    Killed,
    #[error("the compiler could not start its threads")]
    Threads,
    #[error("{0}")]
    Io(String),
    #[error("the compiler ended with {status}: {said}")]
    Ended { status: ExitStatus, said: String },
    #[error("the compiler could not be started")]
    Start(#[source] std::io::Error),
}

/// What helps where the data folder takes nothing.
pub(super) const WRITABLE: &str =
    "see that there is space in the data folder, and that the user that runs Roost can write there";

const UNUSUAL: &str = "no ordinary plugin takes that much; do not use it unless you know its author";

impl CompileError {
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Memory(most) if *most < limits::COMPILE_ADDRESS_SPACE => {
                "a compile may take half of the machine's memory, or of what the service is allowed: compile it on a larger \
                 machine, or make the plugin smaller; an ordinary one takes a few dozen MiB"
            }
            Self::Cpu | Self::Wall(_) | Self::Memory(_) | Self::Size => UNUSUAL,
            Self::Invalid(said) if said.contains("disabled") || said.contains("not enabled") => {
                "it uses a part of WebAssembly that plugins do not have: build it for `wasm32-wasip2` with the default features"
            }
            Self::Invalid(said) if said.contains("exceeds limit") => UNUSUAL,
            Self::Invalid(_) => "build it again; if it was copied, copy it again",
            Self::Io(_) => WRITABLE,
            Self::Killed => "free some memory, and put the file into the folder again",
            Self::Ended { .. } => "the compiler itself is at fault: use another version of the plugin or of Roost",
            Self::Threads => {
                "the user that runs Roost must be allowed a few more threads (`TasksMax` of systemd, `ulimit -u`), or the machine \
                 must have more memory"
            }
            Self::Start(_) => {
                "`/proc` must be there, and the user that runs Roost must be allowed one more process (`TasksMax` of systemd, \
                 `ulimit -u`)"
            }
        })
    }
}

/// What one compile may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) wall: Duration,
    /// Bytes of address space.
    pub(super) memory: u64,
}

impl Bounds {
    /// For a compile on this machine, and for one that is begun beside it.
    pub(super) fn of_machine() -> [Self; 2] {
        // Where nothing is known of the machine, it is taken for a large one.
        let [long, short] = shares(process::memory_limit().unwrap_or(u64::MAX));
        [Self { wall: limits::COMPILE_WALL, memory: long }, Self { wall: limits::COMPILE_SOON, memory: short }]
    }
}

/// Of so much memory, what a compile may take, and one beside it.
fn shares(memory: u64) -> [u64; 2] {
    let share = memory / limits::COMPILE_SHARE;
    [share, share / 2].map(|share| share.clamp(limits::COMPILE_ADDRESS_SPACE_LEAST, limits::COMPILE_ADDRESS_SPACE))
}

/// Compiles a component into an empty file.
pub(super) async fn compile(component: &[u8], into: File, bounds: Bounds) -> Result<(), CompileError> {
    let mut child = command(bounds.memory)
        .env_clear()
        .env("RAYON_NUM_THREADS", limits::COMPILE_THREADS.to_string())
        // Each arena takes 64 MiB of address space, which on a small machine is half of all that it may take.
        .env("MALLOC_ARENA_MAX", limits::COMPILE_THREADS.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(into)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(CompileError::Start)?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let work = async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // The child's end tells more than a broken pipe.
                let _ = stdin.write_all(component).await;
            }
        };
        let listen = async {
            let mut said = Vec::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(limits::COMPILE_ERROR_BYTES as u64).read_to_end(&mut said).await;
            }
            String::from_utf8_lossy(&said).trim().to_owned()
        };
        let ((), said, status) = tokio::join!(feed, listen, child.wait());
        (said, status)
    };
    let Ok((said, status)) = tokio::time::timeout(bounds.wall, work).await else {
        return Err(CompileError::Wall(bounds.wall));
    };
    judge(status.map_err(CompileError::Start)?, said, bounds)
}

fn judge(status: ExitStatus, said: String, bounds: Bounds) -> Result<(), CompileError> {
    if status.success() {
        return Ok(());
    }
    if status.code() == Some(INVALID.into()) {
        return Err(CompileError::Invalid(said));
    }
    if status.code() == Some(IO.into()) {
        return Err(CompileError::Io(said));
    }
    let killed = |signal: Signal| status.signal() == Some(signal.as_raw());
    if killed(Signal::XCPU) {
        return Err(CompileError::Cpu);
    }
    if killed(Signal::XFSZ) {
        return Err(CompileError::Size);
    }
    if killed(Signal::KILL) {
        return Err(CompileError::Killed);
    }
    if said.contains("memory allocation of") || said.contains("annot allocate memory") {
        return Err(CompileError::Memory(bounds.memory));
    }
    if said.contains("ThreadPoolBuildError") {
        return Err(CompileError::Threads);
    }
    Err(CompileError::Ended { status, said })
}

#[cfg(not(test))]
fn command(memory: u64) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("compile").arg(memory.to_string());
    command
}

/// The child's exit code for a component that is at fault itself.
const INVALID: u8 = 3;
/// The child's exit code for what is the machine's fault: a full disk.
const IO: u8 = 4;

/// What the child does: takes a component from standard input and writes it, compiled, to standard output.
///
/// # Errors
/// The exit code, and what to say.
pub(crate) fn child(memory: u64) -> Result<(), (u8, String)> {
    confine::close_inherited();
    #[allow(clippy::disallowed_methods, reason = "it is a file, and what goes there is machine code")]
    let into = std::io::stdout().as_fd().try_clone_to_owned();
    into.map_err(|error| error.to_string()).map_or_else(
        |error| Err((IO, format!("standard output cannot be used: {error}"))),
        |into| compile_into(into.into(), memory),
    )
}

fn compile_into(mut into: File, memory: u64) -> Result<(), (u8, String)> {
    confine::confine(memory).map_err(|error| (IO, format!("the compiler cannot be confined: {error}")))?;
    let mut component = Vec::new();
    std::io::stdin()
        .take(limits::COMPONENT_BYTES)
        .read_to_end(&mut component)
        .map_err(|error| (IO, format!("standard input cannot be read: {error}")))?;
    let engine = wasmtime::Engine::new(&engine::config()).map_err(|error| (IO, format!("{error:#}")))?;
    let compiled = engine.precompile_component(&component).map_err(|error| (INVALID, format!("{error:#}")))?;
    into.write_all(&compiled).map_err(|error| (IO, format!("what was compiled cannot be written: {error}")))
}

/// The test program is its own compiler: it runs one test, which is the child. Standard output has the tests' results, so a
/// shell puts the file elsewhere.
#[cfg(test)]
fn command(memory: u64) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"exec 3>&1 >/dev/null; exec "$0" "$@""#]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "plugins::compile::tests::the_child", "--nocapture", "--test-threads=1", "--"]);
    command.arg(format!("memory={memory}"));
    command
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const BOUNDS: Bounds = Bounds { wall: limits::COMPILE_WALL, memory: limits::COMPILE_ADDRESS_SPACE };

    fn end(result: Result<(), (u8, String)>) {
        #[allow(clippy::print_stderr, clippy::exit, reason = "this test is a process of its own")]
        if let Err((code, error)) = result {
            eprintln!("{error}");
            std::process::exit(code.into());
        }
    }

    #[test]
    fn the_child() {
        let memory = std::env::args().find_map(|argument| argument.strip_prefix("memory=").map(str::to_owned));
        if let Some(memory) = memory {
            let into = File::options().write(true).open("/proc/self/fd/3").unwrap();
            end(compile_into(into, memory.parse().unwrap()));
        }
    }

    fn file() -> File {
        tempfile::tempfile().unwrap()
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_component_is_reported() {
        let into = file();
        let error = compile(b"\0asm\x0d\0\x01\0\x01\x01\x00", into.try_clone().unwrap(), BOUNDS).await.unwrap_err();
        assert!(matches!(&error, CompileError::Invalid(said) if said.contains("unexpected end")), "{error:?}");
        assert_eq!(into.metadata().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_is_not_the_components_fault() {
        let full = File::options().write(true).open(Path::new("/dev/full")).unwrap();
        let error = compile(EMPTY, full, BOUNDS).await.unwrap_err();
        assert!(matches!(&error, CompileError::Io(said) if said.contains("No space left")), "{error:?}");
    }

    #[tokio::test]
    async fn an_empty_component_compiles() {
        let into = file();
        compile(EMPTY, into.try_clone().unwrap(), BOUNDS).await.unwrap();
        assert!(into.metadata().unwrap().len() > 0);
    }

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[tokio::test]
    async fn what_takes_more_memory_than_a_small_machine_has_is_given_up() {
        let sum = "local.get 0 i32.add ".repeat(600_000);
        let module = format!("(core module (func (param i32) (result i32) local.get 0 {sum}))");
        let large = wat::parse_str(format!("(component {module})")).unwrap();
        let bounds = Bounds { memory: 256 << 20, ..BOUNDS };
        let error = compile(&large, file(), bounds).await.unwrap_err();
        assert_eq!(error.to_string(), "compiling it took more than 256 MiB of memory");
        assert!(error.hint().unwrap().contains("half of the machine's memory"));
    }

    #[test]
    fn a_small_machine_gives_a_compile_a_part_of_its_memory() {
        let mib = |memory: u64| shares(memory << 20).map(|share| share >> 20);
        assert_eq!(mib(8_192), [1_536, 1_536]);
        assert_eq!(mib(2_048), [1_024, 512]);
        assert_eq!(mib(430), [215, 128]);
        assert_eq!(mib(64), [128, 128], "less would not do");
        assert!(Bounds::of_machine().iter().all(|bounds| bounds.memory >= limits::COMPILE_ADDRESS_SPACE_LEAST));
    }

    #[test]
    fn the_end_of_the_compiler_says_what_was_too_much() {
        let message = |signal: Signal| {
            let error = judge(ExitStatus::from_raw(signal.as_raw()), String::new(), BOUNDS).unwrap_err();
            assert!(error.hint().is_some());
            error.to_string()
        };
        assert_eq!(message(Signal::XCPU), "compiling it took more than 60 s of CPU time");
        assert_eq!(message(Signal::XFSZ), "compiled, it has more than 512 MiB");
        assert!(message(Signal::KILL).starts_with("the compiler was killed, as the kernel does when"));
        assert!(message(Signal::SEGV).starts_with("the compiler ended with signal: 11"));
    }
}
