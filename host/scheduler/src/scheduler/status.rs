//! What queries return of a job, and of a run that has not ended: records of their own, to be read elsewhere.

use crate::{
    body::{Body, PackedJob},
    event::{JobKey, Override},
    names::{DeviceName, JobName, Origin, PluginName, RunId},
    occurrence::{NextRun, start_of},
    outcome::{Attempt, Cause},
    pause::{Level, PausedBy, Pauses},
    runs::Phase,
    time::{Instant, Site},
    trigger::{Almanac, Search},
};

/// The status of a job.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// The job's key, valid as long as the job exists.
    pub key: JobKey,
    /// The plugin's name.
    pub plugin: PluginName,
    /// The device's name.
    pub device: DeviceName,
    /// The device's site.
    pub site: Site,
    /// The job.
    pub job: PackedJob,
    /// When its next run is due.
    pub next: NextRun,
    /// The origin of its next run.
    pub origin: Origin,
    /// Everything up to here is decided.
    pub watermark: Instant,
    /// What the operator has changed of it.
    pub job_override: Override,
    /// The pauses that apply to it.
    pub pauses: Pauses,
}

impl JobStatus {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> JobName {
        (self.plugin.clone(), self.device.clone(), self.job.body.job_id())
    }

    /// Returns the id of the run of an occurrence of its trigger.
    #[must_use]
    pub fn run(&self, occurrence: Instant) -> RunId {
        let (plugin, device, job) = self.name();
        RunId { plugin, device, job, occurrence, origin: self.origin }
    }

    /// Returns when the run of an occurrence starts, including jitter.
    #[must_use]
    pub fn start(&self, occurrence: Instant, almanac: &mut Almanac) -> Instant {
        start_of(&self.job, &self.run(occurrence), &self.site, almanac)
    }

    /// Returns why the run of an occurrence that is to come will be skipped, if it will be.
    #[must_use]
    pub fn skipped(&self, occurrence: Instant, almanac: &mut Almanac) -> Option<SkippedBy<'_>> {
        // The start is searched for only if it counts.
        let start = (!self.pauses.is_empty()).then(|| self.start(occurrence, almanac));
        let by_pause = start.and_then(|start| self.pauses.at(start)).map(SkippedBy::Pause);
        by_pause.or_else(|| (self.job_override.skip == Some(occurrence)).then_some(SkippedBy::Operator))
    }

    /// Returns when its next run is due that neither a pause nor the operator skips, if that is known.
    #[must_use]
    pub fn next_unskipped(&self, almanac: &mut Almanac) -> Option<Instant> {
        match self.next {
            NextRun::Due(next) => self.first_unskipped(next, almanac),
            NextRun::NotBefore(_) | NextRun::Never => None,
        }
    }

    /// Returns the first occurrence, from one on, whose run neither a pause nor the operator skips. None if a pause without
    /// an end skips all of them, or if the job is not due again.
    #[must_use]
    pub fn first_unskipped(&self, mut occurrence: Instant, almanac: &mut Almanac) -> Option<Instant> {
        // Each turn passes the end of one more pause, or the one occurrence that the operator skips.
        for _ in 0..=Level::ALL.len() + 1 {
            occurrence = match self.skipped(occurrence, almanac) {
                None => return Some(occurrence),
                Some(SkippedBy::Pause(by)) => self.first_from((occurrence, by.pause.until()?), almanac)?,
                Some(SkippedBy::Operator) => self.job.trigger.find(occurrence, &self.site, almanac).ok()?,
            };
        }
        None
    }

    /// Returns the first occurrence after one whose run starts at an instant or later: by its jitter, the last occurrence
    /// before that instant may be the one.
    fn first_from(&self, (after, from): (Instant, Instant), almanac: &mut Almanac) -> Option<Instant> {
        let before = from.plus_ms(-1);
        if self.job.body.policy().jitter_ms > 0
            && let Search::Found(last) = self.job.trigger.last(after, before, &self.site, almanac)
            && self.start(last, almanac) >= from
        {
            return Some(last);
        }
        self.job.trigger.find(before, &self.site, almanac).ok()
    }
}

/// What skips a run that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkippedBy<'a> {
    /// A pause; of several, the one that ends last.
    Pause(&'a PausedBy),
    /// The operator has asked for that run to be skipped.
    Operator,
}

/// The status of a run that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStatus {
    /// The run's id.
    pub id: RunId,
    /// What it does or waits for.
    pub phase: Phase,
    /// When it should start, or should have started.
    pub start: Instant,
    /// When it has started.
    pub started: Option<Instant>,
    /// The latest time at which it may start, if it has not started and has a grace.
    pub grace_end: Option<Instant>,
    /// Its body, which may differ from that of its job.
    pub body: Body,
    /// Its next step, of 0 steps until its task has returned them.
    pub next: NextStep,
    /// The number of attempts at that step.
    pub attempts: u32,
    /// How the last attempt at it failed, if one did.
    pub last: Option<Attempt>,
    /// What held it up or holds it up.
    pub held_by: Option<Cause>,
    /// The runs that hold the resource that it waits for; only some of them if there are many.
    pub holders: Vec<RunId>,
}

/// The next step of a run that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextStep {
    /// Its number, counted from 1.
    pub step: usize,
    /// The number of steps of the run.
    pub of: usize,
    /// When it is due.
    pub due: Instant,
}

impl RunStatus {
    /// Returns until when it waits, if that is known.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.phase.until().filter(|_| !matches!(self.phase, Phase::Limited(_)))
    }
}
