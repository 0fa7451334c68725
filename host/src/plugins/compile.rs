//! Compiling, in a child process: a compile can neither be cancelled nor survive running out of memory (I7).

use std::{
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, Signal};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use super::{engine, limits};

/// Why there is no compiled component.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileError {
    #[error("{0}")]
    Invalid(String),
    #[error("compiling it took more than {} s of CPU time", limits::COMPILE_CPU_S)]
    Cpu,
    #[error("compiling it took more than {} s", .0.as_secs())]
    Wall(Duration),
    #[error("compiling it took more than {} MiB of memory", limits::COMPILE_ADDRESS_SPACE >> 20)]
    Memory,
    #[error("{0}")]
    Io(String),
    #[error("the compiler ended with {status}: {said}")]
    Ended { status: ExitStatus, said: String },
    #[error("the compiler could not be started")]
    Start(#[source] std::io::Error),
}

impl CompileError {
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Cpu | Self::Wall(_) | Self::Memory => {
                Some("no ordinary plugin takes that much; do not use it unless you know who made it")
            }
            Self::Invalid(_) => Some("build it again; if it was copied, copy it again"),
            Self::Io(_) => {
                Some("see that there is space in the data folder, and that the user that runs Roost can write there")
            }
            Self::Ended { .. } | Self::Start(_) => None,
        }
    }
}

/// Compiles a component into a file, within that time.
pub(super) async fn compile(component: &[u8], into: &Path, within: Duration) -> Result<(), CompileError> {
    let mut child = command(into)
        .env_clear()
        .env("RAYON_NUM_THREADS", limits::COMPILE_THREADS.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
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
    let Ok((said, status)) = tokio::time::timeout(within, work).await else {
        return Err(CompileError::Wall(within));
    };
    judge(status.map_err(CompileError::Start)?, said)
}

fn judge(status: ExitStatus, said: String) -> Result<(), CompileError> {
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
    if killed(Signal::XCPU) || killed(Signal::KILL) {
        return Err(CompileError::Cpu);
    }
    if said.contains("memory allocation of") || said.contains("annot allocate memory") {
        return Err(CompileError::Memory);
    }
    Err(CompileError::Ended { status, said })
}

#[cfg(not(test))]
fn command(into: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("compile").arg(into);
    command
}

/// The child's exit code for a component that is at fault itself.
const INVALID: u8 = 3;
/// The child's exit code for what is nobody's fault but the machine's: a full disk.
const IO: u8 = 4;

/// What the child does: takes a component from standard input and writes it, compiled, into a file.
///
/// # Errors
/// The exit code, and what to say.
pub(crate) fn child(into: &Path) -> Result<(), (u8, String)> {
    restrict().map_err(|error| (IO, format!("the compiler's limits cannot be set: {error}")))?;
    let mut component = Vec::new();
    std::io::stdin()
        .take(limits::COMPONENT_BYTES)
        .read_to_end(&mut component)
        .map_err(|error| (IO, format!("standard input cannot be read: {error}")))?;
    let engine = wasmtime::Engine::new(&engine::config()).map_err(|error| (IO, format!("{error:#}")))?;
    let compiled = engine.precompile_component(&component).map_err(|error| (INVALID, format!("{error:#}")))?;
    let written = std::fs::File::create(into).and_then(|mut file| file.write_all(&compiled));
    written.map_err(|error| (IO, format!("`{}` cannot be written: {error}", into.display())))
}

fn restrict() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let limit = |resource, soft, hard| {
        rustix::process::setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
    };
    limit(Resource::As, limits::COMPILE_ADDRESS_SPACE, limits::COMPILE_ADDRESS_SPACE)?;
    limit(Resource::Cpu, limits::COMPILE_CPU_S, limits::COMPILE_CPU_S + 1)?;
    limit(Resource::Core, 0, 0)?;
    rustix::process::nice(limits::NICE)?;
    Ok(())
}

/// The test program is its own compiler: it runs one test, which is the child.
#[cfg(test)]
fn command(into: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "plugins::compile::tests::the_child", "--nocapture", "--test-threads=1", "--"]);
    command.arg(format!("into={}", into.display()));
    command
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_child() {
        let into = std::env::args().find_map(|argument| argument.strip_prefix("into=").map(PathBuf::from));
        if let Some(into) = into
            && let Err((code, error)) = child(&into)
        {
            #[allow(clippy::print_stderr, clippy::exit, reason = "this test is a process of its own")]
            {
                eprintln!("{error}");
                std::process::exit(code.into());
            }
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_component_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("x.cwasm");
        let error = compile(b"\0asm\x0d\0\x01\0\x01\x01\x00", &into, limits::COMPILE_WALL).await.unwrap_err();
        assert!(matches!(&error, CompileError::Invalid(said) if said.contains("unexpected end")), "{error:?}");
        assert!(!into.exists());
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_is_not_the_components_fault() {
        let error = compile(b"\0asm\x0d\0\x01\0", Path::new("/dev/full"), limits::COMPILE_WALL).await.unwrap_err();
        assert!(matches!(&error, CompileError::Io(said) if said.contains("`/dev/full`")), "{error:?}");
    }

    #[tokio::test]
    async fn an_empty_component_compiles() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("x.cwasm");
        compile(b"\0asm\x0d\0\x01\0", &into, limits::COMPILE_WALL).await.unwrap();
        assert!(into.metadata().unwrap().len() > 0);
    }
}
