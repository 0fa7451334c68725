//! The settings of a door.

use roost_plugin_sdk::{Date, Days, Error, Job, JsonValue, Result, Span, SunEvent, Time, Weekday, minutes};
use serde::Deserialize;

/// The settings of a door.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CoopDoor {
    /// The door's command topic. Default: `coop-door/<device>/door/set`.
    pub(crate) topic: Option<String>,
    pub(crate) open_payload: String,
    pub(crate) close_payload: String,
    /// Whether the broker retains the command. Then a door that was offline executes it when it reconnects, however
    /// late.
    pub(crate) retain: bool,

    /// The door's state topic, if it has one: then the command is repeated until the state matches.
    pub(crate) state_topic: Option<String>,
    /// The JSON pointer to the state, if the message is JSON: `/state`.
    pub(crate) state_pointer: Option<String>,
    /// The states: text, or any value if the message is JSON.
    pub(crate) open_state: JsonValue,
    pub(crate) closed_state: JsonValue,
    /// Whether the state that the door has reported before counts, because it reports only what changes.
    pub(crate) state_already: bool,
    /// How long the door may take.
    pub(crate) state_within: Span,

    open_at: At,
    open_offset: Span,
    /// Not too early in June, when foxes are about.
    open_not_before: Time,
    /// The time on a day without the event. Default: as early as it may open.
    open_otherwise: Option<Time>,

    close_at: At,
    /// Hens go in at dusk, the last one a little later.
    close_offset: Span,
    close_not_after: Option<Time>,
    /// The time on an evening without the event, as in the northern summer. Default: as late as it may close, otherwise
    /// 23:00.
    close_otherwise: Option<Time>,

    /// Other times on Saturdays and Sundays.
    weekend: Option<Weekend>,

    /// Keeps the door open or closed.
    hold: Option<Hold>,
    /// The date on which it opens and closes again.
    hold_until: Option<Date>,
}

/// What differs on Saturdays, on Sundays, and on the days of a calendar, if it is set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weekend {
    calendar: Option<String>,
    open_at: Option<At>,
    open_offset: Option<Span>,
    open_not_before: Option<Time>,
    open_otherwise: Option<Time>,
    close_at: Option<At>,
    close_offset: Option<Span>,
    close_not_after: Option<Time>,
    close_otherwise: Option<Time>,
}

/// When a door moves: at a sun event or a time of day.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
enum At {
    Sun(SunEvent),
    Clock(Time),
}

impl TryFrom<String> for At {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        match text.parse() {
            Ok(time) => Ok(Self::Clock(time)),
            Err(_) => {
                SunEvent::try_from(text).map(Self::Sun).map_err(|error| format!("{error}, or a time as in `06:30`"))
            }
        }
    }
}

/// How a door is kept, against its times.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Hold {
    Open,
    Closed,
}

impl Default for CoopDoor {
    fn default() -> Self {
        Self {
            topic: None,
            open_payload: "OPEN".into(),
            close_payload: "CLOSE".into(),
            retain: false,
            state_topic: None,
            state_pointer: None,
            open_state: "open".into(),
            closed_state: "closed".into(),
            state_already: false,
            state_within: minutes(1),
            open_at: At::Sun(SunEvent::Sunrise),
            open_offset: Span::default(),
            open_not_before: time("06:30"),
            open_otherwise: None,
            close_at: At::Sun(SunEvent::CivilDusk),
            close_offset: minutes(10),
            close_not_after: None,
            close_otherwise: None,
            weekend: None,
            hold: None,
            hold_until: None,
        }
    }
}

fn time(text: &str) -> Time {
    text.parse().unwrap_or_else(|_| unreachable!("`{text}` is a time of day"))
}

impl CoopDoor {
    /// Returns the jobs that open the door, without messages.
    pub(crate) fn openings(&self) -> Result<Vec<Job>> {
        let opening =
            |id: &str, weekend: Option<&Weekend>| match weekend.and_then(|own| own.open_at).unwrap_or(self.open_at) {
                At::Clock(time) => Job::daily(id, time),
                At::Sun(event) => {
                    let not_before = weekend.and_then(|own| own.open_not_before).unwrap_or(self.open_not_before);
                    let otherwise =
                        weekend.and_then(|own| own.open_otherwise).or(self.open_otherwise).unwrap_or(not_before);
                    let offset = weekend.and_then(|own| own.open_offset).unwrap_or(self.open_offset);
                    Job::sun(id, event).offset(offset).not_before(not_before).otherwise(otherwise)
                }
            };
        self.on_days(Hold::Closed, "open", "Open the door", &opening)
    }

    /// Returns the jobs that close the door, without messages.
    pub(crate) fn closings(&self) -> Result<Vec<Job>> {
        let closing =
            |id: &str, weekend: Option<&Weekend>| match weekend.and_then(|own| own.close_at).unwrap_or(self.close_at) {
                At::Clock(time) => Job::daily(id, time),
                At::Sun(event) => {
                    let not_after = weekend.and_then(|own| own.close_not_after).or(self.close_not_after);
                    let otherwise = weekend.and_then(|own| own.close_otherwise).or(self.close_otherwise).or(not_after);
                    let offset = weekend.and_then(|own| own.close_offset).unwrap_or(self.close_offset);
                    let job = Job::sun(id, event).offset(offset).otherwise(otherwise.unwrap_or_else(|| time("23:00")));
                    match not_after {
                        Some(time) => job.not_after(time),
                        None => job,
                    }
                }
            };
        self.on_days(Hold::Open, "close", "Close the door", &closing)
    }

    /// Returns whether the door must not be opened on a date.
    pub(crate) fn is_held_closed(&self, today: Date) -> bool {
        self.hold == Some(Hold::Closed) && self.hold_until.is_none_or(|until| today < until)
    }

    /// Returns a job, or one for the days of the week and one for weekends; none while the door is held against it.
    fn on_days(
        &self,
        against: Hold,
        id: &str,
        label: &str,
        job: &dyn Fn(&str, Option<&Weekend>) -> Job,
    ) -> Result<Vec<Job>> {
        let from = match (self.hold, self.hold_until) {
            (None, Some(_)) => return Err(Error::new("config `hold_until`: there is no `hold` that could end")),
            (Some(Hold::Open), None) => {
                return Err(Error::new(
                    "config `hold`: a door that is held open needs `hold_until`, the date on which it closes again, so \
                     that it is not forgotten",
                ));
            }
            (Some(hold), None) if hold == against => return Ok(Vec::new()),
            (Some(hold), Some(until)) if hold == against => Some(until),
            _ => None,
        };
        let from_then = |days: Days| match from {
            Some(date) => days.every_days(1, date),
            None => days,
        };
        let Some(weekend) = &self.weekend else {
            let job = job(id, None).label(label);
            return Ok(vec![if from.is_some() { job.days(from_then(Days::new())) } else { job }]);
        };
        let mut week = Days::new().weekdays(Weekday::Monday, Weekday::Friday);
        let mut other = Days::new().weekdays(Weekday::Saturday, Weekday::Sunday);
        if let Some(calendar) = &weekend.calendar {
            (week, other) = (week.except_calendar(calendar), other.calendar(calendar));
        }
        Ok(vec![
            job(id, None).label(label).days(from_then(week)),
            job(&format!("{id}-weekend"), Some(weekend)).label(label).days(from_then(other)),
        ])
    }
}
