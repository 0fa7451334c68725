//! The changes that the store applies, and the state that it returns when the host starts.

use std::sync::Arc;

use crate::{
    body::{Body, PackedJob},
    names::{DeviceName, JobName, PluginName, ResourceName, RunId},
    outcome::{Cancelled, Failed, Late, Outcome},
    pause::Pause,
    time::{Instant, Site},
    topic::Grant,
    version::{Digest, Version},
};

/// A plugin's key in the store.
pub type PluginKey = u32;
/// A device's key in the store.
pub type DeviceKey = u32;
/// A job's key in the store. It is reused after the job is removed.
pub type JobKey = u32;
/// A saved run's key in the store.
pub type RunKey = u64;

/// What a pause is set on, by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseScope {
    /// All plugins, and the host's own jobs.
    All,
    /// A plugin.
    Plugin(PluginKey),
    /// A device.
    Device(DeviceKey),
    /// A job.
    Job(JobKey),
}

/// A change to store.
#[derive(Clone, Debug)]
pub enum Change {
    /// A plugin is new or has a new version.
    PluginSaved {
        /// The plugin's key.
        key: PluginKey,
        /// Its name.
        name: PluginName,
        /// The version that runs now.
        version: Version,
    },
    /// A plugin was removed, after its devices.
    PluginRemoved {
        /// The plugin's key.
        key: PluginKey,
    },
    /// A device is new or has changed.
    DeviceSaved(SavedDevice),
    /// A device was removed, after its jobs.
    DeviceRemoved {
        /// The device's key.
        key: DeviceKey,
    },
    /// A job is new or has changed.
    JobSaved(SavedJob),
    /// A job's watermark advanced.
    JobAdvanced {
        /// The job's key.
        key: JobKey,
        /// Everything up to here is decided (I2).
        watermark: Instant,
        /// The next occurrence, if there is one.
        due: Option<Instant>,
        /// The watermark before the clock was set back; less than the watermark if it does not matter.
        decided: Instant,
    },
    /// A job was removed.
    JobRemoved {
        /// The job's key.
        key: JobKey,
        /// The tombstone, which keeps the job's watermark (I2). `None` if the watermark is so old that no occurrence up
        /// to it could be admitted again.
        tombstone: Option<Tombstone>,
    },
    /// The operator has changed a job's overrides, or removed them.
    OverrideSaved {
        /// The job's key.
        key: JobKey,
        /// The overrides.
        job_override: Override,
    },
    /// A pause was set or removed.
    PauseSaved {
        /// What it was set on.
        scope: PauseScope,
        /// The pause; `None` if there is none any more.
        pause: Option<Arc<Pause>>,
    },
    /// Tombstones that no occurrence can need any more were removed.
    TombstonesForgotten {
        /// Those with a watermark before this were removed.
        before: Instant,
    },
    /// A run was saved: it has several steps and is about to start, so that its later steps will be owed (I5), or its
    /// job is being removed.
    RunSaved {
        /// The run's key.
        key: RunKey,
        /// The run; boxed, because the other changes are much smaller, and most runs are never saved.
        run: Box<SavedRun>,
    },
    /// The progress of a saved run changed.
    RunAdvanced {
        /// The run's key.
        key: RunKey,
        /// The progress.
        progress: Progress,
    },
    /// A run has held a resource for the longest time allowed, and continues without it. Its progress records that,
    /// too.
    ResourceFreed {
        /// The run's id.
        run: RunId,
        /// The resource's name.
        resource: ResourceName,
        /// How long it held the resource, in milliseconds.
        held_ms: i64,
    },
    /// The clock was set back, for the given number of times in all: triggers that count elapsed time make runs of a
    /// new series.
    SeriesBegun(u32),
    /// All jobs are now due by these time zone rules.
    ZonesKnown(Arc<str>),
    /// A run has ended (I13).
    RunEnded(RunEnded),
}

/// What the operator has changed of a job. It is removed with the job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// The occurrence to skip.
    pub skip: Option<Instant>,
    /// Set for an ad-hoc job, which no plan changes.
    pub ad_hoc: Option<AdHoc>,
}

/// The origin of an ad-hoc job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdHoc {
    /// When it was made.
    pub made: Instant,
    /// Identifies the request that made it.
    pub idempotency: Option<Idempotency>,
}

/// Identifies a request that may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The digest of the client's idempotency key.
    pub key: Digest,
    /// The digest of the whole request.
    pub request: Digest,
}

/// The record of a run that ended.
#[derive(Clone, Debug)]
pub struct RunEnded {
    /// The key of the saved run; `None` if it was never saved.
    pub key: Option<RunKey>,
    /// The run's id.
    pub id: RunId,
    /// The outcome, with its reason.
    pub outcome: Outcome,
    /// What the run did or should have done; `None` if its job is gone.
    pub body: Option<Body>,
    /// When its first step was first sent, if it was.
    pub started: Option<Instant>,
    /// When it ended.
    pub ended: Instant,
    /// The number of attempts at its last step.
    pub attempts: u32,
    /// A note of its plugin or of the host, for users.
    pub note: Option<Arc<str>>,
}

/// What remains of a job that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The job's name.
    pub name: JobName,
    /// Everything up to here was decided.
    pub watermark: Instant,
}

/// The stored state when the host starts: the sum of all changes. Jobs are passed separately, because there may be a
/// million.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// The plugins.
    pub plugins: Vec<SavedPlugin>,
    /// The saved runs that have not ended.
    pub runs: Vec<(RunKey, SavedRun)>,
    /// The tombstones of removed jobs.
    pub tombstones: Vec<Tombstone>,
    /// The number of times that the clock was set back.
    pub series: u32,
    /// What the operator has changed of jobs.
    pub overrides: Vec<(JobKey, Override)>,
    /// The pauses.
    pub pauses: Vec<(PauseScope, Pause)>,
    /// The time zone rules by which the jobs are due; `None` if unknown.
    pub zones: Option<Arc<str>>,
}

/// A stored plugin.
#[derive(Clone, Debug)]
pub struct SavedPlugin {
    /// The plugin's key.
    pub key: PluginKey,
    /// Its name.
    pub name: PluginName,
    /// The version that ran last.
    pub version: Version,
    /// What it may publish and subscribe to: from the settings, because the store does not hold it.
    pub grant: Grant,
    /// Its devices.
    pub devices: Vec<SavedDevice>,
}

/// A stored device.
#[derive(Clone, Debug)]
pub struct SavedDevice {
    /// The device's key.
    pub key: DeviceKey,
    /// The plugin's key.
    pub plugin: PluginKey,
    /// Its name.
    pub name: DeviceName,
    /// The device's site.
    pub site: Site,
    /// When its next plan is requested.
    pub replan_at: Instant,
    /// Why the newest plan was refused, if it was.
    pub error: Option<String>,
}

/// A stored job.
#[derive(Clone, Debug)]
pub struct SavedJob {
    /// The job's key.
    pub key: JobKey,
    /// The device's key.
    pub device: DeviceKey,
    /// The job.
    pub job: PackedJob,
    /// Everything up to here is decided (I2).
    pub watermark: Instant,
    /// The next occurrence, if there is one.
    pub due: Option<Instant>,
    /// The watermark before the clock was set back; less than the watermark if it does not matter.
    pub decided: Instant,
}

/// A stored run that has not ended.
#[derive(Clone, Debug)]
pub struct SavedRun {
    /// The run's id.
    pub id: RunId,
    /// Its body, which does not change with the job.
    pub body: Body,
    /// When it should start: its occurrence plus the jitter that the job had then.
    pub start: Instant,
    /// Its progress.
    pub progress: Progress,
}

/// The progress of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of steps that are done.
    pub steps_done: usize,
    /// The number of attempts at the next step.
    pub attempts: u32,
    /// Whether the next step may have been sent: then it is not sent again if it is marked `once`.
    pub armed: bool,
    /// When its first step was first sent, or may have been.
    pub started: Option<Instant>,
    /// The first step that was given up, if any.
    pub failed: Option<Failed>,
    /// Why it was cut short, if it was.
    pub cancelled: Option<Cancelled>,
    /// The owed step that was sent latest, if any was late.
    pub late: Option<Late>,
    /// The first step, counted from 1, with a topic without subscribers, if any.
    pub no_subscriber: Option<usize>,
    /// A note of its plugin or of the host, for users.
    pub note: Option<Arc<str>>,
    /// Until when newer runs may put off its owed steps, if it has taken them over from an earlier run.
    pub put_off_until: Option<Instant>,
}
