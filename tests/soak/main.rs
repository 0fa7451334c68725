//! The soak test (`make soak`): a host is killed repeatedly under load, with a broker that stays and a subscriber that
//! records everything. Then the messages are compared with the database: nothing may be lost, and nothing may be
//! repeated except steps that were not on disk when the host was killed.
//!
//! `ROUNDS=n` sets the number of kills, `SEED=n` repeats their moments. The host's timing depends on the machine. `KEEP=1`
//! keeps the folder with the database, the hosts' logs and the messages if there are faults.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table and the faults are its output")]

mod disk;
mod ends;
mod history;
mod judge;
mod load;
mod record;
#[allow(dead_code, reason = "the simulation uses all of it")]
#[path = "../../host/scheduler/tests/simulation/rng.rs"]
mod rng;
mod story;

use std::{collections::BTreeSet, env, fs, hash::BuildHasher, process::ExitCode};

use history::History;
use judge::Verdict;
use record::Record;
use rng::Rng;
use roost_tests::Site;

/// How many faults are printed, because they may have one cause.
const PRINTED: usize = 40;

fn main() -> ExitCode {
    let rounds = number("ROUNDS").unwrap_or(20);
    let seed = number("SEED").unwrap_or_else(|| std::hash::RandomState::new().hash_one("seed") >> 32);
    eprintln!("soak: {rounds} rounds, SEED={seed}");
    let site = Site::new();
    let history = history::live(Rng::new(seed), rounds, &site);
    let record = Record::of(&history);
    let verdict = judge::judge(&history, &record);
    print!("{}", table(rounds, history.kills.len(), &verdict));
    if verdict.faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    let mut printed = BTreeSet::new();
    for fault in verdict.faults.iter().take(PRINTED) {
        eprintln!("{fault}");
        if let Some(due) = fault.due.as_ref().filter(|due| printed.insert((*due).clone())) {
            eprint!("{}", story::story(&history, &record, due));
        }
    }
    eprintln!("{} faults; the same moments again: make soak ROUNDS={rounds} SEED={seed}", verdict.faults.len());
    if env::var_os("KEEP").is_some() {
        keep(site, &history);
    }
    ExitCode::FAILURE
}

/// Keeps the folder, with the messages in it.
fn keep(site: Site, history: &History) {
    let line = |received: &history::Received| {
        let history::Received { place, host, message } = received;
        format!("{place}\t{host}\t{}\t{}\t{}\t{}\n", message.at, message.topic, message.payload, message.properties)
    };
    let lines: String = history.messages.iter().map(line).collect();
    fs::write(site.path().join("messages.txt"), lines).expect("a file");
    eprintln!("database, logs and messages are kept in {}", site.keep().display());
}

fn table(rounds: u64, kills: usize, verdict: &Verdict) -> String {
    let rows = [
        ("rounds", rounds.to_string()),
        ("kills", kills.to_string()),
        ("runs", verdict.runs.to_string()),
        ("messages", verdict.messages.to_string()),
        ("lost", verdict.lost.to_string()),
        ("repeated", verdict.repeated.to_string()),
        ("  from a message to the kill, at most", format!("{:.0} ms", verdict.longest_s * 1_000.0)),
        ("  unexplained", verdict.unexplained.to_string()),
        ("  although marked `once`", verdict.once_repeated.to_string()),
        ("occurrences with two runs", verdict.doubled.to_string()),
        ("steps after a later one, or a newer run", verdict.backward.to_string()),
        ("faults", verdict.faults.len().to_string()),
    ];
    rows.map(|(what, figure)| format!("{what:40}{figure:>10}\n")).concat()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}
