//! Reads durations from the host's log at the level `debug`.

use std::{thread, time::Duration};

use roost_tests::Roost;

use crate::clock::{ms_between, now_ns};

/// The time limit for a thousand lines: much longer than they take.
const PATIENCE_MS: f64 = 600_000.0;

/// Returns the durations in milliseconds of lines such as `… DEBUG committed changes=3 took=1.2ms`.
pub(crate) fn took_ms(lines: &[String], done: &str) -> Vec<f64> {
    let done = format!(" {done} ");
    lines
        .iter()
        .filter(|line| line.contains(&done))
        .filter_map(|line| milliseconds(line.split_once("took=")?.1))
        .collect()
}

/// Parses text such as `1.2ms`.
fn milliseconds(text: &str) -> Option<f64> {
    let text = text.split_whitespace().next()?;
    let (number, unit) = text.split_at(text.find(|c: char| c != '.' && !c.is_ascii_digit())?);
    let factor = match unit {
        "ns" => 1e-6,
        "µs" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Waits until `count` lines after the first `from` contain a text.
pub(crate) fn wait_for_lines(host: &Roost, from: usize, text: &str, count: usize) {
    let (mut seen, mut found) = (from, 0);
    let begun = now_ns();
    while found < count {
        let lines = host.log.after(seen);
        seen += lines.len();
        found += lines.iter().filter(|line| line.contains(text)).count();
        assert!(ms_between(begun, now_ns()) < PATIENCE_MS, "{found} of {count} lines contain `{text}`");
        thread::sleep(Duration::from_millis(5));
    }
}
