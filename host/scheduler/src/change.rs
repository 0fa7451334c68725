//! What is to be kept, and what the store gives back of it.

use std::sync::Arc;

use crate::{
    body::{Body, PackedJob},
    event::{Digest, Version},
    names::{DeviceName, JobId, PluginName, ResourceName, RunId},
    outcome::{Cancelled, Failed, Late, Outcome},
    time::{Instant, Site},
    topic::Grant,
};

/// A plugin's number, as in the store.
pub type PluginKey = u32;
/// A device's number, as in the store.
pub type DeviceKey = u32;
/// A job's number, as in the store. Free again when the job has gone.
pub type JobKey = u32;
/// The number of a run that is on disk, as in the store.
pub type RunKey = u64;

/// Something to keep.
#[derive(Clone, Debug)]
pub enum Change {
    /// A plugin is new or has a new version.
    PluginSaved {
        /// Its number.
        key: PluginKey,
        /// Its name.
        name: PluginName,
        /// What runs now.
        version: Version,
        /// Whether nothing of it is to start.
        paused: bool,
    },
    /// A plugin is gone, and its devices have gone before.
    PluginRemoved {
        /// Its number.
        key: PluginKey,
    },
    /// A device is new or has changed.
    DeviceSaved {
        /// Its number.
        key: DeviceKey,
        /// Whose.
        plugin: PluginKey,
        /// Its name.
        name: DeviceName,
        /// Where it is.
        site: Site,
        /// When it is asked for a plan again.
        replan_at: Instant,
        /// Why the newest plan was refused, if it was.
        error: Option<String>,
        /// Whether nothing of it is to start.
        paused: bool,
    },
    /// Nothing of a device is to start, or it may again.
    DevicePaused {
        /// Its number.
        key: DeviceKey,
        /// Whether it is paused.
        paused: bool,
    },
    /// A device is gone, and its jobs have gone before.
    DeviceRemoved {
        /// Its number.
        key: DeviceKey,
    },
    /// A job is new or has changed.
    JobSaved(SavedJob),
    /// More of a job is decided.
    JobAdvanced {
        /// Its number.
        key: JobKey,
        /// Up to here, everything is decided (I2).
        watermark: Instant,
        /// The occurrence after that, if there is one.
        due: Option<Instant>,
        /// Up to here it was decided before the clock was set back; less than the watermark where that says nothing.
        decided: Instant,
    },
    /// A job is gone.
    JobRemoved {
        /// Its number.
        key: JobKey,
        /// What must not be forgotten: up to here, everything was decided (I2). `None` where that is so long ago that nothing
        /// could admit it again.
        tombstone: Option<Tombstone>,
    },
    /// People have said something of a job, or nothing any more.
    OverrideSaved {
        /// The job's number.
        key: JobKey,
        /// What.
        job_override: Override,
    },
    /// Nothing could admit these occurrences again: their tombstones can go.
    TombstonesForgotten {
        /// Those whose watermark is before this.
        before: Instant,
    },
    /// A run of several steps is about to start: from here on it owes its later steps (I5). Or its job goes, and it
    /// stays.
    RunSaved {
        /// Its number.
        key: RunKey,
        /// The rest; in a box, because the other changes are much smaller, and most runs are never saved.
        run: Box<SavedRun>,
    },
    /// A saved run has come further.
    RunAdvanced {
        /// Its number.
        key: RunKey,
        /// How far.
        progress: Progress,
    },
    /// A run has held a resource for as long as one may, and goes on without it. That it did is kept with its progress.
    ResourceFreed {
        /// Which run.
        run: RunId,
        /// What it held.
        resource: ResourceName,
        /// For how long, in milliseconds.
        held_ms: i64,
    },
    /// The clock was set back so often: what counts elapsed time makes runs of a new series.
    SeriesBegun(u32),
    /// All jobs are due by these rules of time zones.
    ZonesKnown(Arc<str>),
    /// A run has ended (I13).
    RunEnded(RunEnded),
}

/// What people have said of a job, beside its plan. It goes when the job goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Whether no run of it is to start.
    pub paused: bool,
    /// The occurrence that is to be left out.
    pub skip: Option<Instant>,
    /// If it is theirs, and no plan touches it.
    pub ad_hoc: Option<AdHoc>,
}

/// A job that somebody has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdHoc {
    /// When.
    pub made: Instant,
    /// By what it is known that it was asked for before.
    pub idempotency: Option<Idempotency>,
}

/// By what a request that comes twice is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Of the key that whoever asks has given.
    pub key: Digest,
    /// Of all that was asked for.
    pub request: Digest,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunEnded {
    /// The number of the saved run; `None` where nothing of it is on disk.
    pub key: Option<RunKey>,
    /// Which.
    pub id: RunId,
    /// How, and why.
    pub outcome: Outcome,
    /// What it did, of one that failed: it may be wanted again.
    pub body: Option<Body>,
    /// When its first step was sent for the first time, if it was.
    pub started: Option<Instant>,
    /// When.
    pub ended: Instant,
    /// How many attempts its last step took.
    pub attempts: u32,
    /// What its plugin said about it, or the host, for people.
    pub note: Option<Arc<str>>,
}

/// What stays of a job that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Whose.
    pub plugin: PluginName,
    /// Whose.
    pub device: DeviceName,
    /// Which.
    pub job: JobId,
    /// Up to here, everything was decided.
    pub watermark: Instant,
}

/// What the store knows when the host starts: the sum of all changes. The jobs are apart, for there may be a million.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// Plugins.
    pub plugins: Vec<SavedPlugin>,
    /// Runs that have started and not ended.
    pub runs: Vec<(RunKey, SavedRun)>,
    /// Jobs that are gone.
    pub tombstones: Vec<Tombstone>,
    /// How often the clock was set back.
    pub series: u32,
    /// What people have said of jobs.
    pub overrides: Vec<(JobKey, Override)>,
    /// By which rules of time zones the jobs are due; `None` if that is not known.
    pub zones: Option<Arc<str>>,
}

/// A plugin as the store knows it.
#[derive(Clone, Debug)]
pub struct SavedPlugin {
    /// Its number.
    pub key: PluginKey,
    /// Its name.
    pub name: PluginName,
    /// What ran last.
    pub version: Version,
    /// What it may publish and read: from the settings, the store does not know it.
    pub grant: Grant,
    /// Whether nothing of it is to start.
    pub paused: bool,
    /// Its devices.
    pub devices: Vec<SavedDevice>,
}

/// A device as the store knows it.
#[derive(Clone, Debug)]
pub struct SavedDevice {
    /// Its number.
    pub key: DeviceKey,
    /// Its name.
    pub name: DeviceName,
    /// Where it is.
    pub site: Site,
    /// When it is asked for a plan again.
    pub replan_at: Instant,
    /// Why the newest plan was refused, if it was.
    pub error: Option<String>,
    /// Whether nothing of it is to start.
    pub paused: bool,
}

/// A job as the store knows it.
#[derive(Clone, Debug)]
pub struct SavedJob {
    /// Its number.
    pub key: JobKey,
    /// Whose.
    pub device: DeviceKey,
    /// What it is.
    pub job: PackedJob,
    /// Up to here, everything is decided (I2).
    pub watermark: Instant,
    /// The occurrence after that, if there is one.
    pub due: Option<Instant>,
    /// Up to here it was decided before the clock was set back; less than the watermark where that says nothing.
    pub decided: Instant,
}

/// A run on disk that has not ended.
#[derive(Clone, Debug)]
pub struct SavedRun {
    /// Which.
    pub id: RunId,
    /// What it does: the run keeps it whatever becomes of the job.
    pub body: Body,
    /// When it should start: its occurrence and its jitter, which is the job's as it was then.
    pub start: Instant,
    /// How far it has come.
    pub progress: Progress,
}

/// How far a saved run has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many steps are done.
    pub steps_done: usize,
    /// How often the next one was tried.
    pub attempts: u32,
    /// Whether the next one may have been sent: then it is not sent again if it says `once`.
    pub armed: bool,
    /// When its first step was sent for the first time, or may have been.
    pub started: Option<Instant>,
    /// The first step that was given up, if one was.
    pub failed: Option<Failed>,
    /// Why it was cut short, if it was.
    pub cancelled: Option<Cancelled>,
    /// The owed step that was latest, if one was late.
    pub late: Option<Late>,
    /// The first step, counted from 1, for whose topic the broker had no subscriber, if there was one.
    pub no_subscriber: Option<usize>,
    /// What its plugin said about it, or the host, for people.
    pub note: Option<Arc<str>>,
    /// Until when newer runs may put off what it owes, where it has taken that over from an earlier one.
    pub put_off_until: Option<Instant>,
}
