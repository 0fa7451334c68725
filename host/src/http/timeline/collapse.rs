//! Jobs that are due often in a period, each as one entry: a person reads one line, not a thousand.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound::{Excluded, Unbounded},
};

use roost_scheduler::{
    names::RunId, outcome::RunState, scheduler::JobStatus, time::Instant, trigger::Trigger, zone::Zone,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        limits,
        params::{Device, Plugin},
        pauses::PauseRecord,
    },
    EXPECTED,
    ahead::Planned,
    density::Spread,
    forecast::{Forecast, Times},
    grid::Grid,
};
use crate::{calendars, store::EndedRun};

/// The runs of a job in the period, past and expected, if there are more than `collapse`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Collapsed)]
pub(crate) struct CollapsedRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    /// The id of the job. `mist-*` stands for all jobs of the device that are due once and whose ids differ only in
    /// numbers.
    #[schema(pattern = r"^[A-Za-z0-9*][A-Za-z0-9._*-]{0,63}$", examples("mist", "mist-*"))]
    pub(crate) job: String,
    /// The IANA name of the device's time zone, in which the times are.
    #[schema(example = "Europe/London")]
    pub(crate) time_zone: String,
    /// A description of the job for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The number of runs.
    #[schema(minimum = 2, example = 1440)]
    pub(crate) count: u32,
    /// Whether there are more than `count`, because the period has too many to be counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
    /// The number of runs in each state, with those to come as `expected`.
    #[schema(example = json!({"succeeded": 700, "failed": 1, "expected": 739}))]
    pub(crate) states: BTreeMap<String, u32>,
    /// The first occurrence.
    #[schema(format = DateTime)]
    pub(crate) first: String,
    /// The last occurrence; if there are more than `count`, the last that was counted.
    #[schema(format = DateTime)]
    pub(crate) last: String,
    /// The first expected occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) next: Option<String>,
    /// The first occurrence that neither a pause nor the operator skips, if the one at `next` will be skipped; it may be
    /// after the period. Omitted for several jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) next_run: Option<String>,
    /// The time between any two occurrences in milliseconds, if that is the same for all expected ones or, if fewer than
    /// two are expected, for all past ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 60_000)]
    pub(crate) every_ms: Option<i64>,
    /// What is paused, so that nothing will be sent in the period: `all`, its `plugin`, its `device`, or the `job`
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(all|plugin|device|job)$")]
    pub(crate) paused: Option<String>,
    /// The pause in which `next` is, which may end before `last`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pause: Option<PauseRecord>,
    /// The same as `states`, by the equal parts of the period in which they are. Not in answers.
    #[serde(skip)]
    pub(crate) spread: BTreeMap<&'static str, Spread>,
}

/// Instants in any order: their number, the first, the last, and whether they are equally far apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rhythm {
    count: u32,
    span: Option<(Instant, Instant)>,
    /// The greatest common divisor of all distances, in milliseconds.
    step_ms: i64,
}

impl Rhythm {
    fn add(&mut self, at: Instant) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.step_ms = gcd(self.step_ms, at.ms_since(first).abs());
        self.span = Some((first.min(at), last.max(at)));
        self.count += 1;
    }

    fn add_times(&mut self, times: &Times) {
        match times {
            Times::Periodic { first, period_ms, count } => {
                self.add(*first);
                if *count > 1 {
                    self.step_ms = gcd(self.step_ms, *period_ms);
                    self.add(first.plus_ms(period_ms * i64::from(count - 1)));
                    self.count += count - 2;
                }
            }
            Times::Listed { list, from, .. } => list[*from..].iter().for_each(|at| self.add(*at)),
        }
    }

    /// Returns the interval, if the instants are equally far apart.
    fn every_ms(self) -> Option<i64> {
        let (first, last) = self.span?;
        let is_regular = self.step_ms > 0 && last.ms_since(first) / self.step_ms + 1 == i64::from(self.count);
        is_regular.then_some(self.step_ms)
    }
}

fn gcd(one: i64, other: i64) -> i64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

/// The place of a collapsed entry in the order of time.
pub(super) type CollapsedKey = (Instant, String);

/// The past and expected runs of a job, or of jobs that count as one.
#[derive(Debug, Default)]
pub(super) struct Collapsed {
    states: BTreeMap<&'static str, Spread>,
    past: Rhythm,
    ahead: Rhythm,
    /// Runs that were requested, at any time.
    requested: Rhythm,
    is_cut: bool,
    /// The label of the last past run.
    label: Option<String>,
    /// The first job of it that exists.
    job: Option<usize>,
}

impl Collapsed {
    fn count(&self) -> u32 {
        self.past.count + self.ahead.count + self.requested.count
    }

    fn span(&self) -> Option<(Instant, Instant)> {
        let spans = || [self.past.span, self.ahead.span, self.requested.span].into_iter().flatten();
        Some((spans().map(|(first, _)| first).min()?, spans().map(|(_, last)| last).max()?))
    }

    fn add_past(&mut self, grid: Grid, state: RunState, at: Instant, of_trigger: bool) {
        self.states.entry(state.as_str()).or_default().add(grid.bucket(at), 1);
        if of_trigger { self.past.add(at) } else { self.requested.add(at) }
    }

    /// Returns the record of the jobs with this name.
    pub(super) fn record(&self, name: &str, jobs: &[Planned], host: Zone) -> Option<CollapsedRecord> {
        let [plugin, device, job] = name.split('/').collect::<Vec<_>>().try_into().ok()?;
        let (first, last) = self.span()?;
        let known = self.job.map(|index| &jobs[index].status);
        // Jobs are gone, but perhaps not their device.
        let mut of_device =
            jobs.iter().filter(|one| one.status.plugin.as_str() == plugin && one.status.device.as_str() == device);
        let zone = known.or_else(|| of_device.next().map(|one| &one.status)).map_or(host, |job| job.site.zone);
        Some(CollapsedRecord {
            plugin: plugin.to_owned(),
            device: device.to_owned(),
            job: job.to_owned(),
            time_zone: zone.name().to_owned(),
            label: known.map_or(self.label.as_deref(), |job| job.job.body.label()).map(str::to_owned),
            count: self.count(),
            more: self.is_cut,
            states: self.states.iter().map(|(state, spread)| ((*state).to_owned(), total(spread))).collect(),
            spread: self.states.clone(),
            first: first.in_zone(zone),
            last: last.in_zone(zone),
            next: self.ahead.span.map(|(next, _)| next.in_zone(zone)),
            // Of several jobs, the first one may not be the first to run.
            next_run: known
                .zip(self.ahead.span)
                .filter(|_| !job.contains('*'))
                .and_then(|(job, (next, _))| {
                    job.first_unskipped(next, &mut calendars::almanac()).filter(|run| *run != next)
                })
                .map(|run| run.in_zone(zone)),
            every_ms: if self.ahead.count > 1 { self.ahead.every_ms() } else { self.past.every_ms() },
            pause: known
                .zip(self.ahead.span)
                .and_then(|(job, (next, _))| Some(PauseRecord::new(job.pauses.at(next)?, zone))),
            paused: known
                .filter(|_| self.ahead.count > 0)
                .zip(self.ahead.span)
                .and_then(|(job, (first, last))| job.pauses.at(first).filter(|by| by.pause.covers(last)))
                .map(|by| by.what.as_str().to_owned()),
        })
    }
}

fn total(spread: &Spread) -> u32 {
    u32::try_from(spread.total()).unwrap_or(u32::MAX)
}

/// Past runs, by the name of their job, or of the jobs that count as one.
pub(super) type Past = HashMap<String, Collapsed>;

/// The names of the jobs that are due more than once, which never count as one with others.
pub(super) type Recurring = HashSet<String>;

pub(super) fn recurring(jobs: &[Planned]) -> Recurring {
    let recurring = jobs.iter().filter(|job| !matches!(job.status.job.trigger, Trigger::At(_)));
    let name = |job: &Planned| format!("{}/{}/{}", job.status.plugin, job.status.device, job.status.job.body.id());
    recurring.map(name).collect()
}

/// Returns the name of a job, or that of the jobs with which it counts as one, such as `greenhouse/tomatoes/mist-*`.
fn name_of(recurring: &Recurring, plugin: &str, device: &str, job: &str) -> String {
    let name = format!("{plugin}/{device}/{job}");
    if recurring.contains(&name) { name } else { format!("{plugin}/{device}/{}", stem(job)) }
}

/// Replaces numbers, and what is between them: `mist-2027-03-01-48` becomes `mist-*`.
pub(crate) fn stem(id: &str) -> String {
    let (mut stem, mut rest) = (String::new(), id);
    while let Some(start) = rest.find(|one: char| one.is_ascii_digit()) {
        let end = rest[start..].find(|one: char| !(one.is_ascii_digit() || "-._".contains(one)));
        let number = rest[start..end.map_or(rest.len(), |end| start + end)].trim_end_matches(['-', '.', '_']);
        stem.push_str(&rest[..start]);
        stem.push('*');
        rest = &rest[start + number.len()..];
    }
    stem + rest
}

/// The jobs that are due too often in a period.
#[derive(Debug, Default)]
pub(super) struct Collapse {
    entries: BTreeMap<CollapsedKey, Collapsed>,
    names: HashSet<String>,
    recurring: Recurring,
}

impl Collapse {
    /// Adds a run that has ended to the past runs.
    pub(super) fn add_ended(past: &mut Past, (recurring, grid): (&Recurring, Grid), run: EndedRun<'_>) {
        let EndedRun { plugin, device, job, state, occurrence, of_trigger, label } = run;
        let Some(state) = RunState::parse(state) else { return };
        let one = past.entry(name_of(recurring, plugin, device, job)).or_default();
        one.add_past(grid, state, occurrence, of_trigger);
        if one.label.as_deref() != label {
            one.label = label.map(str::to_owned);
        }
    }

    /// Returns the jobs with more than `most` runs, out of past runs, runs under way, and expected ones.
    pub(super) fn new(
        mut all: Past,
        jobs: &[Planned],
        (recurring, grid): (Recurring, Grid),
        window: (Instant, Instant),
        most: u32,
    ) -> Self {
        let mut forecast = Forecast::new(window, limits::COLLAPSED_OCCURRENCES, most as usize + 1);
        for (index, Planned { status, runs }) in jobs.iter().enumerate() {
            let name = name_of(&recurring, status.plugin.as_str(), status.device.as_str(), status.job.body.id());
            let one = all.entry(name).or_default();
            one.job.get_or_insert(index);
            for run in runs.iter().filter(|run| (window.0..window.1).contains(&run.id.occurrence)) {
                one.add_past(grid, RunState::Running, run.id.occurrence, run.id.origin.is_trigger());
            }
            let times = forecast.times(status);
            one.is_cut |= times.is_cut();
            if times.count() > 0 {
                one.states.entry(EXPECTED).or_default().merge(&grid.spread(&times));
                one.ahead.add_times(&times);
            }
        }
        all.retain(|_, one| one.count() > most);
        let names = all.keys().cloned().collect();
        let entries = all.into_iter().filter_map(|(name, one)| Some(((one.span()?.0, name), one)));
        Self { entries: entries.collect(), names, recurring }
    }

    /// Returns the entries after one, in the order of time.
    pub(super) fn after(&self, last: Option<CollapsedKey>) -> impl Iterator<Item = (&CollapsedKey, &Collapsed)> {
        self.entries.range((last.map_or(Unbounded, Excluded), Unbounded))
    }

    /// Checks whether the runs of a job are collapsed.
    pub(super) fn has_job(&self, job: &JobStatus) -> bool {
        self.has(job.plugin.as_str(), job.device.as_str(), job.job.body.id())
    }

    /// Checks whether a run is collapsed.
    pub(super) fn has_run(&self, run: &RunId) -> bool {
        self.has(run.plugin.as_str(), run.device.as_str(), run.job.as_str())
    }

    fn has(&self, plugin: &str, device: &str, job: &str) -> bool {
        self.names.contains(&name_of(&self.recurring, plugin, device, job))
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::pause::Level;

    use super::{
        super::{
            super::pauses::tests::paused_by,
            ahead::tests::{DAY, planned},
        },
        *,
    };

    const HOUR_MS: i64 = 3_600_000;

    fn hour(number: i64) -> Instant {
        DAY.plus_ms(number * HOUR_MS)
    }

    fn ended(job: &'static str, state: &'static str, at: Instant) -> EndedRun<'static> {
        EndedRun { plugin: "coop", device: "north", job, state, occurrence: at, of_trigger: true, label: None }
    }

    fn collapsed(jobs: &[Planned], ended: &[EndedRun<'_>], hours: (i64, i64), most: u32) -> Vec<String> {
        let (mut past, recurring, window) = (Past::default(), recurring(jobs), (hour(hours.0), hour(hours.1)));
        let grid = Grid::new(window, 24);
        ended.iter().for_each(|run| Collapse::add_ended(&mut past, (&recurring, grid), *run));
        let found = Collapse::new(past, jobs, (recurring, grid), window, most);
        let records = found.entries.iter().map(|((_, name), one)| one.record(name, jobs, Zone::UTC).unwrap());
        let line = |one: CollapsedRecord| {
            let every = one.every_ms.map_or("-".into(), |ms| format!("{}m", ms / 60_000));
            let times =
                [Some(one.first), Some(one.last), one.next].map(|at| at.map_or("-".into(), |at| at[8..16].to_owned()));
            format!("{} {} {every} {} {:?}", one.job, one.count, times.join(" "), one.states)
        };
        records.map(line).collect()
    }

    #[test]
    fn ids_that_differ_only_in_numbers_have_one_stem() {
        for (id, expected) in [
            ("mist", "mist"),
            ("mist-2027-03-01-48", "mist-*"),
            ("2027.03.01_mist", "*_mist"),
            ("zone2-on", "zone*-on"),
            ("a1b22c-3-", "a*b*c-*-"),
        ] {
            assert_eq!(stem(id), expected);
        }
    }

    #[test]
    fn past_and_expected_runs_are_one_entry() {
        let mut hourly = planned("hourly", "every 1h", &[0, 60_000], 0);
        hourly.status.watermark = hour(2);
        let past = [
            ended("hourly", "succeeded", hour(0)),
            ended("hourly", "failed", hour(1)),
            ended("hourly", "missed", hour(2)),
        ];
        let expected =
            r#"hourly 24 60m 01T00:00 01T23:00 01T03:00 {"expected": 21, "failed": 1, "missed": 1, "succeeded": 1}"#;
        assert_eq!(collapsed(&[hourly.clone()], &past, (0, 24), 23), [expected]);
        assert!(collapsed(&[hourly], &past, (0, 24), 24).is_empty());
    }

    #[test]
    fn jobs_that_are_due_once_count_as_one_if_only_numbers_differ() {
        let at = |id: &str, time: &str| planned(id, &format!("at 2027-03-01T{time}:00Z"), &[0], 0);
        let jobs = [at("mist-1", "10:00"), at("mist-2", "10:10"), at("mist-3", "10:20"), at("wet-1", "10:00")];
        assert_eq!(collapsed(&jobs, &[], (0, 24), 2), [r#"mist-* 3 10m 01T10:00 01T10:20 01T10:00 {"expected": 3}"#]);
        // Those that are gone count, too.
        let past = [ended("mist-0", "succeeded", hour(9)), ended("zone-1", "succeeded", hour(9))];
        let expected = r#"mist-* 4 10m 01T09:00 01T10:20 01T10:00 {"expected": 3, "succeeded": 1}"#;
        assert_eq!(collapsed(&jobs, &past, (0, 24), 2), [expected]);
        // Jobs that are due again and again do not.
        let jobs = ["zone-1", "zone-2", "zone-3"].map(|id| planned(id, "cron 0 6 * * *", &[0], 0));
        assert!(collapsed(&jobs, &[], (0, 24), 2).is_empty());
    }

    #[test]
    fn the_next_run_of_a_paused_job_is_the_first_one_after_the_pause() {
        let mut jobs = [planned("mist", "every 1h", &[0], 0)];
        let by = paused_by(Level::Device, None, Some(hour(30).plus_ms(1)));
        jobs[0].status.pauses = [by].into_iter().collect();
        let (recurring, window) = (recurring(&jobs), (DAY, hour(24)));
        let found = Collapse::new(Past::default(), &jobs, (recurring, Grid::new(window, 24)), window, 6);
        let record = found.entries.iter().find_map(|((_, name), one)| one.record(name, &jobs, Zone::UTC)).unwrap();
        assert_eq!(record.next_run, Some(hour(31).in_zone(Zone::UTC)), "{record:?}");
    }

    #[test]
    fn irregular_runs_have_no_interval() {
        let jobs = [planned("vents", "cron 0 6,7,9 * * *", &[0], 0)];
        assert_eq!(collapsed(&jobs, &[], (0, 24), 2), [r#"vents 3 - 01T06:00 01T09:00 01T06:00 {"expected": 3}"#]);
        let past = [
            ended("gone", "succeeded", hour(0)),
            ended("gone", "succeeded", hour(2)),
            ended("gone", "missed", hour(4)),
        ];
        assert_eq!(
            collapsed(&[], &past, (0, 24), 2),
            [r#"gone 3 120m 01T00:00 01T04:00 - {"missed": 1, "succeeded": 2}"#]
        );
    }

    #[test]
    fn the_occurrences_that_are_searched_for_are_bounded() {
        let jobs = [planned("a", "cron * * * * * *", &[0], 0), planned("b", "cron 1-59 * * * * *", &[0], 0)];
        let (past, recurring, window) = (Past::default(), recurring(&jobs), (DAY, hour(24 * 7)));
        let found = Collapse::new(past, &jobs, (recurring, Grid::new(window, 7)), window, 6);
        let records: Vec<_> =
            found.entries.iter().map(|((_, name), one)| one.record(name, &jobs, Zone::UTC).unwrap()).collect();
        assert_eq!(
            records.iter().map(|one| (one.count, one.more)).collect::<Vec<_>>(),
            [(u32::try_from(limits::COLLAPSED_OCCURRENCES).unwrap(), true), (7, true)]
        );
    }
}
