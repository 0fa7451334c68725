//! The occurrences of jobs in a period, to be counted: many jobs share one search, and periods are not searched at all.

use crate::calendars;
use std::{collections::HashMap, sync::Arc};

use roost_scheduler::{
    pause::Pauses,
    scheduler::{JobStatus, NextRun},
    time::{Instant, Site},
    trigger::{Almanac, Search, Sun, Trigger},
};

/// Returns the first undecided occurrence of a job that is at `from` or later, and before `to`.
pub(super) fn first(job: &JobStatus, (from, to): (Instant, Instant), sun: &mut Almanac) -> Option<Instant> {
    let after = job.watermark.max(from.plus_ms(-1));
    match job.next {
        NextRun::Due(at) if at > after => Some(at).filter(|at| *at < to),
        NextRun::Due(_) => following(job, after, to, sun),
        NextRun::NotBefore(at) => following(job, after.max(at), to, sun),
        NextRun::Never => None,
    }
}

/// Returns the first occurrence of a job after an instant and before `to`.
pub(super) fn following(job: &JobStatus, after: Instant, to: Instant, sun: &mut Almanac) -> Option<Instant> {
    next_before((&job.job.trigger, &job.site), after, to, sun)
}

/// Returns the first occurrence of a trigger after an instant and before `to`.
pub(in super::super) fn next_before(
    (trigger, site): (&Trigger, &Site),
    mut after: Instant,
    to: Instant,
    sun: &mut Almanac,
) -> Option<Instant> {
    loop {
        match trigger.next(after, site, sun) {
            Search::Found(at) => return Some(at).filter(|at| *at < to),
            Search::NotUntil(until) if until < to => after = until,
            Search::NotUntil(_) | Search::Never(_) => return None,
        }
    }
}

/// The undecided occurrences of a job in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// Those at `first + n · period`, for `n` below `count`.
    Periodic { first: Instant, period_ms: i64, count: u32 },
    /// Those of a list from an index on, which may end early.
    Listed { list: Arc<[Instant]>, from: usize, is_cut: bool },
}

impl Times {
    const NONE: Self = Self::Periodic { first: Instant::MIN, period_ms: 1, count: 0 };

    pub(super) fn count(&self) -> u32 {
        match self {
            Self::Periodic { count, .. } => *count,
            Self::Listed { list, from, .. } => u32::try_from(list.len() - from).unwrap_or(u32::MAX),
        }
    }

    /// Divides the occurrences into those in no pause, and those in one. Jitter is not considered.
    pub(super) fn divided(&self, pauses: &Pauses) -> [Vec<Self>; 2] {
        let (mut rest, mut divided) = (self.clone(), [Vec::new(), Vec::new()]);
        while let Some(first) = rest.first() {
            let (paused, end) = match pauses.at(first) {
                Some(by) => (1, by.pause.until()),
                None => (0, pauses.next_after(first)),
            };
            let (before, after) = end.map_or((rest.clone(), Self::NONE), |end| rest.cut(end));
            divided[paused].push(before);
            rest = after;
        }
        divided
    }

    /// Returns the first occurrence.
    fn first(&self) -> Option<Instant> {
        match self {
            Self::Periodic { first, count, .. } => Some(*first).filter(|_| *count > 0),
            Self::Listed { list, from, .. } => list.get(*from).copied(),
        }
    }

    /// Divides the occurrences into those before an instant, and the others.
    fn cut(&self, at: Instant) -> (Self, Self) {
        match self {
            Self::Periodic { first, period_ms, count } => {
                let before = (at.ms_since(*first) + period_ms - 1).max(0) / period_ms;
                let before = u32::try_from(before).unwrap_or(u32::MAX).min(*count);
                let part = |from: u32, count| Self::Periodic {
                    first: first.plus_ms(period_ms * i64::from(from)),
                    period_ms: *period_ms,
                    count,
                };
                (part(0, before), part(before, count - before))
            }
            Self::Listed { list, from, is_cut } => {
                let to = list.partition_point(|listed| *listed < at);
                let before = Self::Listed { list: list[*from..to.max(*from)].into(), from: 0, is_cut: false };
                (before, Self::Listed { list: list.clone(), from: to.max(*from), is_cut: *is_cut })
            }
        }
    }

    /// Checks whether there are more occurrences than were searched for.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Listed { is_cut: true, .. })
    }
}

/// What the occurrences of a trigger depend on, if they have to be searched for.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Rule {
    Cron(Box<str>, &'static str),
    Sun(Box<Sun>, &'static str, Option<[u64; 2]>),
}

impl Rule {
    fn of(trigger: &Trigger, site: &Site) -> Option<Self> {
        match trigger {
            Trigger::At(_) | Trigger::Every(_) => None,
            Trigger::Cron(_) => Some(Self::Cron(trigger.to_string().into(), site.zone.name())),
            Trigger::Sun(sun) => {
                let place = site.location.map(|at| [at.latitude().to_bits(), at.longitude().to_bits()]);
                Some(Self::Sun(sun.clone(), site.zone.name(), place))
            }
        }
    }
}

/// Finds the occurrences of one job after the other in the same period.
#[derive(Debug)]
pub(super) struct Forecast {
    window: (Instant, Instant),
    sun: Almanac,
    found: HashMap<Rule, (Arc<[Instant]>, bool)>,
    /// The number of occurrences that may still be searched for.
    left: usize,
    /// The number of occurrences that are searched for in any case.
    least: usize,
}

impl Forecast {
    /// Once `most` occurrences were searched for, only the first `least` of each further trigger are. A job that is due
    /// once or periodically needs no search.
    pub(super) fn new(window: (Instant, Instant), most: usize, least: usize) -> Self {
        Self { window, sun: calendars::almanac(), found: HashMap::new(), left: most, least }
    }

    /// Returns the undecided occurrences of a job.
    pub(super) fn times(&mut self, job: &JobStatus) -> Times {
        let to = self.window.1;
        let Some(first) = first(job, self.window, &mut self.sun) else { return Times::NONE };
        match (&job.job.trigger, Rule::of(&job.job.trigger, &job.site)) {
            (Trigger::Every(every), _) => {
                let period_ms = every.period();
                let count = u32::try_from((to.ms_since(first) - 1) / period_ms + 1).unwrap_or(u32::MAX);
                Times::Periodic { first, period_ms, count }
            }
            (_, None) => Times::Periodic { first, period_ms: 1, count: 1 },
            (_, Some(rule)) => {
                let known = self.found.get(&rule).filter(|(list, _)| list.first().is_some_and(|known| *known <= first));
                let (list, is_cut) = known.cloned().unwrap_or_else(|| {
                    let searched = self.search(job, first);
                    self.found.insert(rule, searched.clone());
                    searched
                });
                let from = list.partition_point(|at| *at < first);
                Times::Listed { list, from, is_cut }
            }
        }
    }

    fn search(&mut self, job: &JobStatus, first: Instant) -> (Arc<[Instant]>, bool) {
        let (mut list, mut next) = (Vec::new(), Some(first));
        while let Some(at) = next.filter(|_| self.left > 0 || list.len() < self.least) {
            self.left = self.left.saturating_sub(1);
            list.push(at);
            next = following(job, at, self.window.1, &mut self.sun);
        }
        (list.into(), next.is_some())
    }
}
