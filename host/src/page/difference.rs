//! The difference of two texts, line by line.

use maud::{Markup, html};

use crate::report::printable;

/// Pairs of lines that are compared: more are a second of work, and no person reads them.
const PAIRS: usize = 4_000_000;
/// Lines that are shown.
const LINES: usize = 200;
/// Equal lines that are shown beside those that differ.
const BESIDE: usize = 2;

/// A line of one text or of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'t> {
    Both(&'t str),
    First(&'t str),
    Second(&'t str),
}

/// Shows the lines that only one of two texts has, and some beside them.
pub(super) fn show(first: &str, second: &str) -> Markup {
    let lines = lines(first, second);
    let is_shown = |at: usize| {
        let near = at.saturating_sub(BESIDE)..(at + BESIDE + 1).min(lines.len());
        lines[near].iter().any(|line| !matches!(line, Line::Both(_)))
    };
    let shown: Vec<usize> = (0..lines.len()).filter(|at| is_shown(*at)).collect();
    html! {
        pre.difference {
            @for (index, at) in shown.iter().take(LINES).enumerate() {
                @if *at > 0 && (index == 0 || shown[index - 1] + 1 < *at) { span { "…" } }
                @match lines[*at] {
                    Line::Both(line) => span { "  " (printable(line)) },
                    Line::First(line) => del { "− " (printable(line)) },
                    Line::Second(line) => ins { "+ " (printable(line)) },
                }
            }
            @if shown.len() > LINES { span { "…" } }
        }
    }
}

/// Compares two texts: what they have in common is as long as possible.
fn lines<'t>(first: &'t str, second: &'t str) -> Vec<Line<'t>> {
    let (a, b): (Vec<_>, Vec<_>) = (first.lines().collect(), second.lines().collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - same;
    let same_end = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let (middle_a, middle_b) = (&a[same..a.len() - same_end], &b[same..b.len() - same_end]);
    let both = |lines: &[&'t str]| lines.iter().copied().map(Line::Both).collect::<Vec<_>>();
    [both(&a[..same]), compare(middle_a, middle_b), both(&a[a.len() - same_end..])].concat()
}

/// Finds the longest common sequence of lines by dynamic programming; of too many lines, none.
fn compare<'t>(a: &[&'t str], b: &[&'t str]) -> Vec<Line<'t>> {
    let (mut found, mut i, mut j) = (Vec::with_capacity(a.len() + b.len()), 0, 0);
    if a.len().saturating_mul(b.len()) <= PAIRS {
        let width = b.len() + 1;
        // The length of what the texts have in common from each pair of lines on.
        let mut common = vec![0_u32; (a.len() + 1) * width];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                common[i * width + j] = if a[i] == b[j] {
                    common[(i + 1) * width + j + 1] + 1
                } else {
                    common[(i + 1) * width + j].max(common[i * width + j + 1])
                };
            }
        }
        while i < a.len() && j < b.len() {
            if a[i] == b[j] {
                found.push(Line::Both(a[i]));
                (i, j) = (i + 1, j + 1);
            } else if common[(i + 1) * width + j] >= common[i * width + j + 1] {
                found.push(Line::First(a[i]));
                i += 1;
            } else {
                found.push(Line::Second(b[j]));
                j += 1;
            }
        }
    }
    found.extend(a[i..].iter().copied().map(Line::First));
    found.extend(b[j..].iter().copied().map(Line::Second));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(first: &str, second: &str) -> String {
        let sign = |line: &Line<'_>| match line {
            Line::Both(line) => format!(" {line}"),
            Line::First(line) => format!("-{line}"),
            Line::Second(line) => format!("+{line}"),
        };
        lines(first, second).iter().map(sign).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_both_texts_have_is_found() {
        for (first, second, expected) in [
            ("", "", ""),
            ("a\nb\nc", "a\nb\nc", " a  b  c"),
            ("a\nb\nc", "a\nx\nc", " a -b +x  c"),
            ("a\nb", "a\nb\nb", " a  b +b"),
            ("a\nb\nc\nd", "b\nc\nx\nd\ny", "-a  b  c +x  d +y"),
            ("a\r\nb", "a\nb", " a  b"),
            ("", "a", "+a"),
        ] {
            assert_eq!(written(first, second), expected, "{first:?} {second:?}");
        }
    }

    #[test]
    fn lines_are_text_and_only_those_near_a_difference_are_shown() {
        let equal = (0..9).map(|number| format!("line{number}\n")).collect::<String>();
        let page = show(&format!("{equal}<b>\u{202e}\n"), &equal).into_string();
        assert!(page.contains("<span>…</span><span>  line7</span><span>  line8</span><del>− &lt;b&gt;"), "{page}");
        assert!(!page.contains("line6") && !page.contains('\u{202e}'), "{page}");
    }

    #[test]
    fn texts_of_any_size_are_compared_in_bounded_work_and_shown_in_bounded_length() {
        let text = |word: &str| (0..20_000).map(|number| format!("{word}{number}\n")).collect::<String>();
        let page = show(&text("a"), &text("b")).into_string();
        assert_eq!(page.matches("<del>").count() + page.matches("<ins>").count(), LINES);
    }
}
