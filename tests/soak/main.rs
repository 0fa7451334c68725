//! The soak test (`make soak`): a host is killed repeatedly under load, with a broker that stays and a subscriber that
//! records everything. Then the messages are compared with the database: nothing may be lost, and nothing may be
//! repeated except steps that were not on disk when the host was killed.
//!
//! `ROUNDS=n` sets the number of kills, `SEED=n` repeats their moments. The host's timing depends on the machine. `KEEP=1`
//! keeps the folder with the database, the hosts' logs and the messages if there are faults.
//!
//! With the argument `hosts` (`make soak-hosts`), three hosts share a database, and everything around them fails as well.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table and the faults are its output")]

mod disk;
mod ends;
mod history;
mod hosts;
mod judge;
mod load;
mod record;
#[allow(dead_code, reason = "the simulation uses all of it")]
#[path = "../../host/scheduler/tests/simulation/rng.rs"]
mod rng;
mod story;

use std::{collections::BTreeSet, env, fs, hash::BuildHasher, process::ExitCode};

use history::History;
use judge::{Fault, Verdict};
use record::Record;
use rng::Rng;
use roost_tests::Site;

/// How many faults are printed, because they may have one cause.
const PRINTED: usize = 40;

fn main() -> ExitCode {
    let rounds = number("ROUNDS").unwrap_or(20);
    let seed = number("SEED").unwrap_or_else(|| std::hash::RandomState::new().hash_one("seed") >> 32);
    eprintln!("soak: {rounds} rounds, SEED={seed}");
    let rng = Rng::new(seed);
    if env::args().any(|argument| argument == "hosts") {
        let folder = Site::new();
        let (history, past) = hosts::live(rng, rounds, folder.path());
        let further = |record: &Record<'_>| hosts::faults(&past, record);
        return conclude(&history, further, folder, &format!("soak-hosts ROUNDS={rounds} SEED={seed}"));
    }
    let site = Site::new();
    let history = history::live(rng, rounds, &site);
    conclude(&history, |_| Vec::new(), site, &format!("soak ROUNDS={rounds} SEED={seed}"))
}

/// Prints the verdict, and the story of each fault.
fn conclude(history: &History, further: impl Fn(&Record<'_>) -> Vec<Fault>, site: Site, again: &str) -> ExitCode {
    let record = Record::of(history);
    let mut verdict = judge::judge(history, &record);
    verdict.faults.extend(further(&record));
    print!("{}", table(history.kills.len(), &verdict));
    if verdict.faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    let mut printed = BTreeSet::new();
    for fault in verdict.faults.iter().take(PRINTED) {
        eprintln!("{fault}");
        if let Some(due) = fault.due.as_ref().filter(|due| printed.insert((*due).clone())) {
            eprint!("{}", story::story(history, &record, due));
        }
    }
    eprintln!("{} faults; the same moments again: make {again}", verdict.faults.len());
    if env::var_os("KEEP").is_some() {
        keep(site, history);
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

fn table(kills: usize, verdict: &Verdict) -> String {
    let rows = [
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
