//! How many runs there are in each hour: a picture, and the same as a table, for hosts with too many jobs for lists.

use maud::{Markup, html};
use roost_scheduler::{outcome::RunState, time::Instant, zone::Zone};

use super::text::{self, WallTime};
use crate::http::{ApiState, By, DensityRecord, Problem, count_runs};

pub(super) const HOUR_MS: i64 = 3_600_000;
/// The picture's size in its own units, which are pixels in height: an hour is this wide, the bars above the line are
/// this high, and those of faults below it.
const WIDTH: u64 = 20;
const HEIGHT: u64 = 120;
const BELOW: u64 = 40;
/// The height of the smallest bar, and of the smallest one of faults: one run of thousands is seen.
const LEAST: u64 = 2;
const LEAST_FAULTS: u64 = 6;
/// Hours from one label to the next.
const TICKS: usize = 6;
/// The states of runs that need attention, as `/runs` is asked for them.
const FAULTS: &str = "failed,missed,denied";
const DONE: &str = "succeeded,skipped,cancelled";

/// The number of runs in an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hour {
    /// Those that ended otherwise than with a fault.
    done: u64,
    faults: u64,
    /// Those under way and to come, without paused ones.
    expected: u64,
}

/// The numbers of a period, from its first hour on.
#[derive(Debug)]
pub(super) struct Hours {
    from: Instant,
    zone: Zone,
    hours: Vec<Hour>,
    /// Whether more runs are expected than were counted.
    is_cut: bool,
}

impl Hours {
    /// Counts the runs of all jobs in some hours before the present one, and in some from it on.
    pub(super) async fn count(state: &ApiState, now: Instant, (before, after): (u32, u32)) -> Result<Self, Problem> {
        let hour = Instant::from_millis_clamped(now.millis().div_euclid(HOUR_MS) * HOUR_MS);
        let from = hour.plus_ms(-i64::from(before) * HOUR_MS);
        let hours = before + after;
        let window = (from, from.plus_ms(i64::from(hours) * HOUR_MS));
        let counted = count_runs(state, (None, None), window, By::Plugin, hours).await?;
        Ok(Self::new(from, state.zone(), &counted))
    }

    fn new(from: Instant, zone: Zone, counted: &DensityRecord) -> Self {
        let mut hours = vec![Hour::default(); counted.buckets as usize];
        let states = counted.groups.iter().chain(&counted.other).flat_map(|group| &group.states);
        for (state, spread) in states {
            for (bucket, count) in spread.iter() {
                let (hour, count) = (&mut hours[bucket], u64::from(count));
                match *state {
                    "expected" | "running" => hour.expected += count,
                    "paused" => {}
                    state if RunState::parse(state).is_some_and(is_fault) => hour.faults += count,
                    _ => hour.done += count,
                }
            }
        }
        Self { from, zone, hours, is_cut: counted.more }
    }

    /// Returns the beginning of an hour, or the end of the one before.
    fn at(&self, index: usize) -> Instant {
        self.from.plus_ms(i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(HOUR_MS))
    }

    /// Returns the address of the runs of an hour with some states.
    fn runs(&self, index: usize, states: &str) -> String {
        let times = [self.at(index), self.at(index + 1)].map(|at| at.in_zone(self.zone));
        text::address("/runs", &[("since", &times[0]), ("until", &times[1]), ("state", states)])
    }

    /// Returns the hours with runs, and their numbers.
    fn filled(&self) -> impl Iterator<Item = (usize, Hour)> {
        self.hours.iter().copied().enumerate().filter(|(_, hour)| *hour != Hour::default())
    }

    /// Shows the numbers, as a picture and as a table.
    pub(super) fn show(&self, now: &WallTime) -> Markup {
        html! {
            h2 { "Runs of each hour" }
            @if self.filled().next().is_none() {
                p.soft { "There are none from 12 hours ago to 36 hours from now." }
            } @else {
                (self.picture(now))
                (self.table(now))
                @if self.is_cut { p.soft { "There are more runs to come than were counted." } }
            }
        }
    }

    /// Shows a bar for each hour. The table has the same for keyboards and screen readers.
    fn picture(&self, now: &WallTime) -> Markup {
        let width = WIDTH * self.hours.len() as u64;
        let most = self.hours.iter().map(|hour| (hour.done + hour.expected).max(hour.faults)).max().unwrap_or(1).max(1);
        let past = now.instant().ms_since(self.from) * WIDTH.cast_signed() / HOUR_MS;
        html! {
            div.density aria-hidden="true" {
                svg width="100%" height=(HEIGHT + BELOW) viewBox={ "0 0 " (width) " " (HEIGHT + BELOW) } preserveAspectRatio="none" {
                    @for (index, hour) in self.filled() { (self.bar(index, hour, most)) }
                    path.axis d={ "M0 " (HEIGHT) "H" (width) } {}
                    path.now d={ "M" (past) " 0V" (HEIGHT + BELOW) } {}
                }
                div.hours { @for index in (0..self.hours.len()).step_by(TICKS) { span { (self.clock(index)) } } }
                p.soft {
                    span.done { "■" } " ended  " span.expected { "□" } " to come  " span.faults { "▼" } " failed, missed or denied"
                }
            }
        }
    }

    /// Shows an hour: what has ended upwards, what is to come as an outline above it, faults downwards.
    fn bar(&self, index: usize, Hour { done, faults, expected }: Hour, most: u64) -> Markup {
        let height = |count: u64| if count == 0 { 0 } else { (count * (HEIGHT - LEAST) / most).max(LEAST) };
        let (x, width) = (index as u64 * WIDTH + 2, WIDTH - 4);
        let (done_height, below) = (height(done), (faults * BELOW / most).max(LEAST_FAULTS));
        let expected_height = height(expected).min(HEIGHT - done_height);
        let bars = html! {
            title { (self.clock(index)) ": " (done) " ended, " (faults) " failed, missed or denied, " (expected) " to come" }
            @if done > 0 { rect.done x=(x) y=(HEIGHT - done_height) width=(width) height=(done_height) {} }
            @if expected > 0 {
                rect.expected x=(x) y=(HEIGHT - done_height - expected_height) width=(width) height=(expected_height) {}
            }
            @if faults > 0 { rect.faults x=(x) y=(HEIGHT) width=(width) height=(below) {} }
        };
        html! {
            @if done + faults > 0 {
                a href=(self.runs(index, if faults > 0 { FAULTS } else { "" })) tabindex="-1" { (bars) }
            } @else {
                g { (bars) }
            }
        }
    }

    fn table(&self, now: &WallTime) -> Markup {
        let number = |count: u64| text::grouped(usize::try_from(count).unwrap_or(usize::MAX));
        html! {
            details #numbers {
                summary { "The same as numbers" }
                table {
                    caption { "Runs by the hour that they are due in, on the clock of " (self.zone.name()) }
                    thead {
                        tr {
                            th scope="col" { "Hour" } th scope="col" { "Failed, missed, denied" }
                            th scope="col" { "Ended" } th scope="col" { "To come" }
                        }
                    }
                    tbody {
                        @for (index, Hour { done, faults, expected }) in self.filled() {
                            tr {
                                th scope="row" { (WallTime::of(self.at(index), self.zone).show(now)) }
                                td { @if faults > 0 { a.state-failed href=(self.runs(index, FAULTS)) { (number(faults)) } } @else { "0" } }
                                td { @if done > 0 { a href=(self.runs(index, DONE)) { (number(done)) } } @else { "0" } }
                                td { (number(expected)) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn clock(&self, index: usize) -> String {
        WallTime::of(self.at(index), self.zone).clock()
    }
}

const fn is_fault(state: RunState) -> bool {
    matches!(state, RunState::Failed | RunState::Missed | RunState::Denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: &[(usize, Hour)]) -> Hours {
        let from = Instant::from_millis(1_803_859_200_000).unwrap();
        let mut shown = Hours { from, zone: Zone::UTC, hours: vec![Hour::default(); 48], is_cut: false };
        hours.iter().for_each(|(index, hour)| shown.hours[*index] = *hour);
        shown
    }

    fn shown(all: &[(usize, Hour)]) -> String {
        let hours = hours(all);
        hours.show(&WallTime::of(hours.at(12), Zone::UTC)).into_string()
    }

    #[test]
    fn few_faults_among_many_runs_are_seen() {
        let page = shown(&[(2, Hour { done: 10_000, faults: 1, expected: 0 })]);
        assert!(
            page.contains("<rect class=\"faults\" x=\"42\" y=\"120\" width=\"16\" height=\"6\"></rect></a>"),
            "{page}"
        );
        let address = "/runs?since=2027-03-01T02%3A00%3A00Z&amp;until=2027-03-01T03%3A00%3A00Z&amp;state=failed%2Cmissed%2Cdenied";
        assert_eq!(page.matches(address).count(), 2, "in the picture and in the table: {page}");
    }

    #[test]
    fn hours_to_come_have_no_runs_to_lead_to() {
        let page = shown(&[(20, Hour { done: 0, faults: 0, expected: 1_200 })]);
        assert!(page.contains("<td>1,200</td>") && !page.contains("<a "), "{page}");
    }

    #[test]
    fn a_period_without_runs_says_so() {
        assert!(shown(&[]).contains("There are none"));
    }

    #[test]
    fn the_picture_of_a_full_period_is_small() {
        let full: Vec<_> = (0..48).map(|index| (index, Hour { done: 9_999, faults: 99, expected: 9_999 })).collect();
        let page = shown(&full);
        assert!(page.len() < 60_000, "{}", page.len());
        assert!(!page.contains(" style="), "{page}");
    }
}
