//! Mutation tests (`make mutants`): the core is broken on purpose, one line at a time, in a copy below
//! `target/mutants`, and the simulation must fail each time, its histories first. A fault that passes unnoticed is a
//! gap in the checker, or a line without effect.
//!
//! `ONLY=word` selects faults by name, `HISTORIES=n` sets the number of random histories for each, besides the fixed
//! ones.
#![allow(clippy::print_stdout, reason = "the table is its output")]

mod faults;
mod runner;

use std::{env, process::ExitCode};

use faults::{FAULTS, Fault};
use runner::{MutationRunner, Noticed};

/// The number of random histories for each fault.
const HISTORIES: u64 = 1_000;

fn main() -> ExitCode {
    let only = env::var("ONLY").unwrap_or_default();
    let histories = env::var("HISTORIES").map_or(HISTORIES, |text| text.parse().expect("a whole number"));
    let runner = MutationRunner::new(histories);
    let missing: Vec<String> = FAULTS.iter().filter_map(|fault| runner.find(fault).err()).collect();
    if !missing.is_empty() {
        println!("{}", missing.join("\n"));
        return ExitCode::FAILURE;
    }
    if let noticed @ (Noticed::By(_) | Noticed::Broken(_)) = runner.run_all() {
        println!("{:46}{}", "the unchanged core", describe(&noticed));
        return ExitCode::FAILURE;
    }
    let picked: Vec<&Fault> = FAULTS.iter().filter(|fault| fault.name.contains(&only)).collect();
    let mut survivors = 0;
    for fault in &picked {
        let noticed = runner.run_with(fault);
        println!("{:46}{}", fault.name, describe(&noticed));
        if matches!(noticed, Noticed::Not | Noticed::Broken(_)) {
            println!("{:46}it breaks: {}", "", fault.breaks);
            survivors += 1;
        }
    }
    println!("{} faults, {survivors} not noticed", picked.len());
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn describe(noticed: &Noticed) -> String {
    match noticed {
        Noticed::By(what) => format!("noticed: {what}"),
        Noticed::Looping => "noticed: it does not end".into(),
        Noticed::Not => "NOT NOTICED".into(),
        Noticed::Broken(what) => format!("DOES NOT COMPILE\n{what}"),
    }
}
