//! The edge to plugins: what lies in the folder becomes `Loaded` and `Removed`, a question for a plan becomes `Planned`,
//! and one for what to publish `Answered`. Knows wasmtime and the contract; knows nothing of times, runs or messages (I12).

mod bytes;
mod cache;
mod call_slots;
pub(crate) mod compile;
mod component;
mod contract;
mod engine;
mod folder;
mod function;
mod guest;
mod installer;
mod limiter;
mod limits;
mod linked_cache;
mod load;
mod logs;
mod memory;
mod program;
mod queries;
mod registry;
pub(crate) mod sandbox;
mod sections;
pub(crate) mod settings;
mod statuses;
#[cfg(test)]
mod tests;
mod trigger_cache;
mod versions;
mod wasi;
mod watch;

use std::path::{Path, PathBuf};

use roost_scheduler::{
    event::{CallId, Event, Generation, Version},
    model::Task,
    names::{DeviceName, PluginName},
    time::{Instant, Site},
    topic::Grant,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};

pub(crate) use self::{
    contract::tasks::TaskDescription,
    installer::{COMPONENT_BYTES, Installed, Installer, Refused, plugin_like},
    queries::PluginQueries,
    statuses::{Fault, PluginStatus, PluginStatuses, State, Usage},
};
use self::{
    load::{Loader, TaskCall},
    registry::{Question, Registry},
    versions::Versions,
    watch::Watch,
};
use crate::{
    clock,
    config::{grant::default_of, rules::Rules},
    event_log::EventLog,
    report::Report,
};

/// What the edge is told when it starts.
#[derive(Debug)]
pub(crate) struct Options {
    /// Where plugins are put.
    pub(crate) folder: PathBuf,
    /// Where the host keeps its own files.
    pub(crate) data: PathBuf,
    /// Where devices are that do not say so themselves.
    pub(crate) site: Site,
    /// The operator's.
    pub(crate) rules: Rules,
    /// What the store says ran last.
    pub(crate) known: Vec<(PluginName, Version)>,
    /// Where it tells what happens.
    pub(crate) feed: EventLog,
}

/// The running edge.
pub(crate) struct Plugins {
    questions: mpsc::UnboundedSender<Question>,
    for_people: PluginHandle,
    _watch: Watch,
    guests: Option<Runtime>,
}

/// What people can see of plugins, and do with them.
#[derive(Clone, Debug)]
pub(crate) struct PluginHandle {
    pub(crate) board: PluginStatuses,
    pub(crate) inquiries: PluginQueries,
    pub(crate) installer: Installer,
}

/// Starts the edge. Guests get threads of their own, so that they cannot hold up what keeps time.
pub(crate) fn start(options: Options, events: mpsc::Sender<Event>) -> Result<Plugins, Report> {
    let Options { folder, data, site, rules, known, feed } = options;
    // A folder that is missing although plugins ran is a disk that is missing: making it would hide that (I9).
    if known.is_empty() && !folder.exists() {
        match std::fs::create_dir_all(&folder) {
            Ok(()) => tracing::info!("made the folder `{}`: put plugins into it", folder.display()),
            Err(error) => tracing::debug!(%error, "the plugin folder could not be made"),
        }
    }
    let loader = Loader::open(&data, site, rules, feed)?;
    let guests = guest_threads()?;
    let (to_library, sightings) = mpsc::channel(limits::SIGHTINGS);
    // One question for each device, each run that is due and each inquiry at most: who asked waits for the answer.
    let (questions, asked) = mpsc::unbounded_channel();
    let names = known.iter().map(|(name, _)| name.clone()).collect();
    let board = PluginStatuses::default();
    let room = loader.room().clone();
    let library = Registry::new(loader, known, events, board.clone());
    let inquiries = PluginQueries::new(questions.clone());
    let installer = Installer::new(&folder, &data, board.clone(), questions.clone());
    let for_people = PluginHandle { board, inquiries, installer };
    guests.spawn(async {
        clock::is_set().await;
        library.run(sightings, asked).await;
    });
    let watch = Watch::start(folder, names, room, to_library)
        .map_err(|error| Report::new("the plugin folder cannot be watched").cause(error))?;
    Ok(Plugins { questions, for_people, _watch: watch, guests: Some(guests) })
}

fn guest_threads() -> Result<Runtime, Report> {
    let threads = Builder::new_multi_thread()
        .worker_threads(limits::GUEST_THREADS)
        .thread_name("guests")
        .on_thread_start(|| {
            // Without it guests compete with the loop, and are still interrupted every 10 ms.
            let _ = rustix::process::nice(limits::NICE);
        })
        .enable_all()
        .build();
    threads.map_err(|error| Report::new("the threads for plugins cannot be started").cause(error))
}

impl Plugins {
    /// Never waits; the answer is `Event::Planned`.
    pub(crate) fn plan(&self, plugin: PluginName, device: DeviceName, generation: Generation) {
        // Nobody listens only while the host stops.
        let _ = self.questions.send(Question::Plan { plugin, device, generation });
    }

    /// Never waits; the answer is `Answered`, however it went.
    pub(crate) fn run_task(&self, call: CallId, plugin: PluginName, device: DeviceName, task: Task, due: Instant) {
        let errand = TaskCall { name: task.name.to_string(), args: task.args, due: Some(due) };
        let _ = self.questions.send(Question::Task { call, plugin, device, errand });
    }

    pub(crate) fn for_people(&self) -> PluginHandle {
        self.for_people.clone()
    }

    /// Calls that are under way are given up; nothing depends on them.
    pub(crate) fn stop(self) {
        drop(self);
    }
}

impl Drop for Plugins {
    fn drop(&mut self) {
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
    }
}

/// What a plugin that ran before may publish and read: the operator's grant, or the one in its kept settings.
pub(crate) fn kept_grant(data: &Path, name: &PluginName, version: &Version, operator: Option<&Grant>) -> Grant {
    match Versions::at(data).settings(version.settings) {
        Ok(settings) => still_granted(name, settings.grant, operator),
        Err(_) if operator.is_some() => still_granted(name, default_of(name), operator),
        Err(error) => {
            tracing::error!("the settings of plugin `{name}` are lost, so it gets the default grant: {error}");
            default_of(name)
        }
    }
}

/// What a version may do that was accepted before: the operator's grant, if there is one. What it had by its name alone it has
/// only as long as the name is its own.
fn still_granted(name: &PluginName, kept: Grant, operator: Option<&Grant>) -> Grant {
    match operator {
        Some(grant) => grant.clone(),
        None if kept == Grant::default_of(name) => default_of(name),
        None => kept,
    }
}
