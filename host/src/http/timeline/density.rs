//! The density of a timeline: how many runs there are in each part of a period, for any number of jobs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use axum::{Json, extract::State};
use roost_scheduler::{
    outcome::RunState,
    scheduler::{JobStatus, RunStatus},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        extract::Query,
        limits,
        params::{Buckets, Device, Plugin, Time},
        problem::{Answered, Problem},
        state::ApiState,
    },
    EXPECTED, OwnerFilter,
    forecast::{Forecast, Times},
    window,
};
use crate::{
    report::shown,
    store::{self, CountBy, CountFilter},
};

/// The state of what would be expected, if its job were not paused.
const PAUSED: &str = "paused";

/// The number of runs in equal parts of a period, the buckets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Density)]
pub(crate) struct DensityRecord {
    /// The start of the first bucket.
    #[schema(format = DateTime)]
    pub(crate) from: String,
    /// The end of the last bucket, excluded.
    #[schema(format = DateTime)]
    pub(crate) to: String,
    /// The number of buckets: bucket `i` begins at `from + i · (to - from) / buckets`.
    #[schema(example = 240)]
    pub(crate) buckets: u32,
    pub(crate) by: By,
    /// The groups with the most runs that failed, were missed or were denied; of those with equally many, the groups
    /// with the most runs.
    #[schema(max_items = 20)]
    pub(crate) groups: Vec<GroupRecord>,
    /// All other groups together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) other: Option<GroupRecord>,
    /// Whether there are more expected runs than were counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
}

/// The runs of a plugin, a device or a reason.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = DensityGroup)]
pub(crate) struct GroupRecord {
    /// The plugin, the plugin and the device, or the reason of the outcome, in which `…` stands for numbers and names;
    /// where runs have no reason, their state. Omitted of `other`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false, examples("coop-door", "coop-door/north", "… late: the host was not running"))]
    pub(crate) name: String,
    /// The number of groups that this stands for; 1 if omitted.
    #[serde(skip_serializing_if = "is_one")]
    #[schema(required = false, minimum = 1)]
    pub(crate) groups: usize,
    /// The number of runs.
    pub(crate) count: u64,
    /// The runs of each state: `expected`, `paused` (expected, and their job is paused), `running`, or an outcome.
    #[schema(value_type = BTreeMap<String, Spread>, example = json!({
        "succeeded": {"start": 66, "counts": [2, 0, 1]}, "expected": {"start": 80, "counts": [1]}
    }))]
    pub(crate) states: BTreeMap<&'static str, Spread>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(number: &usize) -> bool {
    *number == 1
}

/// Counts of successive buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Spread {
    /// The bucket of the first count, counted from 0.
    pub(crate) start: usize,
    /// The number of runs in this bucket and in those after it; further buckets have none.
    #[schema(value_type = Vec<u64>)]
    pub(crate) counts: Vec<u32>,
}

impl Spread {
    fn add(&mut self, bucket: usize, count: u32) {
        if self.counts.is_empty() {
            self.start = bucket;
        } else if bucket < self.start {
            self.counts.splice(..0, std::iter::repeat_n(0, self.start - bucket));
            self.start = bucket;
        }
        let index = bucket - self.start;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] = self.counts[index].saturating_add(count);
    }

    fn iter(&self) -> impl Iterator<Item = (usize, u32)> {
        (self.start..).zip(&self.counts).map(|(bucket, count)| (bucket, *count)).filter(|(_, count)| *count > 0)
    }

    /// Returns the number of runs in all buckets.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }
}

impl GroupRecord {
    fn add(&mut self, state: &'static str, counts: impl IntoIterator<Item = (usize, u32)>) {
        let spread = self.states.entry(state).or_default();
        for (bucket, count) in counts {
            spread.add(bucket, count);
            self.count += u64::from(count);
        }
    }

    fn merge(&mut self, other: &Self) {
        for (state, spread) in &other.states {
            self.add(state, spread.iter());
        }
    }

    /// Returns the number of runs that need attention.
    fn faults(&self) -> u64 {
        let faults = [RunState::Failed, RunState::Missed, RunState::Denied];
        faults.iter().filter_map(|state| self.states.get(state.as_str())).map(Spread::total).sum()
    }
}

/// By what runs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Plugin,
    Device,
    Reason,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct DensityQuery {
    /// The start. Default: now
    #[param(value_type = String, required = false, format = DateTime, example = "2027-03-01T00:00:00Z")]
    from: Option<Time>,
    /// The end, excluded; at most 400 days after the start. Default: a day after the start
    #[param(value_type = String, required = false, format = DateTime)]
    to: Option<Time>,
    /// The number of equal parts of the period
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 240)]
    #[serde(default)]
    buckets: Buckets,
    /// What the runs are grouped by
    #[param(inline, required = false)]
    #[serde(default = "by_plugin")]
    by: By,
    /// Only runs of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// Only runs of devices with this name
    #[param(inline)]
    device: Option<Device>,
}

const fn by_plugin() -> By {
    By::Plugin
}

/// Get how many runs there are in each part of a period
///
/// Counts runs by their occurrence, without jitter: those that have ended, those under way, and those that are expected.
/// Unlike the timeline, it has no limit on the number of jobs. A run that ends at this moment may be counted twice, or
/// not yet.
#[utoipa::path(get, path = "/api/v1/timeline/density", tag = "jobs", params(DensityQuery),
    responses((status = 200, body = DensityRecord)))]
pub(in super::super) async fn density(
    State(state): State<ApiState>,
    Query(query): Query<DensityQuery>,
) -> Answered<DensityRecord> {
    let DensityQuery { from, to, buckets: Buckets(buckets), by, plugin, device } = query;
    let owner = (plugin.map(|Plugin(name)| name), device.map(|Device(name)| name));
    count(&state, owner, window(from, to, limits::TIMELINE_MS)?, by, buckets).await.map(Json)
}

/// Counts the runs of a period.
pub(crate) async fn count(
    state: &ApiState,
    owner: OwnerFilter,
    window: (Instant, Instant),
    by: By,
    buckets: u32,
) -> Result<DensityRecord, Problem> {
    let mut counter = Counter::new(window, by, buckets);
    let mut from = Some(0);
    while let Some(first) = from {
        let owner = owner.clone();
        let batch = state.inspect(move |scheduler| {
            scheduler.jobs_from((owner.0.as_ref(), owner.1.as_ref()), first, limits::JOBS_PER_QUERY)
        });
        let (jobs, next) = batch.await?;
        let counted = tokio::task::spawn_blocking(move || {
            jobs.iter().for_each(|job| counter.add_job(job));
            counter
        });
        counter = counted.await.map_err(|error| Problem::bug(&error))?;
        from = next;
    }
    let mut from = Some(0);
    while let Some(first) = from {
        let (runs, next) = state.inspect(move |scheduler| scheduler.runs_from(first)).await?;
        runs.iter().filter(|run| is_of(&owner, run)).for_each(|run| counter.add_run(run));
        from = next;
    }
    let filter = CountFilter {
        window,
        plugin: owner.0.map(|name| name.to_string()),
        device: owner.1.map(|name| name.to_string()),
    };
    let zone = state.zone();
    let read = state.read(move |data| {
        let past = store::count_ended(data, &filter, (by.into(), buckets), |groups: &mut Groups, count| {
            let Some(state) = RunState::parse(count.state) else { return };
            let name = name(by, (count.plugin, count.group), || general(count.group), state.as_str());
            groups.entry(name).or_default().add(state.as_str(), [(count.bucket, count.count)]);
        })?;
        let more = counter.more;
        let (groups, other) = counter.into_groups(past);
        let (from, to) = (window.0.in_zone(zone), window.1.in_zone(zone));
        Ok(DensityRecord { from, to, buckets, by, groups, other, more })
    });
    read.await
}

impl From<By> for CountBy {
    fn from(by: By) -> Self {
        match by {
            By::Plugin => Self::Plugin,
            By::Device => Self::Device,
            By::Reason => Self::Reason,
        }
    }
}

fn is_of(owner: &OwnerFilter, run: &RunStatus) -> bool {
    let (plugin, device) = owner;
    plugin.as_ref().is_none_or(|name| *name == run.id.plugin)
        && device.as_ref().is_none_or(|name| *name == run.id.device)
}

/// Returns the name of the group of a run with a state.
fn name(by: By, (plugin, device): (&str, &str), reason: impl FnOnce() -> String, state: &str) -> String {
    match by {
        By::Plugin => plugin.to_owned(),
        By::Device => format!("{plugin}/{device}"),
        By::Reason => Some(reason()).filter(|reason| !reason.is_empty()).unwrap_or_else(|| state.to_owned()),
    }
}

/// Replaces what differs between runs that have ended for the same reason, numbers and names, by `…`.
fn general(reason: &str) -> String {
    let mut general = String::new();
    for (number, part) in reason.split('`').enumerate() {
        if number % 2 == 1 {
            general.push_str("`…`");
            continue;
        }
        for word in part.split_inclusive(' ') {
            let bare = word.trim_end_matches([' ', ',', ';', ':']);
            let general_word = if bare.contains(|one: char| one.is_ascii_digit()) { "…" } else { bare };
            if !(general_word == "…" && general.ends_with("… ")) {
                general.push_str(general_word);
                general.push_str(&word[bare.len()..]);
            }
        }
    }
    shown(&general)
}

type Groups = HashMap<String, GroupRecord>;

/// The counts of a list of occurrences, and that list, so that its address stays unique.
type Counted = (Arc<[Instant]>, Arc<[(usize, u32)]>);

/// Counts runs by group, state and bucket.
struct Counter {
    window: (Instant, Instant),
    by: By,
    buckets: i64,
    forecast: Forecast,
    /// By the address of the list, and the first index: many jobs are due at the same times.
    counted: HashMap<(usize, usize), Counted>,
    groups: Groups,
    /// The groups beyond those that are held in memory, and their names.
    rest: (GroupRecord, HashSet<String>),
    more: bool,
}

impl Counter {
    fn new(window: (Instant, Instant), by: By, buckets: u32) -> Self {
        Self {
            window,
            by,
            buckets: buckets.into(),
            forecast: Forecast::new(window, limits::DENSITY_OCCURRENCES, 1),
            counted: HashMap::new(),
            groups: HashMap::new(),
            rest: Default::default(),
            more: false,
        }
    }

    fn bucket(&self, at: Instant) -> usize {
        let (from, to) = self.window;
        usize::try_from(at.ms_since(from) * self.buckets / to.ms_since(from)).unwrap_or_default()
    }

    fn add_job(&mut self, job: &JobStatus) {
        let times = self.forecast.times(job);
        if times.count() == 0 {
            return;
        }
        self.more |= times.is_cut();
        let counts = self.counts(&times);
        let state = if job.paused.is_some() { PAUSED } else { EXPECTED };
        let name = name(self.by, (job.plugin.as_str(), job.device.as_str()), String::new, state);
        self.group(name).add(state, counts.iter().copied());
    }

    fn add_run(&mut self, run: &RunStatus) {
        if !(self.window.0..self.window.1).contains(&run.id.occurrence) {
            return;
        }
        let (bucket, state) = (self.bucket(run.id.occurrence), RunState::Running.as_str());
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
        match times {
            Times::Periodic { first, period_ms, count } => {
                let mut spread = Spread::default();
                let (mut bucket, mut counted) = (self.bucket(*first), 0);
                while counted < *count {
                    // Those before the end of the bucket.
                    let end = self.start_of(bucket + 1);
                    let before = (end.ms_since(*first) + period_ms - 1) / period_ms;
                    let before = u32::try_from(before).unwrap_or(u32::MAX).min(*count);
                    if before > counted {
                        spread.add(bucket, before - counted);
                        counted = before;
                    }
                    bucket += 1;
                }
                spread.iter().collect()
            }
            Times::Listed { list, from, .. } => {
                let key = (list.as_ptr().addr(), *from);
                if let Some((_, counts)) = self.counted.get(&key) {
                    return counts.clone();
                }
                let mut spread = Spread::default();
                list[*from..].iter().for_each(|at| spread.add(self.bucket(*at), 1));
                let counts: Arc<[_]> = spread.iter().collect();
                self.counted.insert(key, (list.clone(), counts.clone()));
                counts
            }
        }
    }

    /// Returns the first instant of a bucket.
    fn start_of(&self, bucket: usize) -> Instant {
        let (from, to) = self.window;
        let bucket = i64::try_from(bucket).unwrap_or(i64::MAX);
        from.plus_ms((bucket * to.ms_since(from) + self.buckets - 1) / self.buckets)
    }

    /// Adds past runs, and returns the first groups, those with faults before others, and the sum of the other groups.
    fn into_groups(mut self, past: Groups) -> (Vec<GroupRecord>, Option<GroupRecord>) {
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
    use roost_scheduler::outcome::Level;

    use super::{
        super::ahead::tests::{DAY, planned},
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
    fn counts_are_trimmed_to_the_buckets_that_have_some() {
        let mut spread = Spread::default();
        for (bucket, count) in [(5, 1), (7, 2), (3, 1), (5, 1)] {
            spread.add(bucket, count);
        }
        assert_eq!((spread.start, &spread.counts[..], spread.total()), (3, &[1, 0, 2, 0, 2][..], 5));
    }

    #[test]
    fn periods_are_counted_like_single_occurrences() {
        for (period, buckets) in [("1h", 7), ("1h", 240), ("7m", 240), ("90s", 11), ("1s", 1_000), ("23h", 3)] {
            let mut counter = counter(By::Plugin, buckets);
            let job = job("a", &format!("every {period} from 2027-03-01T00:00:01Z"));
            let Times::Periodic { first, period_ms, count } = counter.forecast.times(&job) else { panic!("{period}") };
            let mut spread = Spread::default();
            for number in 0..count {
                spread.add(counter.bucket(first.plus_ms(period_ms * i64::from(number))), 1);
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
        let mut paused = job("c", "at 2027-03-01T23:59:59Z");
        paused.paused = Some(Level::Device);
        counter.add_job(&paused);
        let mut past = Groups::new();
        past.entry("coop".into()).or_default().add("failed", [(1, 3)]);
        assert!(!counter.more);
        let expected = ["coop:1 17 expected 0+[2, 3, 4, 4] failed 1+[3] paused 3+[1]"];
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
    fn reasons_that_differ_only_in_numbers_and_names_are_one() {
        for (reason, expected) in [
            ("", ""),
            ("12m 30s late: the host was not running", "… late: the host was not running"),
            ("the broker has no subscriber for `a/b`, step 1", "the broker has no subscriber for `…`, step …"),
            ("superseded by the run of 2027-03-01T06:30:00Z", "superseded by the run of …"),
        ] {
            assert_eq!(general(reason), expected);
        }
        assert_eq!(name(By::Reason, ("a", "b"), String::new, "succeeded"), "succeeded");
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
