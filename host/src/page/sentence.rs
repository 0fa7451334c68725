//! The sentences of the API on the page: the times in them are marked up, so that the reader's own is beside them.

use chrono::{DateTime, NaiveDateTime, TimeZone as _};
use maud::{Markup, html};
use roost_scheduler::zone::Zone;

use super::text::{WallTime, line, wall};
use crate::{report::printable, zones};

/// Shows a text in one line, with the times in it as times on the clock of a zone.
pub(super) fn sentence(text: &str, zone: &str, now: &WallTime) -> Markup {
    let mut rest = text;
    html! {
        @while let Some((before, at, after)) = first_time(rest, zone) {
            (line(before)) (at.show_exactly(now))
            @let () = rest = after;
        }
        (line(rest))
    }
}

/// Shows a text as [`super::text::lines`] does, with the times in its first line as times on the clock of a zone.
pub(super) fn sentences(text: &str, zone: &str, now: &WallTime) -> Markup {
    match text.split_once('\n') {
        None => sentence(text, zone, now),
        Some((first, rest)) => html! { (sentence(first, zone, now)) pre { (printable(rest)) } },
    }
}

/// Finds the first time in a text of the host, and what is before and after it: `2027-03-01T06:30:00Z`, unless it is a part
/// of the name of a run or is quoted, or `Mon 2027-03-01 06:30:00 GMT` by the clock of the zone.
fn first_time<'t>(text: &'t str, zone: &str) -> Option<(&'t str, WallTime, &'t str)> {
    const DATE: usize = "2027-03-01".len();
    const TIME: usize = " 06:30:00".len();
    text.match_indices('-').find_map(|(hyphen, _)| {
        let start = hyphen.checked_sub("2027".len())?;
        let date =
            text.get(start..start + DATE).filter(|date| date.starts_with(|first: char| first.is_ascii_digit()))?;
        let rest = text.get(start + DATE..)?;
        let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || ":+-. ".contains(letter)));
        let rest = &rest[..end.unwrap_or(rest.len())];
        if rest.starts_with('T') {
            let time = &rest[..rest.find(' ').unwrap_or(rest.len())];
            let time = time.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
            let is_quoted = text[..start].ends_with(['/', '`']);
            let at = DateTime::parse_from_rfc3339(&format!("{date}{time}")).ok().filter(|_| !is_quoted)?;
            return Some((&text[..start], wall(at.into(), zone), &text[start + DATE + time.len()..]));
        }
        let name = rest.get(TIME + 1..)?.split([' ', '.', ':']).next()?;
        let local = NaiveDateTime::parse_from_str(&format!("{date}{}", &rest[..TIME]), "%Y-%m-%d %H:%M:%S").ok()?;
        let found = zones::find(zone).ok()?.from_local_datetime(&local);
        let is_named =
            |at: &DateTime<Zone>| at.format("%a %Z").to_string() == format!("{} {name}", weekday(text, start));
        let at = [found.earliest(), found.latest()].into_iter().flatten().find(is_named)?;
        let before = &text[..start - "Mon ".len()];
        Some((before, wall(at.to_utc().into(), zone), &text[start + DATE + TIME + 1 + name.len()..]))
    })
}

/// Returns the day of the week before a date in a text, or an empty text.
fn weekday(text: &str, date: usize) -> &str {
    date.checked_sub("Mon ".len()).and_then(|start| text.get(start..date)).unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_in_a_sentence_are_times() {
        let now = WallTime::parse("2027-03-01T20:00:00+00:00", "Europe/London").unwrap();
        let shown = |text: &str| sentence(text, "Europe/London", &now).into_string();
        let time =
            |at: &str, shown: &str| format!("<time datetime=\"{at}\" data-zone=\"Europe/London\">{shown}</time>");
        let due = time("2027-03-01T06:30:00+00:00", "06:30");
        assert_eq!(
            shown("it was due Mon 2027-03-01 06:30:00 GMT, and ended Mon 2027-03-01 06:30:02 GMT; <b>"),
            format!("it was due {due}, and ended {}; &lt;b&gt;", time("2027-03-01T06:30:02+00:00", "06:30:02"))
        );
        assert_eq!(shown("by 2027-03-01T06:30:00Z."), format!("by {due}."));
        assert_eq!(shown("(2027-03-01T06:30:00.250Z)"), format!("({})", due.replace(":00+", ":00.250+")));
        // An hour that the clock shows twice.
        for (name, offset) in [("BST", "+01:00"), ("GMT", "+00:00")] {
            let at = time(&format!("2027-10-31T01:30:00{offset}"), "01:30");
            let day = " <span class=\"soft\">31 October</span>";
            assert_eq!(shown(&format!("due Sun 2027-10-31 01:30:00 {name}")), format!("due {at}{day}"));
        }
        // Names, quotations, and times that are none.
        for text in [
            "held by a/b/c/2027-03-01T06:30:00Z/manual",
            "`2027-03-01T06:30:00Z` is late",
            "Tue 2027-03-01 06:30:00 GMT",
            "Mon 2027-03-01 06:30:00 CET",
            "2027-03-01 06:30:00 GMT",
            "a-b-ü-2027-03-01",
            "2027-03-01T",
            "----",
        ] {
            assert_eq!(shown(text), text);
        }
    }
}
