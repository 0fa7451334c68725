//! What happens, for those who follow it: the newest of it in memory, with consecutive numbers, and of each plugin what it
//! wrote and what was said about it. Whoever tells something never waits for whoever follows: that one is told how many he has
//! missed.

mod limits;
mod message;
mod ring;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;
use roost_scheduler::{
    event::{Announcement, Change, RunEnded},
    names::{DeviceName, PluginName, ResourceName, RunId},
    outcome::{Outcome, Success},
    scheduler::Scheduler,
    time::Instant,
};
use tokio::sync::{Notify, watch};
use tracing::Level;

use self::ring::Ring;
use crate::{clock, report::Report};

/// Something that happened. Cheap to make: names and texts are shared, and JSON is made of it by whoever wants that.
#[derive(Clone, Debug)]
pub(crate) enum HostEvent {
    /// A run has begun that has more to do than to send one message.
    Started {
        run: RunId,
        at: Instant,
    },
    /// A run has ended. What it did is not there.
    Ended(Box<RunEnded>),
    /// A plugin's new version, or a new plan, has changed jobs.
    Planned(Announcement),
    /// A device keeps the plan it has.
    PlanRefused {
        plugin: PluginName,
        device: DeviceName,
        error: String,
    },
    /// A version was not taken, or a file of the folder of plugins.
    NotLoaded {
        plugin: Option<PluginName>,
        report: Box<Report>,
    },
    /// A plugin's new version was accepted.
    Loaded {
        plugin: PluginName,
        devices: usize,
        jobs: usize,
        /// What it may publish and read, in words.
        grant: Box<str>,
    },
    /// A run has held a resource for as long as one may, and goes on without it.
    Freed {
        run: RunId,
        resource: ResourceName,
        held_ms: i64,
    },
    /// A plugin's file is gone.
    Removed(PluginName),
    /// A plugin has written something.
    Logged {
        plugin: PluginName,
        /// Of the host about the plugin, where there is none.
        device: Option<DeviceName>,
        level: Level,
        line: Box<str>,
    },
    /// The connection to the broker is there, or is gone.
    Link {
        up: bool,
    },
    ClockSet {
        by_ms: i64,
        now: Instant,
    },
}

impl HostEvent {
    /// Like what it is, in a word.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Started { .. } | Self::Ended(_) | Self::Freed { .. } => Kind::Run,
            Self::Planned(_) | Self::PlanRefused { .. } => Kind::Plan,
            Self::NotLoaded { .. } | Self::Loaded { .. } | Self::Removed(_) => Kind::Plugin,
            Self::Logged { .. } => Kind::Log,
            Self::Link { .. } => Kind::Link,
            Self::ClockSet { .. } => Kind::Clock,
        }
    }

    /// Whom it is about, if that is a plugin.
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
            Self::Link { .. } | Self::ClockSet { .. } => None,
        }
    }

    /// Which device it is about, if it is one.
    pub(crate) fn device(&self) -> Option<&DeviceName> {
        match self {
            Self::Started { run, .. } | Self::Freed { run, .. } => Some(&run.device),
            Self::Ended(run) => Some(&run.id.device),
            Self::PlanRefused { device, .. } => Some(device),
            Self::Logged { device, .. } => device.as_ref(),
            _ => None,
        }
    }

    /// Whether it belongs to a plugin's logs: what the plugin wrote, and what whoever mends it wants to know.
    pub(crate) fn is_logged(&self) -> bool {
        match self {
            Self::Ended(run) => matches!(run.outcome, Outcome::Failed(_) | Outcome::Missed(_) | Outcome::Denied(_)),
            Self::NotLoaded { plugin, .. } => plugin.is_some(),
            Self::PlanRefused { .. }
            | Self::Loaded { .. }
            | Self::Freed { .. }
            | Self::Removed(_)
            | Self::Logged { .. } => true,
            Self::Started { .. } | Self::Planned(_) | Self::Link { .. } | Self::ClockSet { .. } => false,
        }
    }

    /// Of its texts, more or less.
    fn bytes(&self) -> usize {
        match self {
            // Reasons have numbers in them, and now and then a sentence.
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
            _ => 0,
        }
    }
}

/// What is decided, when it is durable.
pub(crate) fn decided(changes: &[Change], scheduler: &Scheduler) -> Vec<HostEvent> {
    let happenings = changes.iter().filter_map(|change| match change {
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
        Change::DeviceSaved { name, plugin, error: Some(error), .. } => Some(HostEvent::PlanRefused {
            plugin: scheduler.plugin_name(*plugin)?.clone(),
            device: name.clone(),
            error: error.clone(),
        }),
        _ => None,
    });
    happenings.collect()
}

/// What kinds of happenings there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Run,
    Plan,
    Plugin,
    Log,
    Link,
    Clock,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [Self::Run, Self::Plan, Self::Plugin, Self::Log, Self::Link, Self::Clock];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Plan => "plan",
            Self::Plugin => "plugin",
            Self::Log => "log",
            Self::Link => "link",
            Self::Clock => "clock",
        }
    }
}

/// A happening as it is kept.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Those of a host are numbered from 1 on, without a gap.
    pub(crate) number: u64,
    pub(crate) at: Instant,
    pub(crate) what: HostEvent,
    /// As it is sent: made once, by whoever is the first to want it.
    pub(crate) frame: OnceLock<Bytes>,
}

impl Entry {
    fn bytes(&self) -> usize {
        limits::BYTES_EACH + 2 * self.what.bytes()
    }
}

/// Where happenings are told, and heard.
#[derive(Clone, Debug)]
pub(crate) struct EventLog(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    /// When the host started: no two starts share their numbers.
    start: Instant,
    /// Held for as long as it takes to copy some pointers: the loop may wait for it.
    kept: Mutex<Kept>,
    /// Something was told.
    stirred: Notify,
    /// Rung for those who follow; whether it is over.
    bell: watch::Sender<bool>,
}

#[derive(Debug)]
struct Kept {
    last: u64,
    all: Ring,
    plugins: BTreeMap<PluginName, Lines>,
}

/// What is kept of a plugin, whatever becomes of its versions.
#[derive(Debug)]
struct Lines {
    ring: Ring,
    gone: Option<Instant>,
}

/// Some of what happened.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// How many before these were wanted and are not kept any more.
    pub(crate) missed: u64,
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new(clock::now())
    }
}

impl EventLog {
    pub(crate) fn new(start: Instant) -> Self {
        let all = Ring::new(limits::HAPPENINGS, limits::BYTES);
        let kept = Mutex::new(Kept { last: 0, all, plugins: BTreeMap::new() });
        Self(Arc::new(Parts { start, kept, stirred: Notify::new(), bell: watch::Sender::new(false) }))
    }

    /// Tells one thing, and writes it into the log.
    pub(crate) fn log(&self, what: HostEvent) {
        let logged = what.clone();
        // First, so that what is read in the log can be asked for.
        self.tell(what);
        logged.log();
    }

    /// Tells one thing.
    pub(crate) fn tell(&self, what: HostEvent) {
        self.tell_all([what]);
    }

    /// Tells what happened. Waits for nobody who follows.
    pub(crate) fn tell_all(&self, happenings: impl IntoIterator<Item = HostEvent>) {
        let at = clock::now();
        let mut kept = self.kept();
        let before = kept.last;
        for what in happenings {
            kept.push(what, at);
        }
        let is_more = kept.last > before;
        drop(kept);
        if is_more && self.0.bell.receiver_count() > 0 {
            self.0.stirred.notify_one();
        }
    }

    /// Wakes those who follow, but not for each happening by itself: for ever.
    pub(crate) async fn ring(&self) {
        loop {
            self.0.stirred.notified().await;
            self.0.bell.send_replace(false);
            tokio::time::sleep(limits::PAUSE).await;
        }
    }

    /// Nobody is to wait for more: the host stops.
    pub(crate) fn end(&self) {
        self.0.bell.send_replace(true);
    }

    /// Changes when there may be more; `true` when there is not.
    pub(crate) fn bell(&self) -> watch::Receiver<bool> {
        self.0.bell.subscribe()
    }

    /// What tells the numbers of this host's start from those of another one.
    pub(crate) fn start(&self) -> Instant {
        self.0.start
    }

    /// The number of what was told last.
    pub(crate) fn last(&self) -> u64 {
        self.kept().last
    }

    /// Some of what happened after a number, the oldest first.
    pub(crate) fn after(&self, number: u64, most: usize) -> Piece {
        let kept = self.kept();
        let entries = kept.all.after(number).take(most).cloned().collect();
        let first = kept.all.first().unwrap_or(kept.last + 1);
        Piece { entries, missed: first.saturating_sub(number.saturating_add(1)) }
    }

    /// The newest of what was logged of a plugin, at most so many, the oldest first; or the first of what was logged after a
    /// number.
    pub(crate) fn logged(&self, plugin: &PluginName, after: Option<u64>, most: usize) -> Vec<Arc<Entry>> {
        let kept = self.kept();
        let Some(Lines { ring, .. }) = kept.plugins.get(plugin) else { return Vec::new() };
        let wanted = ring.after(after.unwrap_or_default());
        let left_out = if after.is_some() { 0 } else { wanted.len().saturating_sub(most) };
        wanted.skip(left_out).take(most).cloned().collect()
    }

    /// The plugins of which something is kept.
    pub(crate) fn plugins(&self) -> Vec<PluginName> {
        self.kept().plugins.keys().cloned().collect()
    }

    /// How many follow.
    pub(crate) fn followers(&self) -> usize {
        self.0.bell.receiver_count()
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

    /// Those that have been gone for long go; where there are too many all the same, the one that has been quiet for longest.
    fn make_room(&mut self, now: Instant) {
        self.plugins.retain(|_, lines| lines.gone.is_none_or(|gone| now.ms_since(gone) < limits::GONE_MS));
        while self.plugins.len() >= limits::PLUGINS {
            let quietest = self.plugins.iter().min_by_key(|(_, lines)| (lines.gone.is_none(), lines.ring.last()));
            let Some(name) = quietest.map(|(name, _)| name.clone()) else { return };
            self.plugins.remove(&name);
        }
    }
}
