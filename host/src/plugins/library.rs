//! Which version of each plugin runs, which is being loaded, and which waits for that.

use std::{collections::HashMap, mem, sync::Arc};

use roost_scheduler::{
    event::{CallId, Event, Generation, Version},
    model::{Reply, Task},
    names::{DeviceName, PluginName},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    contract::tasks::TaskDescription,
    folder::{Offer, Sighting},
    limits,
    load::{Accepted, Errand, LoadError, Loader, Proposal},
    program::Program,
};
use crate::{clock, feed::Happening, report::Report};

/// A question to a plugin.
#[derive(Debug)]
pub(super) enum Question {
    /// The scheduler's, for a plan.
    Plan { plugin: PluginName, device: DeviceName, generation: Generation },
    /// The scheduler's, for what to publish.
    Task { call: CallId, plugin: PluginName, device: DeviceName, errand: Errand },
    /// A person's, for what there is to be asked.
    Tasks { plugin: PluginName, answer: oneshot::Sender<Result<Vec<TaskDescription>, String>> },
    /// A person's, for whether there is such a task.
    Check { plugin: PluginName, name: String, args: String, answer: oneshot::Sender<Result<Task, String>> },
    /// A person's, for what a task would do.
    Rehearsal { plugin: PluginName, device: DeviceName, errand: Errand, answer: oneshot::Sender<Result<Reply, String>> },
}

/// A load that has ended.
type Ended = (PluginName, Result<Accepted, LoadError>);

#[derive(Default)]
struct Shelf {
    running: Option<Arc<Program>>,
    /// The one before: the store may not yet have heard of its successor.
    before: Option<Version>,
    loading: bool,
    /// Whether the last thing said of its files is that they are not taken.
    faulty: bool,
    /// The file went while it was being loaded.
    withdrawn: bool,
    waiting: Option<Offer>,
}

pub(super) struct Library {
    loader: Arc<Loader>,
    shelves: HashMap<PluginName, Shelf>,
    events: mpsc::Sender<Event>,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    loads: usize,
    unswept: bool,
}

impl Library {
    pub(super) fn new(loader: Loader, known: Vec<(PluginName, Version)>, events: mpsc::Sender<Event>) -> Self {
        let mut shelves = HashMap::new();
        for (name, version) in known {
            let running = loader
                .kept(&name, version)
                .inspect_err(|error| tracing::error!("the last version of plugin `{name}` cannot be asked: {error}"))
                .ok()
                .map(Arc::new);
            shelves.insert(name, Shelf { running, before: Some(version), ..Shelf::default() });
        }
        let loader = Arc::new(loader);
        // Never more than one load for a plugin, and `LOADS_AT_ONCE` in all.
        let ended = mpsc::unbounded_channel();
        Self { loader, shelves, events, ended, loads: 0, unswept: true }
    }

    /// Until nobody listens or asks any more.
    pub(super) async fn run(
        mut self,
        mut sightings: mpsc::Receiver<Sighting>,
        mut questions: mpsc::UnboundedReceiver<Question>,
    ) {
        loop {
            let room = self.loads < limits::LOADS_AT_ONCE;
            tokio::select! {
                Some(ended) = self.ended.1.recv() => self.load_ended(ended).await,
                Some(question) = questions.recv() => self.ask(question),
                sighting = sightings.recv(), if room => match sighting {
                    Some(Sighting::Offered(offer)) => self.offered(offer),
                    Some(Sighting::Withdrawn(plugin)) => self.withdrawn(plugin).await,
                    Some(Sighting::Faulty(plugin, report)) => self.faulty(plugin.as_ref(), report),
                    None => return,
                },
            }
        }
    }

    fn offered(&mut self, offer: Offer) {
        let shelf = self.shelves.entry(offer.plugin.clone()).or_default();
        shelf.withdrawn = false;
        if shelf.loading {
            shelf.waiting = Some(offer);
            return;
        }
        let plugin = offer.plugin.clone();
        let proposal = match self.loader.propose(offer) {
            Ok(proposal) => proposal,
            Err(error) => return self.refused(&plugin, &error),
        };
        let was_faulty = mem::take(&mut shelf.faulty);
        if shelf.running.as_ref().is_some_and(|program| program.version == proposal.version) {
            if was_faulty {
                tracing::info!("{plugin} is in order again: its files are those of the version that runs");
            }
            tracing::debug!(%plugin, "its files are as they were");
            return;
        }
        shelf.loading = true;
        self.loads += 1;
        self.spawn_load(plugin, proposal);
    }

    fn spawn_load(&self, plugin: PluginName, proposal: Proposal) {
        let running = self.shelves.get(&plugin).and_then(|shelf| shelf.running.clone());
        let (loader, ended) = (self.loader.clone(), self.ended.0.clone());
        tokio::spawn(async move {
            let result = loader.load(proposal, running, clock::now).await;
            let _ = ended.send((plugin, result));
        });
    }

    async fn load_ended(&mut self, (plugin, result): Ended) {
        self.loads -= 1;
        let Some(shelf) = self.shelves.get_mut(&plugin) else { return };
        shelf.loading = false;
        if shelf.withdrawn {
            self.shelves.remove(&plugin);
            return;
        }
        let waiting = shelf.waiting.take();
        match result {
            Ok(Accepted { program, loaded }) => {
                shelf.before = shelf.running.replace(program).map(|program| program.version).or(shelf.before);
                self.unswept = true;
                let jobs: usize = loaded
                    .devices
                    .iter()
                    .filter_map(|device| device.plan.as_ref().ok())
                    .map(|plan| plan.jobs.len())
                    .sum();
                let devices = counted(loaded.devices.len(), "device");
                tracing::info!("{plugin} loaded: {devices}, {}", counted(jobs, "job"));
                let devices = loaded.devices.len();
                self.loader.feed().tell(Happening::Loaded { plugin, devices, jobs });
                // The app is gone: so will this be.
                let _ = self.events.send(Event::Loaded(loaded)).await;
            }
            // The version that waits may be the one without the fault.
            Err(_) if waiting.is_some() => {}
            Err(error) => self.refused(&plugin, &error),
        }
        match waiting {
            Some(offer) => self.offered(offer),
            None => self.sweep(),
        }
    }

    fn refused(&mut self, plugin: &PluginName, error: &LoadError) {
        self.shelves.entry(plugin.clone()).or_default().faulty = true;
        self.not_loaded(Some(plugin), error.report(plugin, Some(self.consequence(plugin))));
    }

    fn faulty(&mut self, plugin: Option<&PluginName>, report: Report) {
        if let Some(shelf) = plugin.and_then(|plugin| self.shelves.get_mut(plugin)) {
            shelf.faulty = true;
        }
        let consequence = plugin.map(|plugin| self.consequence(plugin));
        let hint = [report.hint.as_deref(), consequence].into_iter().flatten().collect::<Vec<_>>().join("\n");
        self.not_loaded(plugin, report.hint(hint));
    }

    fn not_loaded(&self, plugin: Option<&PluginName>, report: Report) {
        tracing::error!("{report}");
        self.loader.feed().tell(Happening::NotLoaded { plugin: plugin.cloned(), report: report.into() });
    }

    /// What comes of it that a version is not taken.
    fn consequence(&self, plugin: &PluginName) -> &'static str {
        let runs = self.shelves.get(plugin).is_some_and(|shelf| shelf.running.is_some());
        if runs { "the previous version keeps running" } else { "nothing of it runs until that is mended" }
    }

    async fn withdrawn(&mut self, plugin: PluginName) {
        let Some(shelf) = self.shelves.get_mut(&plugin) else { return };
        shelf.waiting = None;
        shelf.withdrawn = shelf.loading;
        let ran = shelf.running.take().is_some() || shelf.before.take().is_some();
        if !shelf.loading {
            self.shelves.remove(&plugin);
        }
        if ran {
            tracing::info!("{plugin} removed: its file is gone");
            self.loader.feed().tell(Happening::Removed(plugin.clone()));
            let _ = self.events.send(Event::Removed(plugin)).await;
        }
    }

    fn ask(&self, question: Question) {
        let program = |plugin| self.shelves.get(plugin).and_then(|shelf| shelf.running.clone());
        let (loader, events) = (self.loader.clone(), self.events.clone());
        match question {
            Question::Plan { plugin, device, generation } => {
                let program = program(&plugin);
                tokio::spawn(async move {
                    let plan = loader.answer(program.as_deref(), &device, clock::now).await;
                    let _ = events.send(Event::Planned { plugin, device, generation, plan }).await;
                });
            }
            Question::Task { call, plugin, device, errand } => {
                let program = program(&plugin);
                tokio::spawn(async move {
                    let reply = loader.reply(program.as_deref(), &device, errand, clock::now).await;
                    let _ = events.send(Event::Answered { call, reply }).await;
                });
            }
            Question::Tasks { plugin, answer } => {
                let program = program(&plugin);
                tokio::spawn(async move {
                    let _ = answer.send(loader.task_descriptions(program.as_deref(), clock::now).await);
                });
            }
            Question::Check { plugin, name, args, answer } => {
                let program = program(&plugin);
                tokio::spawn(async move {
                    let _ = answer.send(loader.task(program.as_deref(), &name, args, clock::now).await);
                });
            }
            Question::Rehearsal { plugin, device, errand, answer } => {
                let program = program(&plugin);
                tokio::spawn(async move {
                    let _ = answer.send(loader.reply(program.as_deref(), &device, errand, clock::now).await);
                });
            }
        }
    }

    /// When nothing is being loaded, so that nothing is deleted that a load has just kept.
    fn sweep(&mut self) {
        if self.loads > 0 || !std::mem::take(&mut self.unswept) {
            return;
        }
        let running = self.shelves.values().filter_map(|shelf| shelf.running.as_ref()).map(|program| program.version);
        let in_use: Vec<_> = running.chain(self.shelves.values().filter_map(|shelf| shelf.before)).collect();
        let loader = self.loader.clone();
        tokio::task::spawn_blocking(move || loader.sweep(&in_use));
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
