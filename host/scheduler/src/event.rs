//! What the scheduler is told, and what it answers: the whole alphabet.

use std::{num::NonZeroU32, sync::Arc};

pub use crate::change::{
    AdHoc, Change, DeviceKey, Idempotency, JobKey, Override, PluginKey, Progress, RunEnded, RunKey, Saved, SavedDevice,
    SavedJob, SavedPlugin, SavedRun, Tombstone,
};
use crate::{
    body::{Body, PackedJob, StepRef},
    model::{Confirm, Job, Reply, Task},
    names::{DeviceName, JobName, PluginName, RunId},
    time::{Instant, Site},
    topic::Grant,
    zone::Zone,
};

/// A SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Display for Digest {
    /// 64 hexadecimal digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One version of a plugin: its bytes and its settings settle together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Of the .wasm.
    pub component: Digest,
    /// Of everything an operator says about the plugin.
    pub settings: Digest,
}

impl Version {
    /// What a plugin has while its first version is not accepted completely, or it is being removed: after a crash,
    /// whatever is there is loaded anew.
    pub const NONE: Self = Self { component: Digest([0; 32]), settings: Digest([0; 32]) };
    /// What the host's own jobs have, which are no plugin's.
    pub const BUILT_IN: Self = Self { component: Digest([0xff; 32]), settings: Digest([0xff; 32]) };
}

/// Which loading of a plugin an answer belongs to; the core drops answers of one that is over.
pub type Generation = u64;

/// Which connection to the broker an attempt went out on.
pub type LinkId = u64;

/// One try at one step.
pub type AttemptId = u64;

/// Listening to one device's reports.
pub type WatchId = u64;

/// Asking a plugin to do a task.
pub type CallId = u64;

/// A question of somebody outside, to be copied into the answer.
pub type RequestId = u64;

/// A commit that the scheduler wants to be told of.
pub type CommitToken = NonZeroU32;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Woke,
    /// The host is to stop: nothing more is sent, but acknowledgements are still taken.
    StopRequested,
    /// What came before [`Effect::NotifyDurable`] is durable.
    Durable(CommitToken),
    /// Nothing can be kept any more: what owes steps is seen to its end as far as that goes, nothing else is begun.
    StoreFailed,
    /// The wall clock was set, not just slewed.
    ClockSet {
        /// By so many milliseconds; negative if backward.
        by_ms: i64,
    },
    /// Somebody wants something; the answer is [`Effect::Answer`].
    Requested {
        /// To be copied into the answer.
        request: RequestId,
        /// What.
        what: Request,
    },
    /// A plugin's version was compiled, linked and asked for its plans, and all of that went well.
    Loaded(Loaded),
    /// A plugin's file was gone for long enough (I9).
    Removed(PluginName),
    /// The rules of time zones have changed ([`Zone::update`]), or other ones are in use than when the host ran last.
    ZonesChanged {
        /// Which zones have other rules; `None` if it is not known which do.
        zones: Option<Vec<Zone>>,
        /// What the rules in use are called, to be kept.
        rules: Arc<str>,
    },
    /// The answer to [`Effect::Plan`].
    Planned {
        /// Whose.
        plugin: PluginName,
        /// Whose.
        device: DeviceName,
        /// Copied from the effect; an answer of a generation that is over is dropped.
        generation: Generation,
        /// The plan, or why there is none, in a sentence.
        plan: Result<Plan, String>,
    },
    /// The answer to [`Effect::Call`].
    Answered {
        /// Copied from the effect.
        call: CallId,
        /// What to publish, or why nothing was said, in a sentence.
        reply: Result<Reply, String>,
    },
    /// A connection to the broker is there.
    LinkUp {
        /// A number that no link before had.
        link: LinkId,
        /// How many attempts may be under way at once.
        credit: u32,
    },
    /// It is gone; what was not acknowledged on it may or may not have arrived.
    LinkDown {
        /// Which.
        link: LinkId,
    },
    /// The broker has the message (QoS 0: it was written).
    Acked {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        attempt: AttemptId,
        /// Whether it says that no client has subscribed to the topic. Not every broker says so.
        no_subscriber: bool,
    },
    /// The broker does not want the message.
    Refused {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        attempt: AttemptId,
        /// MQTT 5's reason, in words.
        reason: String,
    },
    /// The link has not sent the message: the broker ended a connection right after one to this topic, and the link tries
    /// such topics one at a time.
    Deferred {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        attempt: AttemptId,
        /// How long to wait before it is tried again.
        wait_ms: i64,
    },
    /// The broker ended the connection as soon as it got the message, which was alone on it.
    EndedLink {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        attempt: AttemptId,
        /// How it did so, in words.
        how: String,
    },
    /// The broker has answered to [`Effect::Watch`]: from here on, reports come.
    Watching {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        watch: WatchId,
        /// Or why they do not.
        refused: Option<String>,
    },
    /// A device has reported.
    Reported {
        /// Copied from the effect.
        link: LinkId,
        /// Copied from the effect.
        watch: WatchId,
        /// Whether it is what was waited for.
        matches: bool,
        /// Whether the broker had kept it: it may be old.
        retained: bool,
        /// Its beginning, for people.
        said: String,
    },
}

/// What somebody outside may want.
#[derive(Clone, Debug)]
pub enum Request {
    /// A run that failed is to be tried again, as a run of its own.
    Replay {
        /// Which.
        run: RunId,
        /// What it did.
        body: Body,
    },
    /// A run is to end, whatever it owes.
    Abandon(RunId),
    /// A job is to run now, besides its trigger.
    RunNow(JobName),
    /// A job's next run is to be left out.
    Skip {
        /// Whose.
        job: JobName,
        /// Or not, after all.
        undo: bool,
    },
    /// Nothing of it is to start, or it may again. What has started goes on, and what is owed is sent.
    Pause {
        /// What.
        what: Part,
        /// Whether it is to be paused.
        paused: bool,
    },
    /// All devices of a plugin are to be asked for their plans.
    Replan(PluginName),
    /// A job that no plan has.
    Schedule(Box<NewJob>),
    /// Such a job is to go.
    Cancel(JobName),
}

/// What can be paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Plugin(PluginName),
    /// One of its devices.
    Device(PluginName, DeviceName),
    /// One job.
    Job(JobName),
}

/// A job that somebody makes by hand.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Whose grant it has; the host's own has one device, [`api_device`](crate::scheduler::api_device).
    pub plugin: PluginName,
    /// Of which device.
    pub device: DeviceName,
    /// What.
    pub job: PackedJob,
    /// By what it is known that it was asked for before.
    pub idempotency: Option<Idempotency>,
    /// Whether it takes the place of one with the same id.
    pub replaces: bool,
}

/// What was done that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was done to this run, or makes this run.
    Run(RunId),
    /// The job is there.
    Job {
        /// Which.
        job: JobName,
        /// Whether it was not there before.
        is_new: bool,
    },
    /// What it was.
    Nothing,
}

/// Why something was not done that somebody asked for, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is about something that is not there.
    #[error("{0}")]
    Unknown(String),
    /// As things are, it cannot be done.
    #[error("{0}")]
    Conflict(String),
    /// There are too many already.
    #[error("{0}")]
    TooMany(String),
    /// Nothing is begun any more.
    #[error("the host is stopping")]
    Stopping,
    /// It was decided, and could not be kept.
    #[error("it could not be written down, and the host is stopping: {0}")]
    Lost(String),
}

/// A plugin's new version, accepted by the edge.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Whose.
    pub plugin: PluginName,
    /// Which.
    pub version: Version,
    /// What it may publish and read.
    pub grant: Grant,
    /// Every device it has now, in the order of its settings.
    pub devices: Vec<LoadedDevice>,
}

/// A device of a plugin's new version.
#[derive(Clone, Debug)]
pub struct LoadedDevice {
    /// Unique within the plugin.
    pub name: DeviceName,
    /// Where it is.
    pub site: Site,
    /// Its new plan; where its settings were at fault, why there is none: it keeps the plan it has, if any.
    pub plan: Result<Plan, String>,
}

/// The complete list of jobs that one call of `schedule-jobs` returned for one device.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The moment of the call: occurrences from here on are the plan's.
    pub asked: Instant,
    /// Unique ids.
    pub jobs: Vec<PackedJob>,
}

impl Plan {
    /// Of jobs with unique ids.
    #[must_use]
    pub fn new(asked: Instant, jobs: &[Job]) -> Self {
        Self { asked, jobs: jobs.iter().map(PackedJob::from).collect() }
    }
}

/// What the scheduler answers to an event: first what to keep, then what to do.
#[derive(Debug, Default)]
pub struct Step {
    /// To be committed together, in this order.
    pub changes: Vec<Change>,
    /// Whether they, and those of the steps before, are to be committed only together with those of the next step: a
    /// plan has taken effect in part, and the disk must know all of it or nothing.
    pub partial: bool,
    /// To be started, in this order.
    pub effects: Vec<Effect>,
    /// When to call again if nothing happens before; `None`: not before the next event.
    pub wake: Option<Instant>,
}

/// Something to do in the world.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a message.
    Publish(Publish),
    /// Answer with [`Event::Durable`] as soon as all changes up to here are durable.
    NotifyDurable(CommitToken),
    /// Listen to a device's reports, until [`Effect::Unwatch`] or the end of the link. What the broker has kept is wanted
    /// as well.
    Watch {
        /// On which connection.
        link: LinkId,
        /// To be copied into the answers.
        watch: WatchId,
        /// Where, and what to look for.
        confirm: Arc<Confirm>,
    },
    /// That is no longer wanted.
    Unwatch {
        /// On which connection.
        link: LinkId,
        /// Which.
        watch: WatchId,
    },
    /// What somebody asked for was done, and is durable; or why not.
    Answer {
        /// Whose.
        request: RequestId,
        /// What.
        answer: Result<Done, Refusal>,
    },
    /// Say how many jobs are due at another time, because the rules of time zones have changed.
    ZonesMoved {
        /// What the rules are called.
        rules: Arc<str>,
        /// How many.
        jobs: u64,
    },
    /// Say what a plugin's new version, or a new plan, changed.
    Announce(Announcement),
    /// Ask a plugin for the plan of one device.
    Plan {
        /// Whose.
        plugin: PluginName,
        /// Whose.
        device: DeviceName,
        /// To be copied into the answer.
        generation: Generation,
    },
    /// Ask a plugin what to publish for a task that is due. There is always an answer.
    Call {
        /// To be copied into the answer.
        call: CallId,
        /// Whose.
        plugin: PluginName,
        /// For which device.
        device: DeviceName,
        /// What it is to do.
        task: Task,
        /// When it should have been done.
        due: Instant,
    },
}

impl Effect {
    /// Whether all changes up to here must be durable before it is started (I3).
    #[must_use]
    pub fn after_commit(&self) -> bool {
        match self {
            Self::NotifyDurable(_) | Self::Announce(_) | Self::ZonesMoved { .. } => true,
            // Where nothing was done, there is nothing to wait for.
            Self::Answer { answer, .. } => answer.is_ok(),
            Self::Publish(_) | Self::Plan { .. } | Self::Call { .. } | Self::Watch { .. } | Self::Unwatch { .. } => {
                false
            }
        }
    }
}

/// What a new version, or a new plan, changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Whose.
    pub plugin: PluginName,
    /// Whether it is a new version, not just a new plan.
    pub loaded: bool,
    /// Jobs that were not there before.
    pub new: usize,
    /// Jobs that go on as the new plan says.
    pub changed: usize,
    /// Jobs that are gone.
    pub gone: usize,
    /// Jobs that go on as they were.
    pub unchanged: usize,
}

impl Announcement {
    pub(crate) fn new(plugin: PluginName) -> Self {
        Self { plugin, loaded: false, new: 0, changed: 0, gone: 0, unchanged: 0 }
    }
}

/// One attempt at one step of a run.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Which connection it may go out on.
    pub link: LinkId,
    /// To be copied into the answer.
    pub attempt: AttemptId,
    /// Of which run.
    pub run: RunId,
    /// Milliseconds since the epoch at which the step was due.
    pub due: Instant,
    /// 1 for the first attempt at the step.
    pub number: u32,
    /// How long the broker may hold the message.
    pub expiry_ms: Option<u32>,
    /// What the run does.
    pub body: Body,
    /// Which of its steps this is, counted from 0.
    pub step: usize,
}

impl Publish {
    /// The step that it is an attempt at.
    ///
    /// # Panics
    /// Where there is no such step, which the scheduler never makes.
    #[must_use]
    pub fn message(&self) -> StepRef<'_> {
        self.body.step(self.step).expect("an attempt is at one of its run's steps")
    }
}
