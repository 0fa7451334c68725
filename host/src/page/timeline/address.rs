//! What a timeline shows, as its address says it, and the addresses beside it.

use chrono::Days;
use roost_scheduler::{
    calendar::{to_instant, to_local},
    names::{DeviceName, PluginName},
    outcome::RunState,
    time::Instant,
    zone::Zone,
};
use serde::Deserialize;

use crate::{
    http::{By, Problem},
    page::text,
    when::When,
};

const DAY_MS: i64 = 86_400_000;
/// By what runs are counted, and the words in addresses.
const BY: [(By, &str); 3] = [(By::Plugin, "plugin"), (By::Device, "device"), (By::Reason, "reason")];

/// The length of a timeline, in days of the host's calendar: one may have 23 or 25 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Span {
    #[default]
    Day,
    ThreeDays,
    Week,
}

impl Span {
    pub(super) const ALL: [Self; 3] = [Self::Day, Self::ThreeDays, Self::Week];

    /// Returns the word in addresses.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::ThreeDays => "3d",
            Self::Week => "week",
        }
    }

    /// Returns the name for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Day => "Day",
            Self::ThreeDays => "3 days",
            Self::Week => "Week",
        }
    }

    const fn days(self) -> u32 {
        match self {
            Self::Day => 1,
            Self::ThreeDays => 3,
            Self::Week => 7,
        }
    }

    const fn length_ms(self) -> i64 {
        self.days() as i64 * DAY_MS
    }

    /// Returns the one that shows more (1) or less (-1).
    fn step(self, by: isize) -> Option<Self> {
        let index = Self::ALL.iter().position(|span| *span == self)?;
        Self::ALL.get(index.checked_add_signed(by)?).copied()
    }
}

/// The parameters of an address, as a form sends them: those that are not filled in are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct TimelineQuery {
    from: String,
    span: String,
    plugin: String,
    device: String,
    state: String,
    by: String,
    cursor: String,
}

/// What a timeline shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Address {
    /// The start. Without it, the timeline follows the clock.
    pub(super) from: Option<Instant>,
    pub(super) span: Span,
    pub(super) plugin: Option<PluginName>,
    pub(super) device: Option<DeviceName>,
    /// Only runs in these states; empty for all.
    pub(super) states: Vec<String>,
    /// By what the runs of many devices are counted.
    pub(super) by: Option<By>,
    /// The page of lanes.
    pub(super) cursor: Option<String>,
}

impl Address {
    /// Reads the parameters. Local times are in the host's zone.
    pub(super) fn parse(query: TimelineQuery, zone: Zone) -> Result<Self, Problem> {
        let TimelineQuery { from, span, plugin, device, state, by, cursor } = query;
        let given = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let wrong = |name: &str, why: &dyn std::fmt::Display| Problem::bad_request(format!("`{name}`: {why}"));
        let from = given(from).map(|text| text.parse::<When>().map_err(|why| wrong("from", &why))).transpose()?;
        let span = match given(span) {
            None => Span::default(),
            Some(word) => Span::ALL
                .into_iter()
                .find(|span| span.word() == word)
                .ok_or_else(|| wrong("span", &format!("`{word}` is none")).hint("use `day`, `3d` or `week`"))?,
        };
        let plugin = given(plugin).map(|name| PluginName::parse_owner(&name).map_err(|why| wrong("plugin", &why)));
        let device = given(device).map(|name| DeviceName::parse(&name).map_err(|why| wrong("device", &why)));
        let states =
            given(state).map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default();
        let is_known = |state: &str| state == "expected" || RunState::parse(state).is_some();
        if let Some(unknown) = states.iter().find(|state| !is_known(state)) {
            let hint = format!("use `expected`, `{}`, or several of them with commas", RunState::WORDS.join("`, `"));
            return Err(wrong("state", &format!("`{unknown}` is none")).hint(hint));
        }
        let by = given(by).map(|word| {
            let known = BY.into_iter().find(|(_, name)| *name == word).map(|(by, _)| by);
            known.ok_or_else(|| wrong("by", &format!("`{word}` is none")).hint("use `plugin`, `device` or `reason`"))
        });
        let from = from.map(|from| from.in_zone(zone));
        Ok(Self {
            from,
            span,
            plugin: plugin.transpose()?,
            device: device.transpose()?,
            states,
            by: by.transpose()?,
            cursor: given(cursor),
        })
    }

    /// Returns the period. If it follows the clock, a third of it has passed.
    pub(super) fn window(&self, now: Instant, zone: Zone) -> (Instant, Instant) {
        let from = self.from.unwrap_or_else(|| now.plus_ms(-self.span.length_ms() / 3));
        let (date, time) = to_local(from, zone);
        let end = to_instant(date + Days::new(self.span.days().into()), time, zone);
        (from, if end > from { end } else { from.plus_ms(self.span.length_ms()) })
    }

    /// Returns the same with another span, around the instant at a third.
    pub(super) fn with_span(&self, span: Span) -> Self {
        let middle = self.from.map(|from| from.plus_ms(self.span.length_ms() / 3));
        Self { from: middle.map(|at| at.plus_ms(-span.length_ms() / 3)), span, ..self.clone() }
    }

    /// Returns the same with more (1) or fewer (-1) days.
    pub(super) fn zoomed(&self, by: isize) -> Option<Self> {
        Some(self.with_span(self.span.step(by)?))
    }

    /// Returns the same, half of it later (1) or earlier (-1).
    pub(super) fn moved(&self, by: i64, now: Instant, zone: Zone) -> Self {
        let (from, _) = self.window(now, zone);
        // In whole minutes, so that the address can be read.
        let from = from.plus_ms(by * self.span.length_ms() / 2);
        Self { from: Some(from.plus_ms(-(from.millis() % 60_000))), ..self.clone() }
    }

    /// Returns the same, with another page of lanes.
    pub(super) fn with_cursor(&self, cursor: Option<String>) -> Self {
        Self { cursor, ..self.clone() }
    }

    /// Returns the same of one plugin.
    pub(super) fn of_plugin(&self, plugin: PluginName) -> Self {
        Self { plugin: Some(plugin), by: None, cursor: None, ..self.clone() }
    }

    /// Returns the word for what runs are counted by.
    pub(super) fn by_word(&self) -> Option<&'static str> {
        BY.into_iter().find(|(by, _)| Some(*by) == self.by).map(|(_, word)| word)
    }

    /// Returns the address.
    pub(super) fn href(&self) -> String {
        let from = self.from.map(|at| at.to_string()).unwrap_or_default();
        let name = |name: Option<&dyn std::fmt::Display>| name.map(ToString::to_string).unwrap_or_default();
        text::address(
            "/timeline",
            &[
                ("from", &from),
                ("span", if self.span == Span::default() { "" } else { self.span.word() }),
                ("plugin", &name(self.plugin.as_ref().map(|name| name as _))),
                ("device", &name(self.device.as_ref().map(|name| name as _))),
                ("state", &self.states.join(",")),
                ("by", self.by_word().unwrap_or_default()),
                ("cursor", self.cursor.as_deref().unwrap_or_default()),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::calendar::parse_zone;
    use url::form_urlencoded::Serializer;

    use super::*;

    fn address(query: &[(&str, &str)]) -> Result<Address, Problem> {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(query);
        let uri = format!("/timeline?{}", form.finish()).parse().unwrap();
        let query = axum::extract::Query::<TimelineQuery>::try_from_uri(&uri).unwrap();
        Address::parse(query.0, parse_zone("Europe/London").unwrap())
    }

    fn at(text: &str) -> Instant {
        text.parse::<When>().unwrap().in_zone(Zone::UTC)
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in [
            "/timeline",
            "/timeline?span=3d",
            "/timeline?from=2027-03-01T00%3A00%3A00Z&span=week&plugin=coop-door&device=north&state=failed%2Cmissed&by=reason&cursor=other-61",
        ] {
            let query = axum::extract::Query::<TimelineQuery>::try_from_uri(&text.parse().unwrap()).unwrap();
            assert_eq!(Address::parse(query.0, Zone::UTC).unwrap().href(), text);
        }
        // A form sends what was left empty.
        assert_eq!(address(&[("from", ""), ("plugin", " "), ("state", "")]).unwrap().href(), "/timeline");
    }

    #[test]
    fn bad_parameters_are_refused_with_what_would_be_right() {
        for (name, value, part) in [
            ("from", "soon", "`from`: write `2027-03-01T06:30:00Z`"),
            ("span", "month", "`span`: `month` is none"),
            ("plugin", "<b>", "`plugin`: "),
            ("device", "a/b", "`device`: "),
            ("by", "colour", "`by`: `colour` is none"),
            ("state", "failed,lost", "`state`: `lost` is none"),
        ] {
            let problem = address(&[(name, value)]).unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.starts_with(part), "{}", problem.detail);
        }
    }

    #[test]
    fn a_day_is_one_of_the_calendar_and_now_is_at_a_third() {
        let london = parse_zone("Europe/London").unwrap();
        let hours = |from: &str| {
            let (from, to) = address(&[("from", from)]).unwrap().window(Instant::MIN, london);
            to.ms_since(from) / 3_600_000
        };
        assert_eq!([hours("2027-10-31"), hours("2027-03-28"), hours("2027-03-01")], [25, 23, 24]);
        let now = at("2027-03-01T12:00:00Z");
        for (span, from, to) in [
            ("day", "2027-03-01T04:00:00Z", "2027-03-02T04:00:00Z"),
            ("3d", "2027-02-28T12:00:00Z", "2027-03-03T12:00:00Z"),
            ("week", "2027-02-27T04:00:00Z", "2027-03-06T04:00:00Z"),
        ] {
            assert_eq!(address(&[("span", span)]).unwrap().window(now, london), (at(from), at(to)));
        }
    }

    #[test]
    fn it_is_moved_by_half_and_zoomed_around_a_third() {
        let (now, here) = (at("2027-03-01T12:00:30Z"), address(&[("plugin", "coop-door")]).unwrap());
        assert_eq!(here.moved(1, now, Zone::UTC).href(), "/timeline?from=2027-03-01T16%3A00%3A00Z&plugin=coop-door");
        assert_eq!(here.moved(-1, now, Zone::UTC).from, Some(at("2027-02-28T16:00:00Z")));
        // What follows the clock still does.
        assert_eq!(here.zoomed(1).unwrap().href(), "/timeline?span=3d&plugin=coop-door");
        assert!(here.zoomed(-1).is_none());
        let fixed = address(&[("from", "2027-03-01T00:00:00Z"), ("span", "3d")]).unwrap();
        assert_eq!(fixed.zoomed(-1).unwrap().from, Some(at("2027-03-01T16:00:00Z")));
        assert_eq!(fixed.zoomed(1).unwrap().zoomed(-1).unwrap().from, fixed.from);
    }
}
