//! The structure of the source: what a module may know of the others.
#![allow(clippy::unwrap_used, reason = "a failed check of the source may panic")]

use std::{fs, path::Path};

/// The modules that own state, each its own.
const MACHINES: [&str; 6] = ["agenda", "catalog", "commits", "delivery", "planner", "runs"];
/// The fields of the scheduler: its machines, and what concerns all of them.
const FIELDS: usize = 12;

/// Returns the code of a module and its submodules, without comments.
fn code_of(module: &str) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![src.join(format!("{module}.rs"))];
    if let Ok(folder) = fs::read_dir(src.join(module)) {
        files.extend(folder.map(|entry| entry.unwrap().path()));
    }
    let texts = files.iter().filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap());
    let code =
        |text: String| text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    texts.map(code).collect()
}

#[test]
fn no_machine_names_another_one_or_the_scheduler() {
    for machine in MACHINES {
        let code = code_of(machine);
        for other in MACHINES.into_iter().chain(["scheduler"]).filter(|other| *other != machine) {
            let path = format!("{other}::");
            let is_named = code
                .match_indices(&path)
                .any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'));
            assert!(!is_named, "`{machine}` names `{path}`: let it return a value, and `scheduler` pass that on");
        }
    }
}

#[test]
fn the_scheduler_is_made_of_machines() {
    let code = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scheduler/state.rs")).unwrap();
    let (_, rest) = code.split_once("pub struct Scheduler {").unwrap();
    let (fields, _) = rest.split_once("\n}").unwrap();
    let count = fields.lines().filter(|line| !line.trim_start().starts_with("//") && line.contains(": ")).count();
    assert!((MACHINES.len()..=FIELDS).contains(&count), "{count} fields: does one of them belong to a machine?");
}
