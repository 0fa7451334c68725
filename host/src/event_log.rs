//! The host's events for subscribers: the newest in memory, with consecutive numbers, and a log of each plugin with its
//! own lines and the host's lines about it. Adding an event never waits for a subscriber: a slow one learns how many
//! events it has missed.

mod limits;
mod ring;
#[cfg(test)]
mod tests;
mod wording;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;
use roost_scheduler::{
    event::{Announcement, ByHand, Change, Part, PauseChange, RunEnded, SavedDevice},
    names::{DeviceName, PluginName, ResourceName, RunId},
    outcome::{Outcome, Success},
    pause::Pause,
    scheduler::Scheduler,
    time::Instant,
};
use tokio::sync::{Notify, watch};
use tracing::Level;

use self::ring::Ring;
use crate::{clock, report::Report};

/// An event of the host. It is cheap to make: names and texts are shared, and its JSON is made on first use.
#[derive(Clone, Debug)]
pub(crate) enum HostEvent {
    /// A run of several steps has started.
    Started {
        run: RunId,
        at: Instant,
    },
    /// A run has ended. Its `body` is left out.
    Ended(Box<RunEnded>),
    /// A plugin's new version, or a new plan, has changed jobs.
    Planned(Announcement),
    /// A new plan was refused, and the device keeps the plan it has.
    PlanRefused {
        plugin: PluginName,
        device: DeviceName,
        error: String,
    },
    /// A version, or a file in the plugins' folder, was refused.
    NotLoaded {
        plugin: Option<PluginName>,
        report: Box<Report>,
    },
    /// A plugin's new version was accepted.
    Loaded {
        plugin: PluginName,
        devices: usize,
        jobs: usize,
        /// The topics that it may publish and read, as text.
        grant: Box<str>,
    },
    /// A run has held a resource for its longest hold, and continues without it.
    Freed {
        run: RunId,
        resource: ResourceName,
        held_ms: i64,
    },
    /// A plugin's file is gone.
    Removed(PluginName),
    /// A line was written to a plugin's log.
    Logged {
        plugin: PluginName,
        /// `None` if the host wrote the line, about the plugin as a whole.
        device: Option<DeviceName>,
        level: Level,
        line: Box<str>,
    },
    /// The connection to the broker is established, or lost.
    Link {
        up: bool,
    },
    ClockSet {
        by_ms: i64,
        now: Instant,
    },
    /// A pause was set or removed, or has begun or ended.
    Pause {
        what: Part,
        pause: Arc<Pause>,
        change: PauseChange,
    },
    /// A client's request has changed a job or a run.
    ByHand(ByHand),
}

impl HostEvent {
    /// Returns the event's kind.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Started { .. } | Self::Ended(_) | Self::Freed { .. } => Kind::Run,
            Self::Planned(_) | Self::PlanRefused { .. } => Kind::Plan,
            Self::NotLoaded { .. } | Self::Loaded { .. } | Self::Removed(_) => Kind::Plugin,
            Self::Logged { .. } => Kind::Log,
            Self::Link { .. } => Kind::Link,
            Self::ClockSet { .. } => Kind::Clock,
            Self::Pause { .. } => Kind::Pause,
            Self::ByHand(_) => Kind::Job,
        }
    }

    /// Returns the plugin that the event concerns, if any.
    pub(crate) fn plugin(&self) -> Option<&PluginName> {
        match self {
            Self::Started { run, .. } | Self::Freed { run, .. } => Some(&run.plugin),
            Self::Ended(run) => Some(&run.id.plugin),
            Self::Planned(announcement) => Some(&announcement.plugin),
            Self::PlanRefused { plugin, .. }
            | Self::Loaded { plugin, .. }
            | Self::Removed(plugin)
            | Self::Logged { plugin, .. } => Some(plugin),
            Self::NotLoaded { plugin, .. } => plugin.as_ref(),
            Self::Pause { what, .. } => match what {
                Part::Plugin(plugin) | Part::Device(plugin, _) | Part::Job((plugin, ..)) => Some(plugin),
                Part::All => None,
            },
            Self::ByHand(change) => Some(change.job().0),
            Self::Link { .. } | Self::ClockSet { .. } => None,
        }
    }

    /// Returns the device that the event concerns, if any.
    pub(crate) fn device(&self) -> Option<&DeviceName> {
        match self {
            Self::Started { run, .. } | Self::Freed { run, .. } => Some(&run.device),
            Self::Ended(run) => Some(&run.id.device),
            Self::PlanRefused { device, .. } => Some(device),
            Self::Logged { device, .. } => device.as_ref(),
            Self::Pause { what: Part::Device(_, device) | Part::Job((_, device, _)), .. } => Some(device),
            Self::ByHand(change) => Some(change.job().1),
            _ => None,
        }
    }

    /// Checks whether the event belongs in the plugin's log: the plugin's own lines, and faults that its author has to
    /// know.
    pub(crate) fn is_logged(&self) -> bool {
        match self {
            Self::Ended(run) => matches!(run.outcome, Outcome::Failed(_) | Outcome::Missed(_) | Outcome::Denied(_)),
            Self::NotLoaded { plugin, .. } => plugin.is_some(),
            Self::PlanRefused { .. }
            | Self::Loaded { .. }
            | Self::Freed { .. }
            | Self::Removed(_)
            | Self::Logged { .. } => true,
            Self::Started { .. }
            | Self::Planned(_)
            | Self::Link { .. }
            | Self::ClockSet { .. }
            | Self::Pause { .. }
            | Self::ByHand(_) => false,
        }
    }

    /// Returns the approximate size of its texts, in bytes.
    fn bytes(&self) -> usize {
        match self {
            // A reason holds numbers, and in some cases a sentence.
            Self::Ended(run) if run.outcome == Outcome::Succeeded(Success::PLAIN) => {
                run.note.as_ref().map_or(0, |note| note.len())
            }
            Self::Ended(run) => 256 + run.note.as_ref().map_or(0, |note| note.len()),
            Self::PlanRefused { error, .. } => error.len(),
            Self::NotLoaded { report, .. } => {
                let Report { what, causes, hint } = &**report;
                what.len() + causes.iter().map(String::len).sum::<usize>() + hint.as_ref().map_or(0, String::len)
            }
            Self::Logged { line, .. } => line.len(),
            Self::Pause { pause, .. } => pause.reason().map_or(0, str::len),
            _ => 0,
        }
    }
}

/// Returns the events of decisions, to be published when their changes are durable.
pub(crate) fn decided(changes: &[Change], scheduler: &Scheduler) -> Vec<HostEvent> {
    let events = changes.iter().filter_map(|change| match change {
        Change::RunEnded(run) => {
            let RunEnded { key, id, outcome, started, ended, attempts, note, .. } = run;
            let (id, outcome, note) = (id.clone(), outcome.clone(), note.clone());
            let (key, started, ended, attempts) = (*key, *started, *ended, *attempts);
            Some(HostEvent::Ended(Box::new(RunEnded { key, id, outcome, body: None, started, ended, attempts, note })))
        }
        Change::RunSaved { run, .. } if run.progress.steps_done == 0 => {
            run.progress.started.map(|at| HostEvent::Started { run: run.id.clone(), at })
        }
        Change::ResourceFreed { run, resource, held_ms } => {
            Some(HostEvent::Freed { run: run.clone(), resource: resource.clone(), held_ms: *held_ms })
        }
        Change::DeviceSaved(SavedDevice { name, plugin, error: Some(error), .. }) => Some(HostEvent::PlanRefused {
            plugin: scheduler.plugin_name(*plugin)?.clone(),
            device: name.clone(),
            error: error.clone(),
        }),
        _ => None,
    });
    events.collect()
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Run,
    Plan,
    Plugin,
    Log,
    Link,
    Clock,
    Pause,
    Job,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] =
        [Self::Run, Self::Plan, Self::Plugin, Self::Log, Self::Link, Self::Clock, Self::Pause, Self::Job];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Plan => "plan",
            Self::Plugin => "plugin",
            Self::Log => "log",
            Self::Link => "link",
            Self::Clock => "clock",
            Self::Pause => "pause",
            Self::Job => "job",
        }
    }
}

/// An event in the log.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Counted from 1 since the host's start, without a gap.
    pub(crate) number: u64,
    pub(crate) at: Instant,
    pub(crate) what: HostEvent,
    /// The event as it is sent to subscribers, encoded on first use.
    pub(crate) frame: OnceLock<Bytes>,
}

impl Entry {
    fn bytes(&self) -> usize {
        limits::BYTES_EACH + 2 * self.what.bytes()
    }
}

/// A shared handle to the host's events.
#[derive(Clone, Debug)]
pub(crate) struct EventLog(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    /// When the host started, because numbers count from each start.
    start: Instant,
    /// Locked only while some pointers are copied, because the loop may wait for it.
    kept: Mutex<Kept>,
    /// Notified when events have been added.
    added: Notify,
    /// Changes when subscribers are to look for new events; `true` once the log is closed.
    wake: watch::Sender<bool>,
}

#[derive(Debug)]
struct Kept {
    last: u64,
    all: Ring,
    plugins: BTreeMap<PluginName, Lines>,
}

/// A plugin's log, which outlives its versions.
#[derive(Debug)]
struct Lines {
    ring: Ring,
    gone: Option<Instant>,
}

/// Some consecutive events.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// How many requested events before these are no longer kept.
    pub(crate) missed: u64,
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new(clock::now())
    }
}

impl EventLog {
    pub(crate) fn new(start: Instant) -> Self {
        let all = Ring::new(limits::EVENTS, limits::BYTES);
        let kept = Mutex::new(Kept { last: 0, all, plugins: BTreeMap::new() });
        Self(Arc::new(Parts { start, kept, added: Notify::new(), wake: watch::Sender::new(false) }))
    }

    /// Adds an event, and writes it to the host's log.
    pub(crate) fn log(&self, what: HostEvent) {
        let logged = what.clone();
        // Added first, so that a client that reads the log can request it.
        self.push(what);
        logged.log();
    }

    /// Adds an event.
    pub(crate) fn push(&self, what: HostEvent) {
        self.push_all([what]);
    }

    /// Adds events, without waiting for subscribers.
    pub(crate) fn push_all(&self, events: impl IntoIterator<Item = HostEvent>) {
        let at = clock::now();
        let mut kept = self.kept();
        let before = kept.last;
        for what in events {
            kept.push(what, at);
        }
        let is_more = kept.last > before;
        drop(kept);
        if is_more && self.0.wake.receiver_count() > 0 {
            self.0.added.notify_one();
        }
    }

    /// Wakes the subscribers for new events, several at a time, for ever.
    pub(crate) async fn wake_subscribers(&self) {
        loop {
            self.0.added.notified().await;
            self.0.wake.send_replace(false);
            tokio::time::sleep(limits::PAUSE).await;
        }
    }

    /// Closes the log, because the host stops: subscribers wait for no more events.
    pub(crate) fn close(&self) {
        self.0.wake.send_replace(true);
    }

    /// Returns a receiver that changes when there may be new events, and is `true` once the log is closed.
    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.wake.subscribe()
    }

    /// Returns when the host started, which distinguishes these numbers from those of another start.
    pub(crate) fn start(&self) -> Instant {
        self.0.start
    }

    /// Returns the number of the newest event; 0 if there is none.
    pub(crate) fn last(&self) -> u64 {
        self.kept().last
    }

    /// Returns at most `most` events after `number`, the oldest first.
    pub(crate) fn after(&self, number: u64, most: usize) -> Page {
        let kept = self.kept();
        let entries = kept.all.after(number).take(most).cloned().collect();
        let first = kept.all.first().unwrap_or(kept.last + 1);
        Page { entries, missed: first.saturating_sub(number.saturating_add(1)) }
    }

    /// Returns at most `most` entries of a plugin's log, the oldest first: the newest ones, or with `after` the first
    /// ones after that number.
    pub(crate) fn logged(&self, plugin: &PluginName, after: Option<u64>, most: usize) -> Vec<Arc<Entry>> {
        let kept = self.kept();
        let Some(Lines { ring, .. }) = kept.plugins.get(plugin) else { return Vec::new() };
        let entries = ring.after(after.unwrap_or_default());
        let left_out = if after.is_some() { 0 } else { entries.len().saturating_sub(most) };
        entries.skip(left_out).take(most).cloned().collect()
    }

    /// Returns the plugins that have a log.
    pub(crate) fn plugins(&self) -> Vec<PluginName> {
        self.kept().plugins.keys().cloned().collect()
    }

    /// Returns how many subscribers there are.
    pub(crate) fn subscriber_count(&self) -> usize {
        self.0.wake.receiver_count()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push(&mut self, what: HostEvent, at: Instant) {
        self.last += 1;
        let entry = Arc::new(Entry { number: self.last, at, what, frame: OnceLock::new() });
        if entry.what.is_logged()
            && let Some(plugin) = entry.what.plugin()
        {
            self.log(plugin, &entry);
        }
        self.all.push(entry);
    }

    fn log(&mut self, plugin: &PluginName, entry: &Arc<Entry>) {
        if !self.plugins.contains_key(plugin) {
            self.make_room(entry.at);
            let ring = Ring::new(limits::LINES, limits::LINES_BYTES);
            self.plugins.insert(plugin.clone(), Lines { ring, gone: None });
        }
        let Some(lines) = self.plugins.get_mut(plugin) else { return };
        lines.ring.push(entry.clone());
        match &entry.what {
            HostEvent::Removed(_) => lines.gone = Some(entry.at),
            HostEvent::Loaded { .. } => lines.gone = None,
            _ => {}
        }
    }

    /// Drops the logs of plugins that have been gone for long and, if there are still too many, the one without new
    /// entries for longest.
    fn make_room(&mut self, now: Instant) {
        self.plugins.retain(|_, lines| lines.gone.is_none_or(|gone| now.ms_since(gone) < limits::GONE_MS));
        while self.plugins.len() >= limits::PLUGINS {
            let oldest = self.plugins.iter().min_by_key(|(_, lines)| (lines.gone.is_none(), lines.ring.last()));
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
            self.plugins.remove(&name);
        }
    }
}
