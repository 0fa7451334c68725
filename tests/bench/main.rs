//! The benchmarks (`make bench`). They drive the real binary from outside; only the scheduler is called directly.
//!
//! `--only WORD` selects groups, `--base FILE` compares with an earlier run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the tables and the progress are its output")]

mod api;
mod clock;
mod components;
mod devices;
mod disk;
mod end_to_end;
mod home_assistant;
mod hostile;
mod hosts;
mod idle;
mod loading;
mod log;
mod million;
mod process;
mod publisher;
mod scheduler;
mod subscriber;
mod thousand;
mod ticks;
mod work;

use std::{fs, path::PathBuf};

use roost_tests::figure::{Base, Figure, table, to_json};

/// Figures that are measured together.
struct Group {
    /// The word that selects it.
    word: &'static str,
    /// The title of its table.
    title: &'static str,
    measure: fn() -> Vec<Figure>,
}

/// All groups. The scheduler is first, because its memory is measured in this process, which is still small then.
const GROUPS: [Group; 16] = [
    Group { word: "scheduler", title: "The scheduler alone, 1,000,000 jobs", measure: scheduler::scheduler },
    Group { word: "burst", title: "Jobs due at one instant", measure: end_to_end::burst },
    Group { word: "lateness", title: "500 jobs a second", measure: end_to_end::lateness_at_500 },
    Group { word: "api", title: "200 event streams and 500 requests a second", measure: api::programs },
    Group { word: "page", title: "20 open pages", measure: api::pages },
    Group { word: "disk", title: "100 runs a second: the disk", measure: disk::disk },
    Group { word: "million", title: "1,000,000 jobs that wait", measure: million::million },
    Group { word: "samples", title: "Loading the samples", measure: loading::samples },
    Group { word: "drop", title: "Dropping a plugin in", measure: loading::dropped },
    Group { word: "thousand", title: "1,000 distinct plugins", measure: thousand::thousand },
    Group { word: "devices", title: "10,000 devices of one plugin", measure: devices::devices },
    Group {
        word: "home-assistant",
        title: "1,000 devices in Home Assistant",
        measure: home_assistant::thousand_described,
    },
    Group { word: "hostile", title: "Beside everything hostile", measure: hostile::beside_hostile },
    Group { word: "hosts", title: "A host with PostgreSQL, and a standby", measure: hosts::owner },
    Group { word: "takeover", title: "Until a standby works", measure: hosts::takeover },
    Group { word: "idle", title: "Idle, with the samples", measure: idle::idle },
];

fn main() {
    let Arguments { only, base } = Arguments::parse();
    let base = base.map(|path| {
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
        Base::read(&text).unwrap_or_else(|| panic!("{} is not the result of an earlier run", path.display()))
    });
    let picked = |group: &&Group| only.is_empty() || only.iter().any(|word| word == group.word);
    let mut measured = Vec::new();
    for group in GROUPS.iter().filter(picked) {
        let begun = clock::now_ns();
        eprint!("{} …", group.word);
        let figures = (group.measure)();
        eprintln!(" {:.0} s", clock::ms_between(begun, clock::now_ns()) / 1e3);
        println!("{}", table(group.title, &figures, base.as_ref()));
        measured.push((group.title, figures));
    }
    let all = measured.iter().flat_map(|(title, figures)| figures.iter().map(|figure| (*title, figure)));
    let path = roost_tests::root().join("target/bench.json");
    fs::write(&path, to_json(all)).unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
}

/// The arguments of the command line.
struct Arguments {
    /// The words of the selected groups; empty for all.
    only: Vec<String>,
    /// The result of an earlier run.
    base: Option<PathBuf>,
}

impl Arguments {
    fn parse() -> Self {
        let words: Vec<&str> = GROUPS.iter().map(|group| group.word).collect();
        let mut parsed = Self { only: Vec::new(), base: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--only" => {
                    let list = arguments.next().unwrap_or_default();
                    parsed.only.extend(list.split(',').map(str::to_owned));
                }
                "--base" => parsed.base = arguments.next().map(PathBuf::from),
                // Cargo passes it to every benchmark.
                "--bench" => {}
                other => panic!("`{other}` is not known here: write `--only {}` or `--base FILE`", words.join(",")),
            }
        }
        if let Some(word) = parsed.only.iter().find(|word| !words.contains(&word.as_str())) {
            panic!("there is no group `{word}`: there are {}", words.join(", "));
        }
        parsed
    }
}
