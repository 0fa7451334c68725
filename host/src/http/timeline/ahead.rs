//! The expected messages of jobs in the order of time, computed lazily.

use crate::calendars;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use roost_scheduler::{
    body::Body,
    event::JobKey,
    names::{DeviceName, GroupName, JobName, PluginName},
    scheduler::{JobStatus, RunStatus, Scheduler},
    time::Instant,
    trigger::Almanac,
};

use super::{
    forecast::{first, following},
    limits,
};

/// A job, and its runs that have not ended.
#[derive(Clone)]
pub(super) struct Planned {
    pub(super) status: JobStatus,
    pub(super) runs: Vec<RunStatus>,
}

impl Planned {
    fn new(status: JobStatus, scheduler: &Scheduler) -> Self {
        let runs = scheduler.runs_of_job(status.key).take(limits::TIMELINE_RUNS).collect();
        Self { status, runs }
    }

    fn body(&self) -> &Body {
        &self.status.job.body
    }

    /// Returns the group of the job, which is unique within its device. A run of a group may end another one.
    fn group(&self) -> Option<(PluginName, DeviceName, GroupName)> {
        let group = self.body().policy().group()?.clone();
        Some((self.status.plugin.clone(), self.status.device.clone(), group))
    }

    /// Checks whether the run of an occurrence starts exactly then: it has no jitter, and is neither paused nor
    /// skipped.
    fn starts_at(&self, at: Instant) -> bool {
        let JobStatus { pauses, job_override, .. } = &self.status;
        self.body().policy().jitter_ms == 0 && pauses.at(at).is_none() && job_override.skip != Some(at)
    }

    /// Returns the longest time from an occurrence to the last message of its run.
    fn span_ms(&self) -> i64 {
        let last = self.body().steps().map(|step| step.after_ms).max().unwrap_or_default();
        i64::from(last) + i64::from(self.body().policy().jitter_ms)
    }
}

/// Returns the steps of a run that are still to be sent, with their times.
fn remaining(run: &RunStatus) -> impl Iterator<Item = (u32, Instant)> {
    let start = run.started.unwrap_or(run.start);
    let steps = (1..).zip(run.body.steps()).skip(run.next.step - 1);
    steps.map(move |(number, step)| (number, start.plus_ms(step.after_ms.into())))
}

/// Copies a batch of jobs, from a key on. Returns them and the key of the next batch.
pub(super) fn copy_jobs(
    scheduler: &Scheduler,
    of: (Option<&PluginName>, Option<&DeviceName>),
    from: JobKey,
) -> (Vec<Planned>, Option<JobKey>) {
    let (jobs, next) = scheduler.jobs_from(of, from, limits::JOBS_PER_QUERY);
    (jobs.into_iter().map(|job| Planned::new(job, scheduler)).collect(), next)
}

/// A position in the order of time. Jobs are ordered by name, because their keys may change between two pages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SortKey {
    pub(super) at: Instant,
    pub(super) job: JobName,
    pub(super) occurrence: Instant,
    /// The step, counted from 1; 0 is a run under way.
    pub(super) step: u32,
}

/// An expected message, or a run under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) key: SortKey,
    /// The index of the job.
    pub(super) job: usize,
    /// The run, if it is under way.
    pub(super) run: Option<RunStatus>,
    /// When the run is due, including jitter.
    pub(super) start: Instant,
}

impl Expected {
    /// Returns the body of the run or, if there is none, of the job.
    pub(super) fn body<'e>(&'e self, jobs: &'e [Planned]) -> &'e Body {
        self.run.as_ref().map_or(jobs[self.job].body(), |run| &run.body)
    }
}

/// The kind of an entry in the heap: a run under way, a remaining step of one, or a step of a future occurrence. Runs
/// are given by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Run(usize),
    Remaining(usize, u32),
    Step(u32),
}

/// The occurrences of jobs, in the order of time.
struct Occurrences<'j> {
    jobs: &'j [Planned],
    /// The number of the group of each job.
    groups: Vec<Option<usize>>,
    waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The occurrences of one instant, with the index of the job, and whether the occurrence has a run.
    at_once: Vec<(Instant, usize, bool)>,
}

impl<'j> Occurrences<'j> {
    /// Collects the occurrences with messages that may fall into a period.
    fn new(jobs: &'j [Planned], (from, to): (Instant, Instant), sun: &mut Almanac) -> Self {
        let (mut numbers, mut spans_ms) = (HashMap::new(), Vec::new());
        let number_of = |job: &Planned| {
            let next = numbers.len();
            let number = *numbers.entry(job.group()?).or_insert(next);
            spans_ms.resize(numbers.len(), 0);
            spans_ms[number] = job.span_ms().max(spans_ms[number]);
            Some(number)
        };
        let groups: Vec<Option<usize>> = jobs.iter().map(number_of).collect();
        let mut waiting = BinaryHeap::new();
        for (index, (job, group)) in jobs.iter().zip(&groups).enumerate() {
            // Another job of its group may end a run that would have messages in the period.
            let span_ms = group.map_or_else(|| job.span_ms(), |number| spans_ms[number]);
            let first = first(&job.status, (from.plus_ms(-span_ms), to), sun);
            waiting.extend(first.map(|at| Reverse((at, index))));
        }
        Self { jobs, groups, waiting, at_once: Vec::new() }
    }

    /// Returns the next occurrence up to an instant, the index of its job, and whether it has a run.
    fn next(&mut self, until: Option<Instant>) -> Option<(Instant, usize, bool)> {
        if self.at_once.is_empty() {
            let Reverse((at, _)) = *self.waiting.peek()?;
            if until.is_none_or(|until| at <= until) {
                self.take_at(at);
            }
        }
        self.at_once.pop()
    }

    /// Takes all occurrences of an instant. Of the jobs of a group that start then, the scheduler runs the one with the
    /// highest key.
    fn take_at(&mut self, at: Instant) {
        let mut last: HashMap<usize, JobKey> = HashMap::new();
        let mut due = Vec::new();
        while let Some(Reverse((_, index))) = self.waiting.peek().copied().filter(|Reverse((next, _))| *next == at) {
            self.waiting.pop();
            let job = &self.jobs[index];
            let group = self.groups[index].filter(|_| job.starts_at(at));
            if let Some(group) = group {
                last.entry(group).and_modify(|last| *last = job.status.key.max(*last)).or_insert(job.status.key);
            }
            due.push((index, group));
        }
        let counts = |index: usize, group: Option<usize>| {
            group.and_then(|group| last.get(&group)).is_none_or(|last| *last == self.jobs[index].status.key)
        };
        self.at_once.extend(due.into_iter().map(|(index, group)| (at, index, counts(index, group))));
    }

    fn push(&mut self, at: Option<Instant>, index: usize) {
        self.waiting.extend(at.map(|at| Reverse((at, index))));
    }
}

/// Returns up to `most` expected messages of a period, after a position, and whether these are all. A page examines at
/// most [`limits::TIMELINE_ENTRIES`] entries.
pub(super) fn ahead(
    jobs: &[Planned],
    (from, to): (Instant, Instant),
    after: Option<&SortKey>,
    most: usize,
) -> (Vec<Expected>, bool) {
    let mut sun = calendars::almanac();
    let begin = after.map_or(from, |after| after.at);
    let mut occurrences = Occurrences::new(jobs, (begin, to), &mut sun);
    let mut heap = BinaryHeap::new();
    for (index, job) in jobs.iter().enumerate() {
        for (number, run) in job.runs.iter().enumerate() {
            let occurrence = run.id.occurrence;
            heap.extend((occurrence >= begin).then_some(Reverse((occurrence, index, occurrence, Entry::Run(number)))));
            let remaining = remaining(run).filter(|(_, at)| *at >= begin);
            heap.extend(remaining.map(|(step, at)| Reverse((at, index, occurrence, Entry::Remaining(number, step)))));
        }
    }
    let (mut found, mut examined) = (Vec::new(), 0);
    loop {
        let known = heap.peek().map(|Reverse((at, ..))| *at);
        if let Some((occurrence, index, counts)) = occurrences.next(known) {
            if examined >= limits::TIMELINE_ENTRIES {
                return (found, false);
            }
            let job = &jobs[index];
            if counts {
                let start = job.status.start(occurrence, &mut sun);
                let steps = job.body().steps().map(|step| start.plus_ms(step.after_ms.into()));
                // A task is called at the start, and returns the messages.
                let call = job.body().asks_plugin().then_some(start);
                let steps = (1..).zip(steps.chain(call)).filter(|(_, at)| *at >= begin);
                let before = heap.len();
                heap.extend(steps.map(|(step, at)| Reverse((at, index, occurrence, Entry::Step(step)))));
                examined += heap.len() - before;
            }
            examined += 1;
            occurrences.push(following(&job.status, occurrence, to, &mut sun), index);
            continue;
        }
        let Some(Reverse((at, index, occurrence, what))) = heap.pop().filter(|Reverse((at, ..))| *at < to) else {
            return (found, true);
        };
        let job = &jobs[index];
        let (step, run) = match what {
            Entry::Run(number) => (0, Some(job.runs[number].clone())),
            Entry::Remaining(number, step) => (step, Some(job.runs[number].clone())),
            Entry::Step(step) => (step, None),
        };
        let key = SortKey { at, job: job.status.name(), occurrence, step };
        if after.is_some_and(|after| key <= *after) {
            continue;
        }
        if found.len() == most {
            return (found, false);
        }
        let start = run.as_ref().map_or_else(|| job.status.start(occurrence, &mut sun), |run| run.start);
        found.push(Expected { key, job: index, run, start });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use roost_scheduler::{
        body::PackedJob,
        event::Override,
        model::{Message, Misfire, Policy, Qos, Step},
        names::{JobId, Origin},
        pause::{Level, Pauses},
        scheduler::{NextRun, NextStep, Phase},
        time::Site,
        topic::Topic,
        trigger::{CronCache, parse},
        zone::Zone,
    };

    use super::{super::super::pauses::tests::until_resumed, *};

    pub(in super::super) const DAY: Instant = Instant::from_millis(1_803_859_200_000).unwrap();

    pub(in super::super) fn planned(id: &str, trigger: &str, after_ms: &[u32], jitter_ms: u32) -> Planned {
        let step = |after_ms| Step {
            after_ms,
            message: Message {
                topic: Topic::parse("a/b").unwrap(),
                payload: b"x".as_slice().into(),
                qos: Qos::AtLeastOnce,
                retain: false,
                properties: None,
            },
            once: false,
            confirm: None,
        };
        let steps: Vec<Step> = after_ms.iter().copied().map(step).collect();
        let policy = Policy { jitter_ms, ..Policy::default() };
        let body = Body::new(&JobId::parse(id).unwrap(), None, &policy, &steps);
        let status = JobStatus {
            key: 0,
            plugin: PluginName::parse("coop").unwrap(),
            device: DeviceName::parse("north").unwrap(),
            site: Site { zone: Zone::UTC, location: None },
            job: PackedJob {
                trigger: parse(trigger, &roost_scheduler::trigger::Context::at(DAY), &mut CronCache::default())
                    .unwrap(),
                body,
            },
            next: NextRun::NotBefore(DAY.plus_ms(-1)),
            origin: Origin::Trigger,
            watermark: DAY.plus_ms(-1),
            job_override: Override::default(),
            pauses: Pauses::default(),
        };
        Planned { status, runs: Vec::new() }
    }

    fn shown(found: &[Expected]) -> Vec<String> {
        found.iter().map(|one| format!("{} {} {}", one.key.at, one.key.job.2, one.key.step)).collect()
    }

    #[test]
    fn messages_are_in_the_order_of_time_across_pages() {
        let jobs = [planned("a", "every 1h", &[0, 5_400_000], 0), planned("b", "every 1h", &[0], 60_000)];
        let window = (DAY, DAY.plus_ms(6 * 3_600_000));
        let (all, is_all) = ahead(&jobs, window, None, 1_000);
        assert!(is_all && all.is_sorted_by_key(|one| one.key.clone()), "{:?}", shown(&all));
        // The last second step of `a`, an hour and a half later, is outside the period.
        assert_eq!(all.len(), 6 + 5 + 6, "{:?}", shown(&all));
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let (page, is_all) = ahead(&jobs, window, after.as_ref(), 4);
            after = page.last().map(|one| one.key.clone());
            paged.extend(page);
            if is_all {
                break;
            }
        }
        assert_eq!(shown(&paged), shown(&all));
    }

    #[test]
    fn decided_occurrences_are_not_expected_and_remaining_steps_are() {
        let mut job = planned("a", "every 1h", &[0, 1_800_000], 0);
        job.status.watermark = DAY.plus_ms(3_600_000);
        let (found, _) = ahead(&[job.clone()], (DAY.plus_ms(8_000_000), DAY.plus_ms(10_800_000)), None, 9);
        assert_eq!(shown(&found), ["2027-03-01T02:30:00Z a 2"]);
        job.status.watermark = DAY.plus_ms(7_200_000);
        assert!(ahead(&[job], (DAY, DAY.plus_ms(10_800_000)), None, 9).0.is_empty());
    }

    #[test]
    fn a_run_under_way_keeps_its_steps_when_its_job_changes() {
        let (before, now) = (planned("a", "every 1h", &[0, 6_000], 0), planned("a", "every 1h", &[0, 9_000], 0));
        let (mut job, body) = (now, before.body().clone());
        let started = Some(DAY.plus_ms(1_000));
        job.status.watermark = DAY.plus_ms(3_599_999);
        job.runs = vec![RunStatus {
            id: job.status.run(DAY),
            phase: Phase::Waiting,
            start: DAY,
            started,
            grace_end: None,
            body: body.clone(),
            next: NextStep { step: 2, of: 2, due: DAY.plus_ms(7_000) },
            attempts: 0,
            last: None,
            held_by: None,
            holders: Vec::new(),
        }];
        let jobs = [job];
        let (found, _) = ahead(&jobs, (DAY.plus_ms(1), DAY.plus_ms(3_610_000)), None, 9);
        let expected = ["2027-03-01T00:00:07Z a 2", "2027-03-01T01:00:00Z a 1", "2027-03-01T01:00:09Z a 2"];
        assert_eq!(shown(&found), expected);
        let bodies: Vec<bool> = found.iter().map(|one| *one.body(&jobs) == body).collect();
        assert_eq!(bodies, [true, false, false]);
    }

    #[test]
    fn only_the_last_job_of_a_group_that_starts_at_an_instant_is_expected() {
        let grouped = |key, id, trigger, steps: &[u32]| {
            let misfire = Misfire::LatestOfGroup(GroupName::parse("door").unwrap());
            let mut planned = planned(id, trigger, steps, 0);
            let policy = Policy { misfire, ..Policy::default() };
            let steps: Vec<Step> = planned.body().steps().map(|step| step.to_step()).collect();
            planned.status.job.body = Body::new(&JobId::parse(id).unwrap(), None, &policy, &steps);
            planned.status.key = key;
            planned
        };
        let window = (DAY, DAY.plus_ms(3 * 3_600_000));
        // In the order of names, which is not that of the keys.
        let jobs = [grouped(2, "close", "every 2h", &[0]), grouped(1, "open", "every 1h", &[0, 60_000])];
        let (found, _) = ahead(&jobs, window, None, 99);
        let alone = ["2027-03-01T01:00:00Z open 1", "2027-03-01T01:01:00Z open 2"];
        let expected = [&["2027-03-01T00:00:00Z close 1"][..], &alone, &["2027-03-01T02:00:00Z close 1"]].concat();
        assert_eq!(shown(&found), expected);
        // Also if the period begins after the instant at which they start.
        let (found, _) = ahead(&jobs, (DAY.plus_ms(1), DAY.plus_ms(3_600_000)), None, 99);
        assert!(found.is_empty(), "{:?}", shown(&found));
        // A paused job, or one of another device, does not supersede a run.
        for change in [
            (|job: &mut Planned| job.status.pauses = Pauses::from_iter([until_resumed(Level::Job)]))
                as fn(&mut Planned),
            |job| {
                job.status.device = DeviceName::parse("south").unwrap();
            },
        ] {
            let mut jobs = jobs.clone();
            change(&mut jobs[0]);
            let (found, _) = ahead(&jobs, window, None, 99);
            assert_eq!(shown(&found).iter().filter(|line| line.contains("open")).count(), 6, "{:?}", shown(&found));
        }
    }

    #[test]
    fn the_entries_that_a_page_examines_are_bounded() {
        let (found, is_all) =
            ahead(&[planned("a", "every 1s", &[0], 0)], (DAY, DAY.plus_ms(86_400_000)), None, usize::MAX);
        assert!(!is_all && found.len() <= limits::TIMELINE_ENTRIES && found.len() > 1_000, "{}", found.len());
    }
}
