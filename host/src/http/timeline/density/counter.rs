//! Counts runs by group, state and bucket.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use roost_scheduler::{
    outcome::RunState,
    scheduler::{JobStatus, RunStatus},
    time::Instant,
};

use super::{
    super::{
        super::{limits, reason_template::template},
        EXPECTED,
        forecast::{Forecast, Times},
        grid::Grid,
    },
    records::{By, GroupRecord},
};
use crate::{report::shown, store::Count};

/// The state of what would be expected, if its job were not paused.
const PAUSED: &str = "paused";

/// Adds the number of past runs with the same outcome.
pub(super) fn add_past(groups: &mut Groups, by: By, Count { bucket, plugin, group, state, count }: &Count<'_>) {
    let Some(state) = RunState::parse(state) else { return };
    let name = name(by, (plugin, group), || shown(&template(group, &[])), state.as_str());
    groups.entry(name).or_default().add(state.as_str(), [(*bucket, *count)]);
}

/// Returns the name of the group of a run with a state.
fn name(by: By, (plugin, device): (&str, &str), reason: impl FnOnce() -> String, state: &str) -> String {
    match by {
        By::Plugin => plugin.to_owned(),
        By::Device => format!("{plugin}/{device}"),
        By::Reason => Some(reason()).filter(|reason| !reason.is_empty()).unwrap_or_else(|| state.to_owned()),
    }
}

pub(super) type Groups = HashMap<String, GroupRecord>;

/// The counts of a list of occurrences, and that list, so that its address stays unique.
type Counted = (Arc<[Instant]>, Arc<[(usize, u32)]>);

/// Counts runs by group, state and bucket.
pub(super) struct Counter {
    window: (Instant, Instant),
    grid: Grid,
    by: By,
    forecast: Forecast,
    /// By the address of the list, and the first index: many jobs are due at the same times.
    counted: HashMap<(usize, usize), Counted>,
    groups: Groups,
    /// The groups beyond those that are held in memory, and their names.
    rest: (GroupRecord, HashSet<String>),
    /// Whether there are more expected runs than were counted.
    pub(super) more: bool,
}

impl Counter {
    pub(super) fn new(window: (Instant, Instant), by: By, buckets: u32) -> Self {
        Self {
            window,
            grid: Grid::new(window, buckets),
            by,
            forecast: Forecast::new(window, limits::DENSITY_OCCURRENCES, 1),
            counted: HashMap::new(),
            groups: HashMap::new(),
            rest: Default::default(),
            more: false,
        }
    }

    pub(super) fn add_job(&mut self, job: &JobStatus) {
        let times = self.forecast.times(job);
        if times.count() == 0 {
            return;
        }
        self.more |= times.is_cut();
        let owner = (job.plugin.as_str(), job.device.as_str());
        if job.pauses.is_empty() {
            let counts = self.counts(&times);
            let name = name(self.by, owner, String::new, EXPECTED);
            return self.group(name).add(EXPECTED, counts.iter().copied());
        }
        for (state, times) in [EXPECTED, PAUSED].into_iter().zip(times.divided(&job.pauses)) {
            for times in times {
                let spread = self.grid.spread(&times);
                let name = name(self.by, owner, String::new, state);
                self.group(name).add(state, spread.iter());
            }
        }
    }

    pub(super) fn add_run(&mut self, run: &RunStatus) {
        if !(self.window.0..self.window.1).contains(&run.id.occurrence) {
            return;
        }
        let (bucket, state) = (self.grid.bucket(run.id.occurrence), RunState::Running.as_str());
        let name = name(self.by, (run.id.plugin.as_str(), run.id.device.as_str()), String::new, state);
        self.group(name).add(state, [(bucket, 1)]);
    }

    fn group(&mut self, name: String) -> &mut GroupRecord {
        if self.groups.len() >= limits::DENSITY_HELD_GROUPS && !self.groups.contains_key(&name) {
            self.rest.1.insert(name);
            return &mut self.rest.0;
        }
        self.groups.entry(name).or_default()
    }

    /// Returns the number of occurrences in each bucket.
    fn counts(&mut self, times: &Times) -> Arc<[(usize, u32)]> {
        let count = || self.grid.spread(times).iter().collect::<Arc<[_]>>();
        let Times::Listed { list, from, .. } = times else { return count() };
        let counted = self.counted.entry((list.as_ptr().addr(), *from)).or_insert_with(|| (list.clone(), count()));
        counted.1.clone()
    }

    /// Adds past runs, and returns the first groups, those with faults before others, and the sum of the other groups.
    pub(super) fn into_groups(mut self, past: Groups) -> (Vec<GroupRecord>, Option<GroupRecord>) {
        for (name, past) in past {
            let is_held = self.groups.len() < limits::DENSITY_HELD_GROUPS || past.faults() > 0;
            let group = if is_held { self.groups.entry(name).or_default() } else { self.group(name) };
            group.merge(&past);
        }
        let mut groups: Vec<_> =
            self.groups.into_iter().map(|(name, group)| GroupRecord { name, groups: 1, ..group }).collect();
        groups.sort_by_cached_key(|group| (Reverse(group.faults()), Reverse(group.count), group.name.clone()));
        let (mut other, names) = self.rest;
        other.groups = names.len();
        for group in groups.split_off(groups.len().min(limits::DENSITY_GROUPS)) {
            other.merge(&group);
            other.groups += 1;
        }
        (groups, Some(other).filter(|other| other.count > 0))
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::pause::{Level, Pauses};

    use super::{
        super::{
            super::{
                super::pauses::tests::{paused_by, until_resumed},
                ahead::tests::{DAY, planned},
            },
            records::Spread,
        },
        *,
    };

    const HOUR_MS: i64 = 3_600_000;

    fn window() -> (Instant, Instant) {
        (DAY, DAY.plus_ms(24 * HOUR_MS))
    }

    fn counter(by: By, buckets: u32) -> Counter {
        Counter::new(window(), by, buckets)
    }

    fn job(id: &str, trigger: &str) -> JobStatus {
        planned(id, trigger, &[0, 60_000], 0).status
    }

    fn shown_groups((groups, other): (Vec<GroupRecord>, Option<GroupRecord>)) -> Vec<String> {
        let states = |group: &GroupRecord| {
            let states = group.states.iter();
            states.map(|(state, spread)| format!(" {state} {}+{:?}", spread.start, spread.counts)).collect::<String>()
        };
        let all = groups.iter().chain(&other);
        all.map(|group| format!("{}:{} {}{}", group.name, group.groups, group.count, states(group))).collect()
    }

    #[test]
    fn periods_are_counted_like_single_occurrences() {
        for (period, buckets) in [("1h", 7), ("1h", 240), ("7m", 240), ("90s", 11), ("1s", 1_000), ("23h", 3)] {
            let mut counter = counter(By::Plugin, buckets);
            let job = job("a", &format!("every {period} from 2027-03-01T00:00:01Z"));
            let Times::Periodic { first, period_ms, count } = counter.forecast.times(&job) else { panic!("{period}") };
            let mut spread = Spread::default();
            for number in 0..count {
                spread.add(counter.grid.bucket(first.plus_ms(period_ms * i64::from(number))), 1);
            }
            let times = counter.forecast.times(&job);
            assert_eq!(*counter.counts(&times), *spread.iter().collect::<Vec<_>>(), "{period}");
            assert!(first.plus_ms(period_ms * i64::from(count)) >= window().1 && count > 0);
        }
    }

    #[test]
    fn expected_and_past_runs_are_counted_by_bucket_and_state() {
        let mut counter = counter(By::Plugin, 4);
        let mut decided = job("a", "cron 0 */3 * * *");
        decided.watermark = DAY.plus_ms(6 * HOUR_MS);
        decided.next = roost_scheduler::scheduler::NextRun::Due(DAY.plus_ms(9 * HOUR_MS));
        counter.add_job(&job("b", "cron 0 */3 * * *"));
        counter.add_job(&decided);
        // A pause that ends: the first two of its four runs.
        let mut ending = job("d", "every 6h");
        ending.pauses = Pauses::from_iter([paused_by(Level::All, None, Some(DAY.plus_ms(12 * HOUR_MS)))]);
        counter.add_job(&ending);
        let mut paused = job("c", "at 2027-03-01T23:59:59Z");
        paused.pauses = Pauses::from_iter([until_resumed(Level::Device)]);
        counter.add_job(&paused);
        let mut past = Groups::new();
        past.entry("coop".into()).or_default().add("failed", [(1, 3)]);
        assert!(!counter.more);
        let expected = ["coop:1 21 expected 0+[2, 3, 5, 5] failed 1+[3] paused 0+[1, 1, 0, 1]"];
        assert_eq!(shown_groups(counter.into_groups(past)), expected);
    }

    #[test]
    fn groups_with_faults_are_first_and_the_others_are_one() {
        let mut counter = counter(By::Device, 2);
        let names = (0..25).map(|number| format!("door-{number:02}"));
        for (name, times) in names.zip(["every 1h", "every 2h"].into_iter().cycle()) {
            let mut job = job("a", times);
            job.device = roost_scheduler::names::DeviceName::parse(&name).unwrap();
            counter.add_job(&job);
        }
        let mut past = Groups::new();
        past.entry("coop/door-23".into()).or_default().add("missed", [(0, 1)]);
        past.entry("coop/gone".into()).or_default().add("succeeded", [(0, 1)]);
        let shown = shown_groups(counter.into_groups(past));
        assert_eq!(shown.len(), 21);
        assert_eq!(shown[0], "coop/door-23:1 13 expected 0+[6, 6] missed 0+[1]");
        assert_eq!(shown[1], "coop/door-00:1 24 expected 0+[12, 12]");
        // Five doors with 12 runs each, and the one that is gone.
        assert_eq!(shown[20], ":6 61 expected 0+[30, 30] succeeded 0+[1]");
    }

    #[test]
    fn runs_without_a_reason_are_grouped_by_their_state() {
        let mut groups = Groups::new();
        for group in ["", "12m late: the host was not running", "3m late: the host was not running"] {
            let count = Count { bucket: 0, plugin: "", group, state: "missed", count: 2 };
            add_past(&mut groups, By::Reason, &count);
        }
        let mut counts: Vec<_> = groups.iter().map(|(name, group)| (name.as_str(), group.count)).collect();
        counts.sort_unstable();
        assert_eq!(counts, [("missed", 2), ("… late: the host was not running", 4)]);
    }

    #[test]
    fn the_occurrences_that_are_searched_for_are_bounded() {
        let mut counter = counter(By::Plugin, 240);
        let patterns = ["* * * * * *", "1-59 * * * * *", "2-59 * * * * *", "3-59 * * * * *"];
        patterns.iter().for_each(|pattern| counter.add_job(&job("a", &format!("cron {pattern}"))));
        assert!(counter.more);
        let (groups, _) = counter.into_groups(Groups::new());
        // The last one was searched for once.
        assert_eq!(groups[0].count, limits::DENSITY_OCCURRENCES as u64 + 1);
    }
}
