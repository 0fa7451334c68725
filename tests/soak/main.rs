//! A host that is killed again and again while it works, with a broker that stays and somebody who hears everything:
//! `make soak`. Then what was heard is compared with what the database says: nothing may be lost, and nothing may come
//! twice but what was not on disk when the host was killed.
//!
//! `ROUNDS=n` says how often, `SEED=n` repeats the moments. What the host does in them is up to the machine.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its table is for people, and so are the faults")]

mod disk;
mod ends;
mod history;
mod judge;
mod load;
#[path = "../../host/scheduler/tests/simulation/rng.rs"]
mod rng;

use std::{env, hash::BuildHasher, process::ExitCode};

use judge::Verdict;
use rng::Dice;

/// How many faults are told; there may be one behind all of them.
const TOLD: usize = 40;

fn main() -> ExitCode {
    let rounds = number("ROUNDS").unwrap_or(20);
    let seed = number("SEED").unwrap_or_else(|| std::hash::RandomState::new().hash_one("seed") >> 32);
    eprintln!("soak: {rounds} rounds, SEED={seed}");
    let history = history::live(Dice(seed), rounds);
    let verdict = judge::judge(&history);
    print!("{}", table(rounds, history.kills.len(), &verdict));
    if verdict.faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    for fault in verdict.faults.iter().take(TOLD) {
        eprintln!("{fault}");
    }
    let kills: Vec<String> = history.kills.iter().map(|kill| format!("{:.3}", kill.at)).collect();
    eprintln!("{} faults; the host was killed at {}", verdict.faults.len(), kills.join(", "));
    eprintln!("the same moments again: make soak ROUNDS={rounds} SEED={seed}");
    ExitCode::FAILURE
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
        ("  though they say `once`", verdict.once_repeated.to_string()),
        ("occurrences with two runs", verdict.doubled.to_string()),
        ("steps after a later one", verdict.backward.to_string()),
        ("faults", verdict.faults.len().to_string()),
    ];
    rows.map(|(what, figure)| format!("{what:40}{figure:>10}\n")).concat()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}
