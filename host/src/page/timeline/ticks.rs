//! The axis: whole hours and days on a wall clock, each where its instant is.

use chrono::{NaiveDateTime, NaiveTime, Offset as _, TimeDelta, Timelike as _};
use maud::{Markup, html};
use roost_scheduler::{calendar::to_local, time::Instant, zone::Zone};

use super::scale::Scale;

const HOUR_MS: i64 = 3_600_000;
/// All offsets from UTC that are in use are multiples of this.
const QUARTER_MS: i64 = HOUR_MS / 4;

/// A whole hour of a wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) at: Instant,
    pub(super) local: NaiveDateTime,
    /// Whether a date begins.
    pub(super) is_day: bool,
}

/// A change of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockChange {
    pub(super) at: Instant,
    /// How far it goes forward; negative if it goes back.
    pub(super) by_minutes: i32,
}

/// The hours of a period on the wall clock of a zone.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    pub(super) zone: Zone,
    pub(super) hours: Vec<Tick>,
    pub(super) changes: Vec<ClockChange>,
}

impl Axis {
    /// Finds the hours by their instants: a night in which the clock changes has one more or one less.
    pub(super) fn new(scale: Scale, zone: Zone) -> Self {
        let offset = |at: Instant| at.to_utc().with_timezone(&zone).offset().fix().local_minus_utc();
        let mut axis = Self { scale, zone, hours: Vec::new(), changes: Vec::new() };
        let first = scale.from().millis().div_euclid(QUARTER_MS) * QUARTER_MS;
        let mut before = (to_local(scale.from().plus_ms(-1), zone).0, offset(scale.from()));
        for at in (first..scale.to().millis()).step_by(QUARTER_MS as usize).filter_map(Instant::from_millis) {
            if at < scale.from() {
                continue;
            }
            let ((date, time), offset) = (to_local(at, zone), offset(at));
            if offset != before.1 {
                axis.changes.push(ClockChange { at, by_minutes: (offset - before.1) / 60 });
            }
            if time.minute() == 0 && time.second() == 0 {
                axis.hours.push(Tick { at, local: date.and_time(time), is_day: date != before.0 });
            }
            before = (date, offset);
        }
        axis
    }

    fn length_hours(&self) -> i64 {
        self.scale.to().ms_since(self.scale.from()) / HOUR_MS
    }

    /// Returns the hours that have a line, those that have a label on a wide screen, and those that have one on a phone:
    /// each is every so many.
    fn steps(&self) -> [u32; 3] {
        match self.length_hours() {
            ..=26 => [1, 3, 6],
            27..=40 => [3, 3, 6],
            41..=80 => [6, 6, 12],
            _ => [24, 24, 24],
        }
    }

    /// Draws a line at each hour that has one.
    pub(super) fn lines(&self) -> Markup {
        let [step, ..] = self.steps();
        html! {
            g.ticks shape-rendering="crispEdges" {
                @for tick in self.hours.iter().filter(|tick| tick.is_day || tick.local.hour() % step == 0) {
                    line class=[tick.is_day.then_some("day")] x1=(self.scale.x(tick.at)) x2=(self.scale.x(tick.at)) y2="100%" {}
                }
            }
        }
    }

    /// Writes the hours at a height.
    pub(super) fn hour_labels(&self, y: u32) -> Markup {
        let [_, wide, phone] = self.steps();
        let labelled = self.hours.iter().filter(|tick| wide < 24 && tick.local.hour() % wide == 0);
        // Those at the ends would be cut off.
        let labelled = labelled.filter(|tick| (0.02..0.98).contains(&self.scale.part(tick.at)));
        html! {
            @for tick in labelled {
                text class=[(tick.local.hour() % phone != 0).then_some("wide")] x=(self.scale.x(tick.at)) y=(y) text-anchor="middle" { (tick.local.format("%H:%M")) }
            }
        }
    }

    /// Writes the days at a height, each at its beginning.
    pub(super) fn day_labels(&self, y: u32) -> Markup {
        let format = if self.length_hours() > 80 { "%a %-d" } else { "%a %-d %b" };
        let days: Vec<&Tick> = self.hours.iter().filter(|tick| tick.is_day).collect();
        // The first day, too, if there is room before the second one.
        let has_room = days.first().is_none_or(|next| self.scale.part(next.at) > 0.2);
        let first =
            has_room.then(|| (self.scale.from(), to_local(self.scale.from(), self.zone).0.and_time(NaiveTime::MIN)));
        let days = days.iter().map(|tick| (tick.at, tick.local)).filter(|(at, _)| self.scale.part(*at) < 0.86);
        html! {
            @for (at, local) in first.into_iter().chain(days) {
                text.date x=(self.scale.x(at)) y=(y) dx="3" { (local.format(format)) }
            }
        }
    }

    /// Says when clocks change, in words.
    pub(super) fn change_notes(&self) -> Vec<String> {
        let note = |change: &ClockChange| {
            // By the clock as it was, which shows the time at which it is set.
            let before = change.at.plus_ms(-1).to_utc().with_timezone(&self.zone).naive_local();
            let at = before + TimeDelta::milliseconds(1);
            let by = match change.by_minutes.unsigned_abs() {
                60 => "an hour".to_owned(),
                minutes => format!("{minutes} minutes"),
            };
            let way = if change.by_minutes > 0 { "forward" } else { "back" };
            format!("The clocks of {} go {way} by {by} on {}.", self.zone.name(), at.format("%A at %H:%M"))
        };
        self.changes.iter().map(note).collect()
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::calendar::parse_zone;

    use super::super::scale::tests::scale;
    use super::*;

    fn axis(zone: &str, from: &str, to: &str) -> Axis {
        Axis::new(scale(from, to), parse_zone(zone).unwrap())
    }

    fn shown(axis: &Axis) -> String {
        let hours = axis.hours.iter().map(|tick| {
            let day = if tick.is_day { "|" } else { "" };
            format!("{day}{}", tick.local.format("%-H"))
        });
        hours.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_night_of_25_hours_shows_an_hour_twice_and_one_of_23_leaves_one_out() {
        let autumn = axis("Europe/London", "2027-10-31T00:00:00+01:00", "2027-11-01T00:00:00Z");
        assert_eq!(shown(&autumn), "|0 1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23");
        assert_eq!(autumn.change_notes(), ["The clocks of Europe/London go back by an hour on Sunday at 02:00."]);
        let spring = axis("Europe/London", "2027-03-28T00:00:00Z", "2027-03-29T00:00:00+01:00");
        assert_eq!(shown(&spring), "|0 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23");
        assert_eq!(spring.change_notes(), ["The clocks of Europe/London go forward by an hour on Sunday at 01:00."]);
        // Equal hours are equally wide, on both sides of the change.
        let x = |axis: &Axis| axis.hours.windows(2).map(|pair| pair[1].at.ms_since(pair[0].at)).collect::<Vec<_>>();
        assert!([x(&autumn), x(&spring)].concat().iter().all(|ms| *ms == HOUR_MS));
    }

    #[test]
    fn hours_are_those_of_the_wall_clock_also_where_it_is_off_by_a_part_of_an_hour() {
        for (zone, first) in [("Asia/Kolkata", "00:30:00"), ("Asia/Kathmandu", "00:15:00"), ("UTC", "00:00:00")] {
            let axis = axis(zone, "2027-03-01T00:00:00Z", "2027-03-02T00:00:00Z");
            assert_eq!(axis.hours.len(), 24, "{zone}");
            assert_eq!(&axis.hours[0].at.to_string()[11..19], first, "{zone}");
            assert!(axis.changes.is_empty(), "{zone}");
        }
        // Half an hour.
        let axis = axis("Australia/Lord_Howe", "2027-04-03T00:00:00+11:00", "2027-04-05T00:00:00+10:30");
        assert_eq!(
            axis.change_notes(),
            ["The clocks of Australia/Lord_Howe go back by 30 minutes on Sunday at 02:00."]
        );
    }

    #[test]
    fn labels_are_every_few_hours_and_fewer_of_them_on_a_phone() {
        let axis = axis("Europe/London", "2027-03-01T03:20:00Z", "2027-03-02T15:20:00Z");
        let labels = axis.hour_labels(10).into_string();
        assert_eq!(labels.matches("</text>").count(), 11, "{labels}");
        assert_eq!(labels.matches("class=\"wide\"").count(), 5, "{labels}");
        assert!(labels.contains(">06:00</text>") && !labels.contains("07:00"), "{labels}");
        let days = axis.day_labels(10).into_string();
        assert!(days.contains("Mon 1 Mar") && days.contains("Tue 2 Mar"), "{days}");
    }
}
