//! The edge to plugins. The files in the folder become the events `Loaded` and `Removed`, a request for a plan is
//! answered with `Planned`, and a task call with `Answered`. It depends on wasmtime and the contract, and not on times,
//! runs or messages (I12).

mod bytes;
mod cache;
mod call_memory;
mod call_slots;
mod calls;
pub(crate) mod compile;
mod complete;
mod component;
mod contract;
mod copies;
mod engine;
mod first_loads;
mod folder;
mod function;
mod guest;
mod installer;
mod limits;
mod linked_cache;
mod load;
mod logs;
mod memory_pool;
mod program;
mod queries;
mod registry;
pub(crate) mod sandbox;
pub(crate) mod settings;
mod shared_files;
mod statuses;
mod stored_versions;
#[cfg(test)]
mod tests;
mod trigger_cache;
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

pub(crate) use roost_scheduler::accept::TaskDescription;

pub(crate) use self::{
    copies::plugin_copies,
    installer::{COMPONENT_BYTES, Expected, Installed, Installer, Refused, SETTINGS_BYTES, SettingsFile, Tried},
    queries::PluginQueries,
    settings::places,
    shared_files::{SharedError, SharedFiles},
    statuses::{Fault, PluginStatus, PluginStatuses, State, Usage},
    trigger_cache::TriggerCache,
};
use self::{
    load::{Loader, TaskCall},
    registry::{Question, Registry},
    stored_versions::Versions,
    watch::Watch,
};
use crate::{
    clock,
    config::{grant::default_of, rules::Rules},
    event_log::EventLog,
    report::Report,
};

/// The options of the edge.
#[derive(Debug)]
pub(crate) struct Options {
    /// The plugin folder, unless hosts share the plugins.
    pub(crate) folder: PathBuf,
    /// The files that several hosts share.
    pub(crate) shared: Option<SharedFiles>,
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The site of devices without one of their own.
    pub(crate) site: Site,
    /// The operator's rules.
    pub(crate) rules: Rules,
    /// The versions that ran last, according to the store.
    pub(crate) known: Vec<(PluginName, Version)>,
    /// The log that receives the edge's events.
    pub(crate) event_log: EventLog,
}

/// The running edge.
pub(crate) struct Plugins {
    questions: mpsc::UnboundedSender<Question>,
    handle: PluginHandle,
    _watch: Watch,
    guests: Option<Runtime>,
}

/// The handle for the HTTP edge: the plugins' statuses, queries, and the installer.
#[derive(Clone, Debug)]
pub(crate) struct PluginHandle {
    pub(crate) statuses: PluginStatuses,
    pub(crate) queries: PluginQueries,
    pub(crate) installer: Installer,
}

/// Starts the edge. Guests run on their own threads, so that they cannot delay the core.
///
/// # Errors
/// Returns an error if the data folder, the WebAssembly engine, the threads or the watch cannot be set up.
pub(crate) fn start(options: Options, events: mpsc::Sender<Event>) -> Result<Plugins, Report> {
    let Options { folder, shared, data, site, rules, known, event_log } = options;
    let folder = shared.as_ref().map_or(folder, |shared| shared.folder().to_owned());
    // If plugins ran before, a missing folder means a missing disk. Creating the folder would hide that (I9).
    if known.is_empty() && !folder.exists() {
        match std::fs::create_dir_all(&folder) {
            Ok(()) => tracing::info!("created the plugin folder `{}`", folder.display()),
            Err(error) => tracing::debug!(%error, "the plugin folder could not be created"),
        }
    }
    let loader = Loader::open(&data, shared.clone(), site, rules, event_log)?;
    let guests = guest_threads()?;
    let (sender, folder_events) = mpsc::channel(limits::FOLDER_EVENTS);
    // At most one question for each device, each due run and each query, because each waits for its answer (I10).
    let (questions, receiver) = mpsc::unbounded_channel();
    let names = known.iter().map(|(name, _)| name.clone()).collect();
    let statuses = PluginStatuses::default();
    let room = loader.room().clone();
    let registry = Registry::new(loader, known, events, statuses.clone());
    let queries = PluginQueries::new(questions.clone());
    let installer = Installer::new(&folder, (&data, shared.clone()), statuses.clone(), questions.clone());
    let handle = PluginHandle { statuses, queries, installer };
    if let Some(shared) = shared {
        guests.spawn(shared.follow());
    }
    guests.spawn(async {
        clock::is_set().await;
        registry.run(folder_events, receiver).await;
    });
    let watch = Watch::start(folder, names, room, sender)
        .map_err(|error| Report::new("the plugin folder cannot be watched").cause(error))?;
    Ok(Plugins { questions, handle, _watch: watch, guests: Some(guests) })
}

fn guest_threads() -> Result<Runtime, Report> {
    let threads = Builder::new_multi_thread()
        .worker_threads(limits::GUEST_THREADS)
        .thread_name("guests")
        .on_thread_start(|| {
            // If this fails, guests compete with the core, but are still interrupted every 10 ms.
            let _ = rustix::process::nice(limits::NICE);
        })
        .enable_all()
        .build();
    threads.map_err(|error| Report::new("the threads for plugins cannot be started").cause(error))
}

impl Plugins {
    /// Requests a device's plan. Never waits; the answer is `Event::Planned`.
    pub(crate) fn plan(&self, plugin: PluginName, device: DeviceName, generation: Generation) {
        // The receiver is gone only while the host stops.
        let _ = self.questions.send(Question::Plan { plugin, device, generation });
    }

    /// Runs a task. Never waits; the answer is `Event::Answered`, with an error if the call failed.
    pub(crate) fn run_task(&self, call: CallId, plugin: PluginName, device: DeviceName, task: Task, due: Instant) {
        let task_call = TaskCall { task: task.into(), due: Some(due) };
        let _ = self.questions.send(Question::Task { call, plugin, device, task_call });
    }

    /// Returns the handle for the HTTP edge.
    pub(crate) fn handle(&self) -> PluginHandle {
        self.handle.clone()
    }

    /// Stops the edge. Calls under way are abandoned; nothing depends on them.
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

/// Returns the grant of a plugin that ran before: the operator's, or the one in its stored settings.
pub(crate) fn stored_grant(data: &Path, name: &PluginName, version: &Version, operator: Option<&Grant>) -> Grant {
    match Versions::at(data).settings(version.settings) {
        Ok(settings) => granted_now(name, settings.grant, operator),
        Err(_) if operator.is_some() => granted_now(name, default_of(name), operator),
        Err(error) => {
            tracing::error!(
                "the stored settings of plugin `{name}` cannot be read, so it gets the default grant: {error}"
            );
            default_of(name)
        }
    }
}

/// Returns the grant of a version that was accepted before: the operator's grant, if there is one. A grant by the
/// plugin's name alone holds only as long as the name does not belong to another product.
fn granted_now(name: &PluginName, kept: Grant, operator: Option<&Grant>) -> Grant {
    match operator {
        Some(grant) => grant.clone(),
        None if kept == Grant::default_for(name) => default_of(name),
        None => kept,
    }
}
