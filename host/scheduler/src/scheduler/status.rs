//! What queries return of a job, and of a run that has not ended: records of their own, to be read elsewhere.

use crate::{
    body::{Body, PackedJob},
    event::{JobKey, Override},
    names::{DeviceName, JobName, Origin, PluginName, RunId},
    occurrence::{NextRun, start_of},
    outcome::{Attempt, Cause},
    pause::Pauses,
    runs::Phase,
    time::{Instant, Site},
    trigger::Almanac,
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
