//! Tables for people.

use chrono::DateTime;

/// Columns as wide as what is in them; the last one as long as it is. Empty without rows.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = head.map(str::to_owned);
    let width = |row: &[String; N], at: usize| row[at].chars().count();
    let all = || [&head].into_iter().chain(rows);
    let widths: [usize; N] = std::array::from_fn(|at| all().map(|row| width(row, at)).max().unwrap_or_default());
    let mut table = String::new();
    for row in all() {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        table.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        table.push('\n');
    }
    table
}

/// `2027-03-01 06:30:00 +00:00`, of RFC 3339.
pub(super) fn local(at: &str) -> String {
    match DateTime::parse_from_rfc3339(at) {
        Ok(at) => at.format("%Y-%m-%d %H:%M:%S %:z").to_string(),
        Err(_) => at.to_owned(),
    }
}
