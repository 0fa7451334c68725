//! Tables as text.

use std::iter;

use chrono::{DateTime, FixedOffset, NaiveDate, Timelike as _};
use roost_scheduler::{text::in_one_line, time::Instant};

/// Characters of a cell at the most: more than the longest name of a run. Another version may have stored longer ones.
const CELL: usize = 300;
/// Characters of the last cell of a row, which may hold sentences.
const LAST_CELL: usize = 5_000;
/// Spaces between two columns.
const GAP: usize = 2;
/// Spaces before the columns that continue on another line.
const INDENT: usize = 4;
/// The last column continues on another line rather than be narrower than this.
const LAST_COLUMN: usize = 24;

/// Formats a table with columns as wide as their longest cell. Columns that do not fit continue on another line, and
/// the last one is wrapped between words. Cells are escaped to one printable line each, and truncated. Without rows the
/// table is empty. `width` is that of the terminal; a row that is not for one is a line.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], width: Option<usize>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells = |row: &[String; N]| -> [String; N] { std::array::from_fn(|at| cell(&row[at], at + 1 == N)) };
    let all: Vec<[String; N]> = [&head.map(str::to_owned)].into_iter().chain(rows).map(cells).collect();
    let longest = |at: usize| all.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
    let width = width.unwrap_or(usize::MAX);
    let places = place(std::array::from_fn(longest), width);
    let lines = all.iter().flat_map(|row| lines(row, &places, width));
    lines.map(|line| line + "\n").collect()
}

/// Where a column is: the line of its row, and the column of the terminal.
#[derive(Clone, Copy)]
struct Place {
    line: usize,
    start: usize,
}

/// Places columns of these widths beside one another, and those that do not fit on further lines.
fn place<const N: usize>(widths: [usize; N], most: usize) -> [Place; N] {
    let (mut line, mut start) = (0, 0);
    std::array::from_fn(|at| {
        let width = if at + 1 == N { widths[at].min(LAST_COLUMN) } else { widths[at] };
        if start > INDENT && start.saturating_add(width) > most {
            (line, start) = (line + 1, INDENT);
        }
        let place = Place { line, start };
        start += widths[at] + GAP;
        place
    })
}

/// Returns the lines of a row. Lines without text are left out.
fn lines<const N: usize>(row: &[String; N], places: &[Place; N], width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for (at, (cell, Place { line, start })) in row.iter().zip(places).enumerate() {
        if *line >= lines.len() {
            lines.push(String::new());
        }
        let room = if at + 1 == N { width.saturating_sub(*start).max(LAST_COLUMN) } else { usize::MAX };
        for (number, part) in wrap(cell, room).into_iter().enumerate() {
            if number > 0 {
                lines.push(String::new());
            }
            let Some(line) = lines.last_mut().filter(|_| !part.is_empty()) else { continue };
            let padding = start.saturating_sub(line.chars().count());
            line.extend(iter::repeat_n(' ', padding));
            line.push_str(part);
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// Breaks a text at spaces into parts of at most `room` characters; a longer word is a part of its own.
fn wrap(text: &str, room: usize) -> Vec<&str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((end, _)) = rest.char_indices().nth(room) {
        let end = if rest[end..].starts_with(' ') { end + 1 } else { end };
        let Some(space) = rest[..end].rfind(' ').or_else(|| rest.find(' ')) else { break };
        parts.push(rest[..space].trim_end());
        rest = rest[space..].trim_start();
    }
    parts.push(rest);
    parts
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

/// The times of a table. What they share is left out of the rows: the offset of the first from UTC, which the heading
/// shows, the date if all are of today, and the seconds if all are 0.
pub(super) struct Times {
    offset: Option<FixedOffset>,
    /// Today, if all times are of today.
    today: Option<NaiveDate>,
    time: &'static str,
}

impl Times {
    /// Finds what RFC 3339 times share.
    pub(super) fn new<'t>(times: impl IntoIterator<Item = &'t str>, now: Instant) -> Self {
        let times = times.into_iter().filter_map(|at| DateTime::parse_from_rfc3339(at).ok());
        let times: Vec<DateTime<FixedOffset>> = times.collect();
        let offset = times.first().map(|at| *at.offset());
        let today = offset.map(|offset| now.to_utc().with_timezone(&offset).date_naive());
        let is_today = |at: &DateTime<FixedOffset>| offset == Some(*at.offset()) && today == Some(at.date_naive());
        let today = today.filter(|_| times.iter().all(is_today));
        let time = if times.iter().all(|at| at.second() == 0) { "%H:%M" } else { "%H:%M:%S" };
        Self { offset, today, time }
    }

    /// Returns the heading of the column, such as `TIME (+01:00)`.
    pub(super) fn heading(&self, name: &str) -> String {
        self.offset.map_or_else(|| name.to_owned(), |offset| format!("{name} ({offset})"))
    }

    /// Formats one of the times, such as `06:30`, `2027-03-01 06:30`, or `2027-03-01 06:30 +01:00` if the heading shows
    /// another offset.
    pub(super) fn format(&self, at: &str) -> String {
        let Ok(local) = DateTime::parse_from_rfc3339(at) else { return at.to_owned() };
        let date = if self.today == Some(local.date_naive()) { "" } else { "%Y-%m-%d " };
        let offset = if self.offset == Some(*local.offset()) { "" } else { " %:z" };
        local.format(&format!("{date}{}{offset}", self.time)).to_string()
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

    fn at(text: &str) -> Instant {
        DateTime::parse_from_rfc3339(text).unwrap().into()
    }

    #[test]
    fn the_offset_of_the_first_time_is_shown_once_and_others_with_their_times() {
        let (winter, summer) = ("2027-03-01T06:30:00Z", "2027-07-01T06:30:00.250+01:00");
        let now = at("2027-08-01T00:00:00Z");
        let times = Times::new([summer, "2027-07-02T00:00:05+01:00"], now);
        assert_eq!(
            (times.heading("TIME").as_str(), times.format(summer).as_str()),
            ("TIME (+01:00)", "2027-07-01 06:30:00")
        );
        let times = Times::new([winter, summer], now);
        assert_eq!(times.heading("TIME"), "TIME (+00:00)");
        assert_eq!([winter, summer].map(|at| times.format(at)), ["2027-03-01 06:30", "2027-07-01 06:30 +01:00"]);
        assert_eq!(Times::new([], now).heading("TIME"), "TIME");
    }

    #[test]
    fn the_date_is_shown_unless_all_times_are_of_today_where_they_are() {
        let (morning, evening) = ("2027-07-01T06:30:00+12:00", "2027-07-01T21:05:00+12:00");
        let shown = |now| Times::new([morning, evening], at(now)).format(evening);
        assert_eq!(shown("2027-06-30T12:00:00Z"), "21:05", "it is the first of July there");
        assert_eq!(shown("2027-07-01T12:00:00Z"), "2027-07-01 21:05", "it is the second of July there");
        let times = Times::new([morning, "2027-07-02T00:00:00+12:00"], at("2027-06-30T12:00:00Z"));
        assert_eq!(times.format(morning), "2027-07-01 06:30");
        let times = Times::new([morning, "2027-07-01T21:05:09+12:00"], at("2027-06-30T12:00:00Z"));
        assert_eq!(times.format(morning), "06:30:00");
    }

    #[test]
    fn what_does_not_fit_the_terminal_continues_on_another_line() {
        let rows = [
            ["06:30".into(), "coop/north/open".into(), "the broker refused the message, and gave no reason".to_owned()],
            ["07:00".into(), "coop/south/open".into(), String::new()],
        ];
        let at = |width| table(["TIME", "JOB", "REASON"], &rows, width);
        assert_eq!(
            at(Some(50)),
            "\
TIME   JOB              REASON
06:30  coop/north/open  the broker refused the
                        message, and gave no
                        reason
07:00  coop/south/open
"
        );
        assert_eq!(
            at(Some(40)),
            "\
TIME   JOB
    REASON
06:30  coop/north/open
    the broker refused the message, and
    gave no reason
07:00  coop/south/open
"
        );
        assert!(at(Some(80)).lines().all(|line| line.chars().count() <= 80), "{}", at(Some(80)));
        assert_eq!(at(None).lines().count(), 3);
    }

    #[test]
    fn a_text_is_broken_between_words_only() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 13), ["one two three"]);
        assert_eq!(wrap("ein/sehr/langes/thema OPEN  now", 10), ["ein/sehr/langes/thema", "OPEN  now"]);
        assert_eq!(wrap("", 10), [""]);
    }

    #[test]
    fn long_cells_are_truncated_and_line_breaks_are_escaped() {
        let (long, forged) = ("x".repeat(5 << 20), "a\nerror: b\u{202e}\u{1b}[2J".to_owned());
        let rows = [[long.clone(), "b".into(), long], ["a".into(), forged, String::new()]];
        let table = table(["ONE", "TWO", "THREE"], &rows, None);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert_eq!(lines[1].chars().count(), CELL + 1 + 2 + 28 + 2 + LAST_CELL + 1, "{}", lines[1].len());
        assert_eq!(lines[2].trim_start_matches('a').trim_start(), "a\\nerror: b\\u{202e}\\u{1b}[2J");
    }
}
