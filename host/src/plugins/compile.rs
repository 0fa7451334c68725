//! Compiles components in a child process, because a compile can neither be cancelled nor survive running out of memory
//! (I7). The child reads the component from standard input, writes to an open file as standard output, and can access
//! nothing else.

mod confine;

use std::{
    borrow::Cow,
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
use crate::{
    config::rules::{Guests, MOST_COMPILE_S},
    process,
};

/// Why a compile failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileError {
    #[error("{0}")]
    Invalid(String),
    #[error("compiling it took more than {cpu_s} s of CPU time")]
    Cpu { cpu_s: u32 },
    #[error("compiling it took more than {} s", .wall.as_secs())]
    Wall { wall: Duration, cpu_s: u32 },
    #[error("compiling it took more than {} MiB of memory", .0 >> 20)]
    Memory(u64),
    #[error("the compiled component is larger than {} MiB", limits::COMPILED_BYTES >> 20)]
    Size,
    #[error("the compiler was killed, most likely by the kernel because the machine ran out of memory")]
    Killed,
    #[error("the compiler could not start its threads")]
    Threads,
    #[error("{0}")]
    Io(String),
    #[error("the compiler ended with {status}: {stderr}")]
    Ended { status: ExitStatus, stderr: String },
    #[error("the compiler could not be started")]
    Start(#[source] std::io::Error),
}

/// The hint for a data folder that cannot be written to.
pub(super) const WRITABLE: &str =
    "check that the data folder's disk has free space, and that the user that runs Roost can write to the folder";

const UNUSUAL: &str = "ordinary plugins take far less; do not use the plugin unless you trust its author";

impl CompileError {
    /// Returns what the operator can do about the error.
    pub(super) fn hint(&self) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match self {
            Self::Cpu { cpu_s } | Self::Wall { cpu_s, .. } if *cpu_s < MOST_COMPILE_S => {
                let more = (cpu_s * 4).min(MOST_COMPILE_S);
                return Some(Cow::Owned(format!(
                    "large plugins, such as those in Python, take long on a small machine; if you trust its author, \
                     put this into `roost.toml` and start Roost again:\n[guests]\ncompile_cpu_s = {more}"
                )));
            }
            Self::Memory(most) if *most < limits::COMPILE_ADDRESS_SPACE => {
                "a compile may take half of the machine's memory, or of the service's memory limit: use a machine \
                 with more memory, or a smaller plugin; ordinary plugins take a few dozen MiB"
            }
            Self::Cpu { .. } | Self::Wall { .. } | Self::Memory(_) | Self::Size => UNUSUAL,
            Self::Invalid(error) if error.contains("disabled") || error.contains("not enabled") => {
                "it uses a WebAssembly feature that plugins cannot use: build it for `wasm32-wasip2` with the default \
                 features"
            }
            Self::Invalid(error) if error.contains("exceeds limit") => UNUSUAL,
            Self::Invalid(_) => "the file is damaged: build it again or copy it again",
            Self::Io(_) => WRITABLE,
            Self::Killed => "free some memory, and copy the file into the folder again",
            Self::Ended { .. } => "this is a fault of the compiler: use another version of the plugin or of Roost",
            Self::Threads => {
                "allow the user that runs Roost more threads (`TasksMax` of systemd, `ulimit -u`), or use a machine \
                 with more memory"
            }
            Self::Start(_) => {
                "check that `/proc` is mounted, and that the user that runs Roost may start another process \
                 (`TasksMax` of systemd, `ulimit -u`)"
            }
        }))
    }
}

/// The limits of one compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The processor time in seconds.
    pub(super) cpu_s: u32,
    /// The wall-clock time.
    pub(super) wall: Duration,
    /// The address space in bytes.
    pub(super) memory: u64,
    /// The threads.
    pub(super) threads: usize,
}

impl Bounds {
    /// Returns the limits of the long and the short lane on this machine.
    pub(super) fn of_machine() -> [Self; 2] {
        // If the machine's memory is unknown, it is assumed to be large.
        let [long, short] = shares(process::memory_limit().unwrap_or(u64::MAX));
        let threads = limits::COMPILE_THREADS;
        let cpu_s = Guests::default().compile_cpu_s;
        let bounds = |wall, memory| Self { cpu_s, wall, memory, threads };
        [bounds(wall(cpu_s), long), bounds(limits::COMPILE_SOON, short)]
    }

    /// Returns the limits with another processor time, and as much more time in all.
    pub(super) fn within(self, cpu_s: u32) -> Self {
        let wall = if self.wall == limits::COMPILE_SOON { self.wall } else { wall(cpu_s) };
        Self { cpu_s, wall, ..self }
    }
}

/// Returns the time in all of a compile in the long lane.
fn wall(cpu_s: u32) -> Duration {
    Duration::from_secs((cpu_s * limits::COMPILE_WALL).into())
}

/// Returns the address space of a compile in the long and in the short lane, on a machine with this much memory.
fn shares(memory: u64) -> [u64; 2] {
    let share = memory / limits::COMPILE_SHARE;
    [share, share / 2].map(|share| share.clamp(limits::COMPILE_ADDRESS_SPACE_LEAST, limits::COMPILE_ADDRESS_SPACE))
}

/// Compiles a component into an empty file.
///
/// # Errors
/// Returns an error if the component is invalid, exceeds a limit, or the child fails.
pub(super) async fn compile(component: &[u8], into: File, bounds: Bounds) -> Result<(), CompileError> {
    let mut child = command(bounds.memory, bounds.cpu_s)
        .env_clear()
        .env("RAYON_NUM_THREADS", bounds.threads.to_string())
        // Each arena takes 64 MiB of address space, on a small machine half of the limit.
        .env("MALLOC_ARENA_MAX", bounds.threads.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(into)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(CompileError::Start)?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let work = async {
        let write = async {
            if let Some(mut stdin) = stdin {
                // The child's exit status is more precise than a broken pipe.
                let _ = stdin.write_all(component).await;
            }
        };
        let read = async {
            let mut bytes = Vec::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(limits::COMPILE_ERROR_BYTES as u64).read_to_end(&mut bytes).await;
            }
            String::from_utf8_lossy(&bytes).trim().to_owned()
        };
        let ((), stderr, status) = tokio::join!(write, read, child.wait());
        (stderr, status)
    };
    let Ok((stderr, status)) = tokio::time::timeout(bounds.wall, work).await else {
        return Err(CompileError::Wall { wall: bounds.wall, cpu_s: bounds.cpu_s });
    };
    check_exit(status.map_err(CompileError::Start)?, stderr, bounds)
}

/// Returns the error that the child's exit status and standard error mean.
fn check_exit(status: ExitStatus, stderr: String, bounds: Bounds) -> Result<(), CompileError> {
    if status.success() {
        return Ok(());
    }
    if status.code() == Some(INVALID.into()) {
        return Err(CompileError::Invalid(stderr));
    }
    if status.code() == Some(IO.into()) {
        return Err(CompileError::Io(stderr));
    }
    let killed = |signal: Signal| status.signal() == Some(signal.as_raw());
    if killed(Signal::XCPU) {
        return Err(CompileError::Cpu { cpu_s: bounds.cpu_s });
    }
    if killed(Signal::XFSZ) {
        return Err(CompileError::Size);
    }
    if killed(Signal::KILL) {
        return Err(CompileError::Killed);
    }
    if stderr.contains("memory allocation of") || stderr.contains("annot allocate memory") {
        return Err(CompileError::Memory(bounds.memory));
    }
    if stderr.contains("ThreadPoolBuildError") {
        return Err(CompileError::Threads);
    }
    Err(CompileError::Ended { status, stderr })
}

#[cfg(not(test))]
fn command(memory: u64, cpu_s: u32) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("compile").arg(memory.to_string()).arg(cpu_s.to_string());
    command
}

/// The child's exit code for an invalid component.
const INVALID: u8 = 3;
/// The child's exit code for a failure of the machine, such as a full disk.
const IO: u8 = 4;

/// Runs as the child: reads a component from standard input and writes the compiled component to standard output.
///
/// # Errors
/// Returns the exit code and the error message.
pub(crate) fn child(memory: u64, cpu_s: u32) -> Result<(), (u8, String)> {
    confine::close_inherited();
    #[allow(clippy::disallowed_methods, reason = "it is a file for machine code")]
    let into = std::io::stdout().as_fd().try_clone_to_owned();
    into.map_err(|error| error.to_string()).map_or_else(
        |error| Err((IO, format!("standard output cannot be used: {error}"))),
        |into| compile_into(into.into(), memory, cpu_s),
    )
}

fn compile_into(mut into: File, memory: u64, cpu_s: u32) -> Result<(), (u8, String)> {
    confine::confine(memory, cpu_s).map_err(|error| (IO, format!("the compiler cannot be confined: {error}")))?;
    let mut component = Vec::new();
    std::io::stdin()
        .take(limits::COMPONENT_BYTES)
        .read_to_end(&mut component)
        .map_err(|error| (IO, format!("standard input cannot be read: {error}")))?;
    let engine = wasmtime::Engine::new(&engine::config()).map_err(|error| (IO, format!("{error:#}")))?;
    let compiled = engine.precompile_component(&component).map_err(|error| (INVALID, format!("{error:#}")))?;
    into.write_all(&compiled).map_err(|error| (IO, format!("the compiled component cannot be written: {error}")))
}

/// Builds the child's command in tests: the test program itself, which runs one test as the child. Standard output has
/// the tests' results, so a shell moves the file to another descriptor.
#[cfg(test)]
fn command(memory: u64, cpu_s: u32) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"exec 3>&1 >/dev/null; exec "$0" "$@""#]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "plugins::compile::tests::the_child", "--nocapture", "--test-threads=1", "--"]);
    command.args([format!("memory={memory}"), format!("cpu={cpu_s}")]);
    command
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        cpu_s: 60,
        wall: Duration::from_secs(300),
        memory: limits::COMPILE_ADDRESS_SPACE,
        threads: limits::COMPILE_THREADS,
    };

    fn end(result: Result<(), (u8, String)>) {
        #[allow(clippy::print_stderr, clippy::exit, reason = "this test is a process of its own")]
        if let Err((code, error)) = result {
            eprintln!("{error}");
            std::process::exit(code.into());
        }
    }

    #[test]
    fn the_child() {
        let given = |key| std::env::args().find_map(|argument| argument.strip_prefix(key).map(str::to_owned));
        if let (Some(memory), Some(cpu)) = (given("memory="), given("cpu=")) {
            let into = File::options().write(true).open("/proc/self/fd/3").unwrap();
            end(compile_into(into, memory.parse().unwrap(), cpu.parse().unwrap()));
        }
    }

    fn file() -> File {
        tempfile::tempfile().unwrap()
    }

    #[tokio::test]
    async fn an_invalid_component_is_reported() {
        let into = file();
        let error = compile(b"\0asm\x0d\0\x01\0\x01\x01\x00", into.try_clone().unwrap(), BOUNDS).await.unwrap_err();
        assert!(matches!(&error, CompileError::Invalid(text) if text.contains("unexpected end")), "{error:?}");
        assert_eq!(into.metadata().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_full_disk_is_an_io_error() {
        let full = File::options().write(true).open(Path::new("/dev/full")).unwrap();
        let error = compile(EMPTY, full, BOUNDS).await.unwrap_err();
        assert!(matches!(&error, CompileError::Io(text) if text.contains("No space left")), "{error:?}");
    }

    #[tokio::test]
    async fn an_empty_component_compiles() {
        let into = file();
        compile(EMPTY, into.try_clone().unwrap(), BOUNDS).await.unwrap();
        assert!(into.metadata().unwrap().len() > 0);
    }

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[tokio::test]
    async fn a_compile_that_exceeds_the_memory_limit_fails() {
        let sum = "local.get 0 i32.add ".repeat(600_000);
        let module = format!("(core module (func (param i32) (result i32) local.get 0 {sum}))");
        let large = wat::parse_str(format!("(component {module})")).unwrap();
        let bounds = Bounds { memory: 256 << 20, ..BOUNDS };
        let error = compile(&large, file(), bounds).await.unwrap_err();
        assert_eq!(error.to_string(), "compiling it took more than 256 MiB of memory");
        expect!["a compile may take half of the machine's memory, or of the service's memory limit: use a machine with more memory, or a smaller plugin; ordinary plugins take a few dozen MiB"].assert_eq(&error.hint().unwrap());
    }

    #[test]
    fn the_memory_limit_depends_on_the_machines_memory() {
        let mib = |memory: u64| shares(memory << 20).map(|share| share >> 20);
        assert_eq!(mib(8_192), [1_536, 1_536]);
        assert_eq!(mib(2_048), [1_024, 512]);
        assert_eq!(mib(430), [215, 128]);
        assert_eq!(mib(64), [128, 128], "the minimum");
        assert!(Bounds::of_machine().iter().all(|bounds| bounds.memory >= limits::COMPILE_ADDRESS_SPACE_LEAST));
    }

    #[test]
    fn the_operator_can_give_a_compile_more_time() {
        let [long, short] = Bounds::of_machine().map(|bounds| bounds.within(240));
        assert_eq!((long.cpu_s, long.wall), (240, Duration::from_secs(1_200)));
        assert_eq!((short.cpu_s, short.wall), (240, limits::COMPILE_SOON));
        let hint = CompileError::Cpu { cpu_s: 60 }.hint().unwrap();
        assert!(hint.ends_with("start Roost again:\n[guests]\ncompile_cpu_s = 240"), "{hint}");
        assert_eq!(
            CompileError::Wall { wall: long.wall, cpu_s: 240 }.to_string(),
            "compiling it took more than 1200 s"
        );
    }

    #[test]
    fn each_exit_status_has_its_own_error() {
        let message = |signal: Signal| {
            let error = check_exit(ExitStatus::from_raw(signal.as_raw()), String::new(), BOUNDS).unwrap_err();
            assert!(error.hint().is_some());
            error.to_string()
        };
        assert_eq!(message(Signal::XCPU), "compiling it took more than 60 s of CPU time");
        assert_eq!(message(Signal::XFSZ), "the compiled component is larger than 512 MiB");
        assert!(message(Signal::KILL).starts_with("the compiler was killed, most likely by the kernel"));
        assert!(message(Signal::SEGV).starts_with("the compiler ended with signal: 11"));
    }
}
