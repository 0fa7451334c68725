//! Does anybody notice? The core is broken on purpose, one line at a time, in a copy of its own below `target/mutants`, and
//! the simulation must fail each time, its histories first of all: `make mutants`. A fault that survives is a hole in the
//! witness, or a line that nothing needs.
//!
//! `ONLY=word` picks faults by their names, `HISTORIES=n` says how many each has to get past (besides those that are the
//! same as always).
#![allow(clippy::print_stdout, reason = "its table is for people")]

mod faults;
mod runner;

use std::{env, process::ExitCode};

use faults::{FAULTS, Fault};
use runner::{MutationRunner, Noticed};

/// How many histories nobody has seen a fault has to get past.
const HISTORIES: u64 = 1_000;

fn main() -> ExitCode {
    let only = env::var("ONLY").unwrap_or_default();
    let histories = env::var("HISTORIES").map_or(HISTORIES, |text| text.parse().expect("a whole number"));
    let workshop = MutationRunner::new(histories);
    let missing: Vec<String> = FAULTS.iter().filter_map(|fault| workshop.find(fault).err()).collect();
    if !missing.is_empty() {
        println!("{}", missing.join("\n"));
        return ExitCode::FAILURE;
    }
    if let noticed @ (Noticed::By(_) | Noticed::Broken(_)) = workshop.rehearse() {
        println!("{:46}{}", "the core as it is", told(&noticed));
        return ExitCode::FAILURE;
    }
    let picked: Vec<&Fault> = FAULTS.iter().filter(|fault| fault.name.contains(&only)).collect();
    let mut survivors = 0;
    for fault in &picked {
        let noticed = workshop.rehearse_with(fault);
        println!("{:46}{}", fault.name, told(&noticed));
        if matches!(noticed, Noticed::Not | Noticed::Broken(_)) {
            println!("{:46}it breaks: {}", "", fault.breaks);
            survivors += 1;
        }
    }
    println!("{} faults, {survivors} not noticed", picked.len());
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(noticed: &Noticed) -> String {
    match noticed {
        Noticed::By(what) => format!("noticed: {what}"),
        Noticed::Looping => "noticed: it does not end".into(),
        Noticed::Not => "NOT NOTICED".into(),
        Noticed::Broken(what) => format!("DOES NOT COMPILE\n{what}"),
    }
}
