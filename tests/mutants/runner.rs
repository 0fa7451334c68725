//! Runs the simulation with a copy of the core that may be broken.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::faults::Fault;

/// The folder that is copied, below the project's root.
const CORE: &str = "host/scheduler";
/// The time limit of the histories: much longer than they take.
const PATIENCE: Duration = Duration::from_secs(300);
/// The limit of address space in KiB, because a fault may allocate without end.
const MEMORY_KIB: u64 = 8 * 1024 * 1024;
/// The begin of the line that a failed history prints.
const FOUND: &str = "reproduce: ";

/// A copy of the core, and the number of histories to run with it.
pub(crate) struct MutationRunner {
    copy: PathBuf,
    histories: u64,
}

/// The result of the simulation.
pub(crate) enum Noticed {
    /// It failed, with the checker's message.
    By(String),
    /// It did not end in time.
    Looping,
    /// It passed.
    Not,
    /// The core does not compile.
    Broken(String),
}

impl MutationRunner {
    pub(crate) fn new(histories: u64) -> Self {
        let root = roost_tests::root();
        let runner = Self { copy: root.join("target/mutants"), histories };
        copy_folder(&root.join(CORE), &runner.copy.join(CORE));
        let whole = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace's manifest");
        let members = |line: &str| match line.split_once(" = ") {
            Some((key @ ("members" | "default-members"), _)) => format!("{key} = [\"{CORE}\"]\n"),
            _ => format!("{line}\n"),
        };
        write(&runner.copy.join("Cargo.toml"), &whole.lines().map(members).collect::<String>());
        fs::copy(root.join("Cargo.lock"), runner.copy.join("Cargo.lock")).expect("the workspace's lock file");
        runner
    }

    /// Returns the contents of the file with the fault.
    ///
    /// # Errors
    /// If the text to replace is not there exactly once.
    pub(crate) fn find(&self, fault: &Fault) -> Result<String, String> {
        let text = fs::read_to_string(self.file(fault)).map_err(|error| format!("{}: {error}", fault.file))?;
        match text.matches(fault.find).count() {
            1 => Ok(text.replacen(fault.find, fault.with, 1)),
            times => {
                Err(format!("`{}`: this is {times} times in {}, not once:\n{}", fault.name, fault.file, fault.find))
            }
        }
    }

    fn file(&self, fault: &Fault) -> PathBuf {
        self.copy.join(CORE).join("src").join(fault.file)
    }

    /// Runs the simulation with a fault in the core.
    pub(crate) fn run_with(&self, fault: &Fault) -> Noticed {
        let sound = fs::read_to_string(self.file(fault)).expect("it was read before");
        let faulty = self.find(fault).expect("it was found before");
        write(&self.file(fault), &faulty);
        let noticed = self.run_all();
        write(&self.file(fault), &sound);
        noticed
    }

    /// Runs the simulation: first its histories, then its other tests.
    pub(crate) fn run_all(&self) -> Noticed {
        let built = self.cargo("--no-run", "").output().expect("cargo runs");
        if !built.status.success() {
            return Noticed::Broken(String::from_utf8_lossy(&built.stdout).into_owned());
        }
        match self.run("histories --nocapture") {
            // A scenario may notice a fault that no history does.
            Noticed::Not => self.run("--skip histories --nocapture"),
            noticed => noticed,
        }
    }

    fn cargo(&self, before: &str, after: &str) -> Command {
        let line = format!(
            "ulimit -v {MEMORY_KIB}; exec cargo test --quiet --profile sim -p roost-scheduler --test simulation {before} -- {after} 2>&1"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(&self.copy).process_group(0);
        command.env("CARGO_TARGET_DIR", self.copy.join("target")).env_remove("SEED");
        command.env("HISTORIES", self.histories.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs some tests of the simulation until they have ended or one has failed.
    #[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
    fn run(&self, tests: &str) -> Noticed {
        let mut process = self.cargo("", tests).spawn().expect("it was built");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let until = Instant::now() + PATIENCE;
        let (mut message, mut is_next) = (None, false);
        let noticed = loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(FOUND) => {
                    break Noticed::By(format!("{} ({line})", message.take().unwrap_or_default()));
                }
                Ok(line) => {
                    if is_next && message.is_none() {
                        message = Some(line.chars().take(100).collect::<String>());
                    }
                    is_next = line.contains("panicked at");
                }
                Err(RecvTimeoutError::Timeout) => break Noticed::Looping,
                Err(RecvTimeoutError::Disconnected) => break Noticed::Not,
            }
        };
        if !matches!(noticed, Noticed::Not) {
            let _ = kill_process_group(Pid::from_child(&process), Signal::KILL);
        }
        let status = process.wait().expect("it was started");
        match noticed {
            Noticed::Not if !status.success() => {
                Noticed::By(message.unwrap_or_else(|| format!("it ends with {status}")))
            }
            noticed => noticed,
        }
    }
}

/// Copies a folder. Unchanged files are left alone, so that nothing is rebuilt for them.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder below target/");
    for entry in fs::read_dir(from).expect("the core is there") {
        let path = entry.expect("it can be listed").path();
        let there = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy_folder(&path, &there);
        } else if let Ok(text) = fs::read_to_string(&path) {
            write(&there, &text);
        }
    }
}

fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return;
    }
    fs::write(path, text).expect("a file below target/");
}
