//! Arbitrary settings are accepted, or refused with the place and the reason.

use proptest::{collection::vec, prelude::*, sample::select};

use super::super::file::File;
use std::path::Path;

/// Lines that are valid in some place.
pub(crate) const LINES: &[&str] = &[
    "time_zone = \"Europe/London\"",
    "latitude = 51.4779",
    "longitude = nan",
    "plugins = \"plugins\"",
    "data = 7",
    "[mqtt]",
    "url = \"mqtts://broker.lan:8883\"",
    "password = \"secret\"",
    "[built_in_broker]",
    "devices = 1883",
    "roost = 70000",
    "[grants.coop-door]",
    "[grants.\"\"]",
    "publish = [\"coop-door/#\", \"+/x\"]",
    "subscribe = []",
    "[[resource]]",
    "[[calendar]]",
    "file = \"holidays.ics\"",
    "dates = [\"2026-12-25\", \"2027-03-26..2027-03-29\"]",
    "name = \"pump\"",
    "capacity = 1",
    "plugins = [\"sprinkler\"]",
    "[rates]",
    "[rates.plugins.sprinkler]",
    "per_second = 10",
    "burst = -1",
    "[guests]",
    "[ceilings]",
    "[limits]",
    "memory_mib = 384",
    "cpu_ms = 1e9",
    "[history]",
    "days = 30",
    "runs = 1000000",
    "[http]",
    "listen = \"127.0.0.1:8080\"",
    "hosts = [\"roost.lan\"]",
    "[log]",
    "level = \"info\"",
    "format = \"json\"",
    "[config]",
    "speed = 3",
    "opens = 06:30:00",
    "day = 2027-02-29",
    "deep = { a = { b = [[[]]] } }",
    "[[device]]",
    "name = \"north\"",
    "config = { speed = 1 }",
    "[device.config]",
    "x = \"\\u0000\\ud800\"",
    "y = \"\"\"",
    "= 1",
    "a.b.c = 0x7fffffffffffffff",
    "\u{feff}",
];

/// Lines in any order, some with other characters put in.
pub(crate) fn texts() -> impl Strategy<Value = String> {
    let odd = (select(LINES), any::<usize>(), any::<char>()).prop_map(|(line, at, char)| {
        let mut chars: Vec<char> = line.chars().collect();
        chars.insert(at % (chars.len() + 1), char);
        chars.into_iter().collect()
    });
    let line = prop_oneof![6 => select(LINES).prop_map(str::to_owned), 2 => odd, 1 => any::<String>()];
    vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn settings_of_the_host_are_accepted_or_refused_with_their_place(text in texts()) {
        if let Err(report) = File::parse(Path::new("roost.toml"), &text) {
            let message = report.to_string();
            prop_assert!(message.contains("roost.toml:"), "{}\n{}", text, message);
            prop_assert!(!message.contains(|char: char| char.is_control() && char != '\n'), "{:?}", message);
        }
    }
}
