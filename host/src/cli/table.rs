//! Tables as text.

use chrono::{DateTime, FixedOffset};
use roost_scheduler::text::in_one_line;

/// Characters of a cell at the most: more than the longest name of a run. Another version may have stored longer ones.
const CELL: usize = 300;
/// Characters of the last cell of a row, which may hold sentences.
const LAST_CELL: usize = 5_000;

/// Formats a table with columns as wide as their longest cell. Cells are escaped to one printable line each, and
/// truncated. Without rows the table is empty.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells = |row: &[String; N]| -> [String; N] { std::array::from_fn(|at| cell(&row[at], at + 1 == N)) };
    let all: Vec<[String; N]> = [&head.map(str::to_owned)].into_iter().chain(rows).map(cells).collect();
    let width = |at: usize| all.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut table = String::new();
    for row in &all {
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            table.push_str(cell);
            let is_followed = row[at + 1..].iter().any(|cell| !cell.is_empty());
            let padding = if is_followed { width + 2 - cell.chars().count() } else { 0 };
            table.extend(std::iter::repeat_n(' ', padding));
        }
        table.truncate(table.trim_end_matches(' ').len());
        table.push('\n');
    }
    table
}

fn cell(text: &str, is_last: bool) -> String {
    let most = if is_last { LAST_CELL } else { CELL };
    let mut cell = in_one_line(text.get(..text.floor_char_boundary(4 * most)).unwrap_or_default());
    if let Some((end, _)) = cell.char_indices().nth(most) {
        cell.truncate(end);
        cell.push('…');
    }
    cell
}

/// The times of a table. If they all have the same UTC offset, the heading shows it once.
pub(super) struct Times {
    offset: Option<FixedOffset>,
}

impl Times {
    /// Finds the common offset of RFC 3339 times.
    pub(super) fn new<'t>(times: impl IntoIterator<Item = &'t str>) -> Self {
        let times = times.into_iter().filter_map(|at| DateTime::parse_from_rfc3339(at).ok());
        let mut offsets = times.map(|at| *at.offset());
        let first = offsets.next();
        Self { offset: first.filter(|first| offsets.all(|offset| offset == *first)) }
    }

    /// Returns the heading of the column, such as `TIME (+01:00)`.
    pub(super) fn heading(&self, name: &str) -> String {
        self.offset.map_or_else(|| name.to_owned(), |offset| format!("{name} ({offset})"))
    }

    /// Formats a time, such as `2027-03-01 06:30:00`, followed by its offset unless the heading shows that.
    pub(super) fn format(&self, at: &str) -> String {
        match DateTime::parse_from_rfc3339(at) {
            Ok(at) if self.offset == Some(*at.offset()) => at.format("%Y-%m-%d %H:%M:%S").to_string(),
            _ => local(at),
        }
    }
}

/// Formats an RFC 3339 time, such as `2027-03-01 06:30:00 +00:00`.
pub(super) fn local(at: &str) -> String {
    match DateTime::parse_from_rfc3339(at) {
        Ok(at) => at.format("%Y-%m-%d %H:%M:%S %:z").to_string(),
        Err(_) => at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_offset_is_shown_once_and_different_ones_with_each_time() {
        let (winter, summer) = ("2027-03-01T06:30:00Z", "2027-07-01T06:30:00.250+01:00");
        let times = Times::new([summer, "2027-07-02T00:00:00+01:00"]);
        assert_eq!(
            (times.heading("TIME").as_str(), times.format(summer).as_str()),
            ("TIME (+01:00)", "2027-07-01 06:30:00")
        );
        assert_eq!(times.format(winter), "2027-03-01 06:30:00 +00:00");
        let times = Times::new([winter, summer]);
        assert_eq!(
            (times.heading("TIME").as_str(), times.format(summer).as_str()),
            ("TIME", "2027-07-01 06:30:00 +01:00")
        );
        assert_eq!(Times::new([]).heading("TIME"), "TIME");
    }

    #[test]
    fn long_cells_are_truncated_and_line_breaks_are_escaped() {
        let (long, forged) = ("x".repeat(5 << 20), "a\nerror: b\u{202e}\u{1b}[2J".to_owned());
        let rows = [[long.clone(), "b".into(), long], ["a".into(), forged, String::new()]];
        let table = table(["ONE", "TWO", "THREE"], &rows);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert_eq!(lines[1].chars().count(), CELL + 1 + 2 + 28 + 2 + LAST_CELL + 1, "{}", lines[1].len());
        assert_eq!(lines[2].trim_start_matches('a').trim_start(), "a\\nerror: b\\u{202e}\\u{1b}[2J");
    }
}
