//! Times and texts on the page.

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, Timelike as _};
use maud::{Markup, html};
pub(super) use roost_scheduler::text::grouped;
use roost_scheduler::{text::excerpt, time::Instant, zone::Zone};
use serde::Deserialize as _;
use serde_json::Value;
use url::form_urlencoded;

pub(super) use crate::report::in_one_line as line;
use crate::{http::pauses::PauseRecord, job_json::MessageRecord, report::printable, zones};

/// A time on the wall clock of a device.
#[derive(Clone, Debug)]
pub(super) struct WallTime {
    at: DateTime<FixedOffset>,
    zone: String,
}

impl WallTime {
    /// Reads a time as the API writes it: in RFC 3339, with the offset of the device's zone.
    pub(super) fn parse(text: &str, zone: &str) -> Option<Self> {
        Some(Self { at: DateTime::parse_from_rfc3339(text).ok()?, zone: zone.to_owned() })
    }

    /// Returns an instant on the wall clock of a zone; 1970 if it has none.
    pub(super) fn of(at: Instant, zone: Zone) -> Self {
        let zone_name = zone.name().to_owned();
        Self::parse(&at.in_zone(zone), zone.name()).unwrap_or(Self { at: DateTime::UNIX_EPOCH.into(), zone: zone_name })
    }

    /// Returns the instant.
    pub(super) fn instant(&self) -> Instant {
        self.at.into()
    }

    /// Returns the name of the zone.
    pub(super) fn zone(&self) -> &str {
        &self.zone
    }

    /// Returns hours and minutes.
    pub(super) fn clock(&self) -> String {
        self.at.format("%H:%M").to_string()
    }

    /// Returns a later time on the same clock.
    pub(super) fn later(&self, ms: i64) -> Self {
        wall(Instant::from(self.at).plus_ms(ms), &self.zone)
    }

    /// Returns date and time as a field of a form has them, without seconds.
    pub(super) fn minute(&self) -> String {
        self.at.format("%Y-%m-%dT%H:%M").to_string()
    }

    /// Returns date and time as a field of a form has them.
    pub(super) fn local(&self) -> String {
        let seconds = if self.at.second() == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" };
        self.at.format(seconds).to_string()
    }

    fn date(&self) -> NaiveDate {
        self.at.date_naive()
    }

    /// Shows the time, with the day if it is not that of `now`.
    pub(super) fn show(&self, now: &Self) -> Markup {
        self.show_as(&self.clock(), now)
    }

    fn show_as(&self, clock: &str, now: &Self) -> Markup {
        html! {
            time datetime=(self.at.to_rfc3339()) data-zone=(self.zone) { (clock) }
            @if let Some(day) = self.day(now) { " " span.soft { (day) } }
        }
    }

    /// Shows the time with its seconds if it has any, and the day if it is not that of `now`.
    pub(super) fn show_exactly(&self, now: &Self) -> Markup {
        let format = if self.at.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
        self.show_as(&self.at.format(format).to_string(), now)
    }

    /// Writes the time, with the day if it is not that of `now`: `06:51 tomorrow`.
    pub(super) fn write(&self, now: &Self) -> String {
        [Some(self.clock()), self.day(now)].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Writes how long ago it was: `3 min ago`, `2 days ago`.
    pub(super) fn ago(&self, now: &Self) -> String {
        let seconds = (now.at - self.at).num_seconds();
        match seconds {
            ..60 => "just now".to_owned(),
            60..3_600 => format!("{} min ago", seconds / 60),
            3_600..172_800 => format!("{} h ago", seconds / 3_600),
            _ => format!("{} days ago", seconds / 86_400),
        }
    }

    fn day(&self, now: &Self) -> Option<String> {
        let today = now.at.with_timezone(self.at.offset()).date_naive();
        match (self.date() - today).num_days() {
            0 => None,
            1 => Some("tomorrow".to_owned()),
            -1 => Some("yesterday".to_owned()),
            -6..=6 => Some(self.at.format("%A").to_string()),
            _ if self.at.year() == now.at.year() => Some(self.at.format("%-d %B").to_string()),
            _ => Some(self.at.format("%-d %B %Y").to_string()),
        }
    }
}

/// Shows a time as the API writes it, or its text if it is none.
pub(super) fn time(text: &str, zone: &str, now: &WallTime) -> Markup {
    WallTime::parse(text, zone).map_or_else(|| html! { (text) }, |at| at.show(now))
}

/// Shows a time as the API writes it with its seconds, or its text if it is none.
pub(super) fn second(text: &str, zone: &str, now: &WallTime) -> Markup {
    let shown = |at: WallTime| at.show_as(&at.at.format("%H:%M:%S").to_string(), now);
    WallTime::parse(text, zone).map_or_else(|| html! { (text) }, shown)
}

/// Returns an instant on the wall clock of a zone with a name.
pub(super) fn wall(at: Instant, zone: &str) -> WallTime {
    WallTime::of(at, zones::find(zone).unwrap_or(Zone::UTC))
}

/// Writes a number of things: `1 job`, `2 jobs`.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Writes a state or a verdict with its sign, so that the colour is not all there is.
pub(super) fn outcome(state: &str) -> String {
    let sign = match state {
        "succeeded" => '●',
        "failed" | "denied" => '✕',
        "missed" | "undecided" | "forgotten" => '?',
        "skipped" | "cancelled" | "left-out" => '⊘',
        "running" => '◐',
        "paused" => '◌',
        _ => '○',
    };
    format!("{sign} {state}")
}

/// Writes that a job is paused. `what` is what is paused: the `job` itself, its `device` or `plugin`, or `all`.
pub(super) fn paused(what: &str) -> String {
    outcome("paused")
        + &match what {
            "job" => String::new(),
            "all" => " with everything".to_owned(),
            _ => format!(" with its {what}"),
        }
}

/// Writes a pause with its end and its reason: `◌ paused with its device until 08:00 Friday: rain`. `own` is what it was
/// set on if it is of the very thing that is shown.
pub(super) fn pause(
    PauseRecord { from, until, reason, by }: &PauseRecord,
    own: &str,
    zone: &str,
    now: &WallTime,
) -> String {
    let at = |text: &str| WallTime::parse(text, zone).map_or_else(|| text.to_owned(), |at| at.write(now));
    let is_to_come = |from: &&String| WallTime::parse(from, zone).is_some_and(|from| from.at > now.at);
    let mut text = paused(if by == own { "job" } else { by });
    for (word, time) in [("from", from.as_ref().filter(is_to_come)), ("until", until.as_ref())] {
        text += &time.map_or_else(String::new, |time| format!(" {word} {}", at(time)));
    }
    reason.as_ref().map_or(text.clone(), |reason| format!("{text}: {}", line(reason)))
}

/// Returns the beginning of a payload in one line.
pub(super) fn short(payload: &str) -> String {
    excerpt(payload)
}

/// Writes a message: its topic, and the beginning of its payload.
pub(super) fn message(MessageRecord { topic, payload, payload_base64, cut, .. }: &MessageRecord) -> String {
    let (topic, shown) = (line(topic), short(payload));
    let rest = if *cut && !shown.ends_with('…') { "…" } else { "" };
    match payload_base64 {
        Some(_) => format!("{topic} ← (binary)"),
        None if payload.is_empty() => topic,
        None => format!("{topic} ← {shown}{rest}"),
    }
}

/// Writes a message as it is sent, or the task that is called for it, if there is either.
pub(super) fn content(sent: Option<&Value>, task: Option<&str>) -> Option<String> {
    let sent = sent.and_then(|sent| MessageRecord::deserialize(sent).ok());
    sent.map(|sent| message(&sent)).or_else(|| task.map(|task| format!("asks the plugin: {task}")))
}

/// Writes a latitude or a longitude, with the letters for positive and negative ones.
pub(super) fn degrees(angle: f64, [positive, negative]: [&str; 2]) -> String {
    format!("{:.3}° {}", angle.abs(), if angle < 0.0 { negative } else { positive })
}

/// Returns an address with the parameters that are not empty.
pub(super) fn address(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()));
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Shows a text with its line breaks: the first line as a sentence, and settings to copy below it.
pub(super) fn lines(text: &str) -> Markup {
    let text = printable(text);
    match text.split_once('\n') {
        None => html! { (text) },
        Some((first, rest)) => html! { (first) pre { (rest) } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(at: &str, now: &str) -> String {
        let wall = |text| WallTime::parse(text, "Europe/London").unwrap();
        wall(at).show(&wall(now)).into_string()
    }

    #[test]
    fn a_pause_is_written_with_its_end_and_its_reason() {
        let now = WallTime::parse("2027-03-01T20:00:00+00:00", "Europe/London").unwrap();
        let written = |pause: serde_json::Value| pause_of(pause, &now);
        assert_eq!(written(serde_json::json!({ "by": "device" })), "◌ paused");
        assert_eq!(
            written(serde_json::json!({ "by": "all", "until": "2027-03-05T08:00:00+00:00", "reason": "rain" })),
            "◌ paused with everything until 08:00 Friday: rain"
        );
        assert_eq!(
            written(
                serde_json::json!({ "by": "plugin", "from": "2027-03-02T06:00:00+00:00", "until": "2027-03-02T08:00:00+00:00" })
            ),
            "◌ paused with its plugin from 06:00 tomorrow until 08:00 tomorrow"
        );
    }

    fn pause_of(record: serde_json::Value, now: &WallTime) -> String {
        pause(&serde_json::from_value(record).unwrap(), "device", "Europe/London", now)
    }

    #[test]
    fn a_time_of_another_day_names_it() {
        let now = "2027-03-01T20:00:00+00:00";
        for (at, expected) in [
            ("2027-03-01T20:44:00+00:00", ">20:44</time>"),
            ("2027-03-02T06:51:00+00:00", ">06:51</time> <span class=\"soft\">tomorrow</span>"),
            ("2027-02-28T06:51:00+00:00", ">06:51</time> <span class=\"soft\">yesterday</span>"),
            ("2027-03-04T06:51:00+00:00", "<span class=\"soft\">Thursday</span>"),
            ("2027-04-04T06:51:00+01:00", "<span class=\"soft\">4 April</span>"),
            ("2028-04-04T06:51:00+01:00", "<span class=\"soft\">4 April 2028</span>"),
        ] {
            assert!(shown(at, now).ends_with(expected), "{} does not end with {expected}", shown(at, now));
        }
    }

    #[test]
    fn an_age_is_written_in_whole_units() {
        let wall = |text| WallTime::parse(text, "Europe/London").unwrap();
        let now = wall("2027-03-01T20:00:00+00:00");
        for (at, expected) in [
            ("2027-03-01T20:00:05+00:00", "just now"),
            ("2027-03-01T19:59:01+00:00", "just now"),
            ("2027-03-01T19:01:00+00:00", "59 min ago"),
            ("2027-02-28T21:00:00+00:00", "23 h ago"),
            ("2027-02-27T20:00:00+00:00", "2 days ago"),
        ] {
            assert_eq!(wall(at).ago(&now), expected, "{at}");
        }
    }

    #[test]
    fn an_address_has_the_parameters_that_are_not_empty() {
        assert_eq!(address("/devices", &[("q", ""), ("cursor", "")]), "/devices");
        assert_eq!(
            address("/runs", &[("q", ""), ("since", "2027-03-01T00:00:00+01:00"), ("state", "a,b&c")]),
            "/runs?since=2027-03-01T00%3A00%3A00%2B01%3A00&state=a%2Cb%26c"
        );
    }

    #[test]
    fn a_text_with_settings_shows_them_as_they_are_to_be_copied() {
        assert_eq!(lines("add this:\na = 1\n<b>").into_string(), "add this:<pre>a = 1\n&lt;b&gt;</pre>");
    }
}
