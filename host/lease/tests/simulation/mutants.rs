//! Mutation tests (`make mutants`): the histories run once for each mutation of the lease, and must fail each time. A
//! mutation that passes unnoticed is a gap in the checker, or a line without effect.
//!
//! `ONLY=word` selects mutations by name, `HISTORIES=n` sets the number of histories for each.
#![allow(clippy::print_stdout, reason = "the table is its output")]

use std::{env, panic};

use roost_lease::mutants::{Mutation, mutate};

use crate::histories::{first_failure, number};

/// The number of histories for each mutation, if none of them is noticed before.
const HISTORIES: u64 = 50_000;

#[test]
fn every_mutation_is_noticed() {
    // The panics are the result.
    panic::set_hook(Box::new(|_| {}));
    let only = env::var("ONLY").unwrap_or_default().to_lowercase();
    let selected = Mutation::ALL.iter().filter(|mutation| format!("{mutation:?}").to_lowercase().contains(&only));
    let mut survivors = Vec::new();
    for mutation in selected {
        mutate(Some(*mutation));
        let failure = first_failure(0..number("HISTORIES").unwrap_or(HISTORIES));
        let Some((seed, text)) = failure else {
            println!("{:26}NOT NOTICED, it breaks: {}", format!("{mutation:?}"), mutation.breaks().trim());
            survivors.push(*mutation);
            continue;
        };
        let line = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
        println!("{:26}noticed by history {seed}: {line}", format!("{mutation:?}"));
    }
    mutate(None);
    let _ = panic::take_hook();
    assert_eq!(survivors, [], "mutations that were not noticed");
}
