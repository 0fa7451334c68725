//! Mutation tests (`make mutants`): the simulation runs once for each mutation of the core, in a process of its own, and
//! must fail each time, its histories first. A mutation that passes unnoticed is a gap in the checker, or a line without
//! effect.
//!
//! `ONLY=word` selects mutations by name, `HISTORIES=n` sets the number of histories for each, besides the fixed ones.
#![allow(clippy::print_stdout, reason = "the table is its output")]

use std::{
    env,
    fmt::{self, Display, Formatter},
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Once,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use roost_scheduler::mutants::{Mutation, mutate};

/// The variable that names the mutation of a process.
const MUTATION: &str = "MUTATION";
/// The number of histories for each mutation.
const HISTORIES: &str = "1000";
/// The first seed: always the same histories, so that the table changes with the code alone.
const FROM: &str = "1000";
/// The time limit of the histories, and of the other tests: much longer than they take.
const TIME_LIMIT: Duration = Duration::from_secs(300);
/// The limit of address space in KiB, because a mutant may allocate without end.
const MEMORY_KIB: u64 = 8 * 1024 * 1024;

/// Mutates the core of this process, if the environment says so.
pub(crate) fn mutate_core() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(name) = env::var(MUTATION) else { return };
        let mutation = Mutation::ALL.iter().find(|mutation| format!("{mutation:?}") == name);
        mutate(*mutation.expect("the name of a mutation"));
    });
}

/// How a mutation was noticed.
enum Noticed {
    /// A check failed, with this message.
    By(String),
    /// The simulation did not end in time.
    Looping,
    /// The simulation passed.
    Not,
}

impl Display for Noticed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::By(what) => write!(f, "noticed: {what}"),
            Self::Looping => f.write_str("noticed: it does not end"),
            Self::Not => f.write_str("NOT NOTICED"),
        }
    }
}

#[test]
fn every_mutation_is_noticed() {
    let sound = simulate(None);
    assert!(matches!(sound, Noticed::Not), "without a mutation: {sound}");
    let only = env::var("ONLY").unwrap_or_default().to_lowercase();
    let is_selected = |mutation: &&Mutation| format!("{mutation:?}").to_lowercase().contains(&only);
    let selected: Vec<Mutation> = Mutation::ALL.iter().filter(is_selected).copied().collect();
    let mut survivors = 0;
    for mutation in &selected {
        let noticed = simulate(Some(*mutation));
        println!("{:30}{noticed}", format!("{mutation:?}"));
        if matches!(noticed, Noticed::Not) {
            println!("{:30}it breaks: {}", "", mutation.breaks().trim());
            survivors += 1;
        }
    }
    println!("{} mutations, {survivors} not noticed", selected.len());
    assert_eq!(survivors, 0, "mutations that were not noticed");
}

/// Runs the simulation with a mutation: first its histories, then its other tests, because a scenario may notice a
/// mutation that no history does.
fn simulate(mutation: Option<Mutation>) -> Noticed {
    match run(mutation, &["histories"]) {
        Noticed::Not => run(mutation, &["--skip", "histories", "--skip", "mutants"]),
        noticed => noticed,
    }
}

/// Runs some tests in a process of their own, until they have ended or one has failed.
fn run(mutation: Option<Mutation>, tests: &[&str]) -> Noticed {
    let mut process = start(mutation, tests);
    let noticed = first_failure(&lines_of(&mut process));
    let _ = process.kill();
    let status = process.wait().expect("it was started");
    match noticed {
        // It may have been killed.
        Noticed::Not if !status.success() => Noticed::By(format!("it ends with {status}")),
        noticed => noticed,
    }
}

fn start(mutation: Option<Mutation>, tests: &[&str]) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\" --nocapture 2>&1")]);
    command.arg(env::current_exe().expect("this program")).args(tests);
    let number = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    command.env("HISTORIES", number("HISTORIES", HISTORIES)).env("FROM", number("FROM", FROM)).env_remove("SEED");
    // A mutant must not write its own texts into the snapshots.
    command.env_remove("UPDATE_EXPECT");
    if let Some(mutation) = mutation {
        command.env(MUTATION, format!("{mutation:?}"));
    }
    command.stdout(Stdio::piped()).spawn().expect("a shell")
}

fn lines_of(process: &mut Child) -> Receiver<String> {
    let output = BufReader::new(process.stdout.take().expect("it is piped"));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

/// Reads the output up to the seed of a history that has failed, or up to the name of another test.
#[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
fn first_failure(lines: &Receiver<String>) -> Noticed {
    let until = Instant::now() + TIME_LIMIT;
    let (mut message, mut is_next) = (String::new(), false);
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) if line.starts_with("reproduce: ") => return Noticed::By(format!("{message} ({line})")),
            Ok(line) if line.ends_with(" ... FAILED") => return Noticed::By(line),
            Ok(line) => {
                if is_next && message.is_empty() {
                    message = line.chars().take(100).collect();
                }
                is_next = line.contains("panicked at");
            }
            Err(RecvTimeoutError::Timeout) => return Noticed::Looping,
            Err(RecvTimeoutError::Disconnected) => return Noticed::Not,
        }
    }
}
