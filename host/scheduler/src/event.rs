//! The events that the scheduler takes, and the effects that it returns.

use std::{num::NonZeroU32, sync::Arc};

pub use crate::change::{
    AdHoc, Change, DeviceKey, Idempotency, JobKey, Override, PauseScope, PluginKey, Progress, RunEnded, RunKey, Saved,
    SavedDevice, SavedJob, SavedPlugin, SavedRun, Tombstone,
};
pub use crate::version::{Digest, Version};
use crate::{
    body::{Body, PackedJob, StepRef},
    model::{Confirm, Job, Reply, Task},
    names::{DeviceName, JobId, JobName, PluginName, RunId},
    pause::Pause,
    time::{Instant, Site},
    topic::Grant,
    trigger::Calendars,
    zone::Zone,
};

/// The number of a load of a plugin; replies of an earlier load are dropped.
pub type Generation = u64;

/// The number of a connection to the broker.
pub type LinkId = u64;

/// The number of an attempt.
pub type AttemptId = u64;

/// The number of a subscription to a device's reports.
pub type WatchId = u64;

/// The number of a task call to a plugin.
pub type CallId = u64;

/// The number of a client's request, which is copied into the answer.
pub type RequestId = u64;

/// A token for a commit: the scheduler is notified when the commit is durable.
pub type CommitToken = NonZeroU32;

/// An event: the input of [`Scheduler::step`](crate::scheduler::Scheduler::step).
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Woke,
    /// The host is to stop: nothing more is sent, but acknowledgements are still processed.
    StopRequested,
    /// The changes before [`Effect::NotifyDurable`] are durable.
    Durable(CommitToken),
    /// The store has failed: owed steps are sent as far as possible without it, and nothing else is started.
    StoreFailed,
    /// The wall clock was stepped, not just slewed.
    ClockSet {
        /// By how many milliseconds; negative if backward.
        by_ms: i64,
    },
    /// A client's request; the answer is [`Effect::Answer`].
    Requested {
        /// Copied into the answer.
        request: RequestId,
        /// The request.
        what: Request,
    },
    /// A plugin's version was compiled and linked, and returned its plans.
    Loaded(Loaded),
    /// A plugin's file has been missing for long enough (I9).
    Removed(PluginName),
    /// The rules of time zones have changed ([`Zone::update`]), or differ from those of the host's last run.
    ZonesChanged {
        /// The zones with changed rules; `None` if unknown.
        zones: Option<Vec<Zone>>,
        /// The name of the rules in use, which is stored.
        rules: Arc<str>,
    },
    /// The contents of named calendars have changed.
    CalendarsChanged(Calendars),
    /// The reply to [`Effect::Plan`].
    Planned {
        /// The plugin's name.
        plugin: PluginName,
        /// The device's name.
        device: DeviceName,
        /// Copied from the effect; a reply of an earlier generation is dropped.
        generation: Generation,
        /// The plan, or the error in one sentence.
        plan: Result<Plan, String>,
    },
    /// The reply to [`Effect::Call`].
    Answered {
        /// Copied from the effect.
        call: CallId,
        /// The messages to publish, or the error in one sentence.
        reply: Result<Reply, String>,
    },
    /// The connection to the broker is up.
    LinkUp {
        /// The link's number, unlike that of any earlier link.
        link: LinkId,
        /// How many attempts may be in flight at once.
        credit: u32,
    },
    /// The connection is down; messages that were not acknowledged may or may not have arrived.
    LinkDown {
        /// The link's number.
        link: LinkId,
    },
    /// The broker has acknowledged the message (QoS 0: it was written).
    Acked {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        attempt: AttemptId,
        /// Whether the broker reports that no client has subscribed to the topic. Not every broker does.
        no_subscriber: bool,
    },
    /// The broker has refused the message.
    Refused {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        attempt: AttemptId,
        /// The MQTT 5 reason, as text.
        reason: String,
    },
    /// The link has not sent the message: the broker ended a connection right after an earlier message to this topic,
    /// and the link sends messages to such topics one at a time.
    Deferred {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        attempt: AttemptId,
        /// How long to wait before the next attempt, in milliseconds.
        wait_ms: i64,
    },
    /// The broker ended the connection as soon as it received the message, which was the only one in flight.
    EndedLink {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        attempt: AttemptId,
        /// How the broker ended it, as text.
        how: String,
    },
    /// The broker has answered the subscription of [`Effect::Watch`]: reports arrive from here on.
    Watching {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        watch: WatchId,
        /// Why the broker refused, if it did.
        refused: Option<String>,
    },
    /// A device has sent a report.
    Reported {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        watch: WatchId,
        /// Whether it meets the condition.
        matches: bool,
        /// Whether the broker had retained it: it may be old.
        retained: bool,
        /// The beginning of its payload, for users.
        excerpt: String,
    },
}

/// A client's request.
#[derive(Clone, Debug)]
pub enum Request {
    /// Replay a failed run, as a new run.
    Replay {
        /// The run's id.
        run: RunId,
        /// The run's body.
        body: Body,
    },
    /// End a run, and drop its owed steps.
    Abandon(RunId),
    /// Run a job now, besides its trigger.
    RunNow(JobName),
    /// Skip a job's next run.
    Skip {
        /// The job's name.
        job: JobName,
        /// Whether to undo the skip.
        undo: bool,
    },
    /// Pause or resume plugins, devices, jobs, or all: all that are named, or none if one does not exist. A pause replaces
    /// the one that its scope has; `None` removes that, also if it has not begun. Active runs continue, and owed steps are
    /// sent. The client bounds their number (I10).
    Pause(Vec<(Part, Option<Arc<Pause>>)>),
    /// Request new plans for all devices of a plugin.
    Replan(PluginName),
    /// Add an ad-hoc job.
    Schedule(Box<NewJob>),
    /// Cancel an ad-hoc job.
    Cancel(JobName),
}

/// What a pause applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All plugins, and jobs made by hand.
    All,
    /// A whole plugin.
    Plugin(PluginName),
    /// One device.
    Device(PluginName, DeviceName),
    /// One job.
    Job(JobName),
}

/// What became of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseChange {
    /// It was set; without a beginning of its own it has begun.
    Set,
    /// Its beginning has come.
    Begun,
    /// Its end has come.
    Ended,
    /// It was removed before its end.
    Removed,
}

/// What a client's request has changed, besides pauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByHand {
    /// An ad-hoc job was made.
    Made(JobName),
    /// An ad-hoc job was replaced by another one of the same name.
    Replaced(JobName),
    /// An ad-hoc job was cancelled.
    Cancelled(JobName),
    /// The run of a job's next occurrence is to be skipped.
    Skipped(RunId),
    /// It is not to be skipped any more.
    SkipUndone(RunId),
    /// A run was added beside the job's trigger.
    RunNow(RunId),
    /// A run was added that replays one that has failed.
    Replayed(RunId),
}

impl ByHand {
    /// Returns the names of the plugin, the device and the job.
    #[must_use]
    pub const fn job(&self) -> (&PluginName, &DeviceName, &JobId) {
        match self {
            Self::Made((plugin, device, job))
            | Self::Replaced((plugin, device, job))
            | Self::Cancelled((plugin, device, job)) => (plugin, device, job),
            Self::Skipped(run) | Self::SkipUndone(run) | Self::RunNow(run) | Self::Replayed(run) => {
                (&run.plugin, &run.device, &run.job)
            }
        }
    }

    /// Returns the run, if it is about one.
    #[must_use]
    pub const fn run(&self) -> Option<&RunId> {
        match self {
            Self::Made(_) | Self::Replaced(_) | Self::Cancelled(_) => None,
            Self::Skipped(run) | Self::SkipUndone(run) | Self::RunNow(run) | Self::Replayed(run) => Some(run),
        }
    }
}

/// A new ad-hoc job.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The plugin that owns it, with its grant; the host itself has one device,
    /// [`api_device`](crate::scheduler::api_device).
    pub plugin: PluginName,
    /// The device it belongs to.
    pub device: DeviceName,
    /// The job.
    pub job: PackedJob,
    /// Identifies the request if it is repeated.
    pub idempotency: Option<Idempotency>,
    /// Whether it may replace an ad-hoc job with the same id.
    pub replaces: bool,
}

/// The result of a request that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The run that the request affected or made.
    Run(RunId),
    /// The job exists.
    Job {
        /// The job's name.
        job: JobName,
        /// Whether it is new.
        is_new: bool,
    },
    /// The pauses that there were before, in the order of the request; none where it had ended.
    Pauses(Vec<Option<Arc<Pause>>>),
    /// The request was carried out; there is nothing else to return.
    Nothing,
}

/// Why a request was refused, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The plugin, device, job or run does not exist.
    #[error("{0}")]
    Unknown(String),
    /// The request conflicts with the current state.
    #[error("{0}")]
    Conflict(String),
    /// A limit is reached.
    #[error("{0}")]
    TooMany(String),
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopping,
    /// The request was accepted, but it could not be saved.
    #[error("it could not be saved, and the host is stopping: {0}")]
    Lost(String),
}

/// A plugin's new version, accepted by the host.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The plugin's name.
    pub plugin: PluginName,
    /// Its version.
    pub version: Version,
    /// What it may publish and subscribe to.
    pub grant: Grant,
    /// All its devices, in the order of its settings.
    pub devices: Vec<LoadedDevice>,
}

/// A device of a plugin's new version.
#[derive(Clone, Debug)]
pub struct LoadedDevice {
    /// Unique within the plugin.
    pub name: DeviceName,
    /// The device's site.
    pub site: Site,
    /// Its new plan, or the error; then the device keeps its current plan, if it has one.
    pub plan: Result<Plan, String>,
}

/// A plan: the complete list of jobs that one call of `schedule-jobs` returned for one device.
#[derive(Clone, Debug)]
pub struct Plan {
    /// When the plan was requested: the plan covers occurrences from here on.
    pub requested_at: Instant,
    /// The jobs, with unique ids.
    pub jobs: Vec<PackedJob>,
}

impl Plan {
    /// Returns a plan of jobs with unique ids.
    #[must_use]
    pub fn new(requested_at: Instant, jobs: &[Job]) -> Self {
        Self { requested_at, jobs: jobs.iter().map(PackedJob::from).collect() }
    }
}

/// The result of one step: the changes to store, then the effects to start.
#[derive(Debug, Default)]
pub struct Step {
    /// The changes, to be committed together in this order.
    pub changes: Vec<Change>,
    /// Whether these changes must be committed together with those of the next step: a plan is partly adopted, and the
    /// store must hold all of it or nothing.
    pub partial: bool,
    /// The effects, to be started in this order.
    pub effects: Vec<Effect>,
    /// When to call again if no event comes before; `None`: at the next event.
    pub wake: Option<Instant>,
}

/// An action for the host.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Publishes a message.
    Publish(Publish),
    /// Returns [`Event::Durable`] as soon as all changes up to here are durable.
    NotifyDurable(CommitToken),
    /// Subscribes to a device's reports, until [`Effect::Unwatch`] or the end of the link. Retained reports are
    /// requested, too.
    Watch {
        /// The link's number.
        link: LinkId,
        /// Copied into the events.
        watch: WatchId,
        /// The topic and the condition.
        confirm: Arc<Confirm>,
    },
    /// Ends a subscription.
    Unwatch {
        /// The link's number.
        link: LinkId,
        /// The subscription's number.
        watch: WatchId,
    },
    /// Answers a client's request: the result, once it is durable, or the refusal.
    Answer {
        /// Copied from the request.
        request: RequestId,
        /// The result, or why the request was refused.
        answer: Result<Done, Refusal>,
    },
    /// Reports how many jobs are due at another time because the rules of time zones have changed.
    ZonesMoved {
        /// The name of the rules.
        rules: Arc<str>,
        /// The number of jobs.
        jobs: u64,
    },
    /// Reports what a plugin's new version or a new plan changed.
    Announce(Announcement),
    /// Reports that a pause was set or removed, or has begun or ended.
    PauseChanged {
        /// What it was set on.
        what: Part,
        /// The pause.
        pause: Arc<Pause>,
        /// What became of it.
        change: PauseChange,
    },
    /// Reports what a client's request has changed.
    ByHand(ByHand),
    /// Requests the plan of one device from its plugin.
    Plan {
        /// The plugin's name.
        plugin: PluginName,
        /// The device's name.
        device: DeviceName,
        /// Copied into the reply.
        generation: Generation,
    },
    /// Calls a plugin for a task that is due. There is always a reply.
    Call {
        /// Copied into the reply.
        call: CallId,
        /// The plugin's name.
        plugin: PluginName,
        /// The device's name.
        device: DeviceName,
        /// The task.
        task: Task,
        /// When the run was due.
        due: Instant,
    },
}

impl Effect {
    /// Returns whether all changes up to here must be durable before the effect is started (I3).
    #[must_use]
    pub fn after_commit(&self) -> bool {
        match self {
            Self::NotifyDurable(_)
            | Self::Announce(_)
            | Self::ZonesMoved { .. }
            | Self::PauseChanged { .. }
            | Self::ByHand(_) => true,
            // A refusal has no changes to wait for.
            Self::Answer { answer, .. } => answer.is_ok(),
            Self::Publish(_) | Self::Plan { .. } | Self::Call { .. } | Self::Watch { .. } | Self::Unwatch { .. } => {
                false
            }
        }
    }
}

/// What a new version or a new plan changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The plugin's name.
    pub plugin: PluginName,
    /// Whether it is a new version, not just a new plan.
    pub loaded: bool,
    /// The number of new jobs.
    pub new: usize,
    /// The number of jobs that changed.
    pub changed: usize,
    /// The number of jobs that were removed.
    pub gone: usize,
    /// The number of jobs that did not change.
    pub unchanged: usize,
}

impl Announcement {
    pub(crate) fn new(plugin: PluginName) -> Self {
        Self { plugin, loaded: false, new: 0, changed: 0, gone: 0, unchanged: 0 }
    }
}

/// One attempt to send one step of a run.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The link that it must be sent on.
    pub link: LinkId,
    /// Copied into the answer.
    pub attempt: AttemptId,
    /// The run's id.
    pub run: RunId,
    /// When the step was due.
    pub due: Instant,
    /// The number of the attempt, counted from 1 for each step.
    pub number: u32,
    /// The message expiry, in milliseconds.
    pub expiry_ms: Option<u32>,
    /// The run's body.
    pub body: Body,
    /// The index of the step, counted from 0.
    pub step: usize,
}

impl Publish {
    /// Returns the step that is sent.
    ///
    /// # Panics
    /// Panics if there is no such step, which the scheduler never makes.
    #[must_use]
    pub fn message(&self) -> StepRef<'_> {
        self.body.step(self.step).expect("an attempt is at one of its run's steps")
    }
}
