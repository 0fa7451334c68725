//! The agenda: when jobs, runs, holds and plans are due, and how the wall clock was set meanwhile (I11).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    event::{Change, DeviceKey, JobKey, PauseScope, Step},
    keys::{GroupKey, RunSlot},
    mutants::{Mutation, mutated},
    names::{Origin, RunId},
    time::Instant,
    trigger::{Almanac, Calendars},
};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A job is due, or the search for its next occurrence continues.
    Job(JobKey),
    /// A run's wait ends.
    Run(RunSlot),
    /// The longest time for which a run may hold a resource ends.
    Hold(RunSlot),
    /// A device's plan is to be requested.
    Replan(DeviceKey),
    /// Expired tombstones are to be removed.
    Forget,
    /// A pause begins, ends, or can be forgotten.
    Pause(PauseScope),
}

/// There is one for each job.
const _: () = assert!(size_of::<(Instant, Timer)>() == 16);

/// See the module.
#[derive(Debug)]
pub(crate) struct Agenda {
    timers: BTreeSet<(Instant, Timer)>,
    /// When the jobs of each group are due.
    of_group: BTreeMap<GroupKey, BTreeSet<(Instant, JobKey)>>,
    almanac: Almanac,
    /// The number of times that the clock was set back.
    series: u32,
    /// The stretch of time that the clock was last set forward over.
    jumped: Option<(Instant, Instant)>,
    /// When the host started: earlier runs were held up because it was not running.
    since: Instant,
    /// The last instant that [`Agenda::unique_instant`] returned.
    last_unique: Instant,
}

impl Agenda {
    pub(crate) fn new(now: Instant, series: u32, calendars: Calendars) -> Self {
        Self {
            timers: BTreeSet::new(),
            of_group: BTreeMap::new(),
            almanac: Almanac::new(calendars),
            series,
            jumped: None,
            since: now,
            last_unique: now,
        }
    }

    /// Sets the timers after a restart, all at once: that is faster, and takes half the memory.
    pub(crate) fn restore_timers(&mut self, timers: Vec<(Instant, Timer)>) {
        self.timers = timers.into_iter().collect();
    }

    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) {
        self.timers.insert((at, timer));
    }

    pub(crate) fn disarm(&mut self, at: Instant, timer: Timer) {
        self.timers.remove(&(at, timer));
    }

    pub(crate) fn is_armed(&self, at: Instant, timer: Timer) -> bool {
        self.timers.contains(&(at, timer))
    }

    /// Returns when the next timer fires.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next_at().is_some_and(|at| at <= now)
    }

    /// Removes and returns the next timer that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        if self.is_due(now) { self.timers.pop_first().map(|(_, timer)| timer) } else { None }
    }

    /// Adds a due time of a job to its group.
    pub(crate) fn join_group(&mut self, group: GroupKey, at: Instant, job: JobKey) {
        self.of_group.entry(group).or_default().insert((at, job));
    }

    /// Removes a due time of a job from its group.
    pub(crate) fn leave_group(&mut self, group: &GroupKey, at: Instant, job: JobKey) {
        let Some(due) = self.of_group.get_mut(group) else { return };
        due.remove(&(at, job));
        if due.is_empty() {
            self.of_group.remove(group);
        }
    }

    /// Returns the jobs of a group that are due, the one that was due last first.
    pub(crate) fn due_in_group(&self, group: &GroupKey, now: Instant) -> impl Iterator<Item = JobKey> {
        let due = self.of_group.get(group).into_iter();
        due.flat_map(move |due| due.range(..=(now, JobKey::MAX)).rev()).map(|(_, job)| *job)
    }

    /// Returns when the host started, by today's clock.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// Returns the clock series: the number of times that the clock was set back.
    pub(crate) const fn series(&self) -> u32 {
        self.series
    }

    /// Returns the origin of runs that a trigger makes now. Triggers that count elapsed time go back with the clock,
    /// and a plan may give any job such a trigger.
    pub(crate) const fn origin(&self) -> Origin {
        if self.series == 0 { Origin::Trigger } else { Origin::Series(self.series) }
    }

    /// Begins a new series: from here on, the same occurrence is a different run.
    pub(crate) fn begin_series(&mut self, out: &mut Step) {
        if !mutated(Mutation::ClockBeginsNoSeries) {
            self.series += 1;
        }
        out.changes.push(Change::SeriesBegun(self.series));
    }

    /// Records that the clock was set; the caller moves the timers that measure a duration.
    pub(crate) fn clock_set(&mut self, now: Instant, by_ms: i64, out: &mut Step) {
        self.jumped = (by_ms > 0).then(|| (now.plus_ms(-by_ms), now));
        // Later occurrences are not held up by the start of the host.
        self.since = self.since.min(now);
        if by_ms < 0 {
            self.last_unique = now;
            self.begin_series(out);
        }
    }

    /// Returns whether the clock was set forward past that time.
    pub(crate) fn was_skipped_by_clock(&self, at: Instant) -> bool {
        self.jumped.is_some_and(|(from, to)| from < at && at <= to)
    }

    /// Returns the stretch that the clock was set forward over and that was decided before the clock was set back:
    /// nothing in it is caught up.
    pub(crate) fn decided_before(&self, decided: Instant) -> Option<(Instant, Instant)> {
        let (from, to) = self.jumped?;
        Some((from, to.min(decided))).filter(|(from, to)| from < to)
    }

    /// Returns the current time, moved so that no two calls return the same: neither within a millisecond, nor after
    /// the clock was set back, because that starts a new series.
    pub(crate) fn unique_instant(&mut self, now: Instant) -> Instant {
        self.last_unique = now.max(self.last_unique.plus_ms(1));
        self.last_unique
    }

    /// Takes note of a stored run, whose time no later call of [`Agenda::unique_instant`] may return.
    pub(crate) fn remember_unique(&mut self, run: &RunId) {
        let (at, series) = match run.origin {
            Origin::Replay { at, series } => (at, series),
            Origin::Manual { series } => (run.occurrence, series),
            Origin::Trigger | Origin::Series(_) => return,
        };
        if series == self.series {
            self.last_unique = self.last_unique.max(at);
        }
    }

    /// Returns the cache of sun events: computing an event takes long.
    pub(crate) const fn almanac(&mut self) -> &mut Almanac {
        &mut self.almanac
    }
}
