//! Which version of each plugin runs, which is being loaded, and which waits for that.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

use roost_scheduler::{
    event::{CallId, Digest, Event, Generation, Loaded, Version},
    model::{Reply, Task},
    names::{DeviceName, PluginName},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    contract::tasks::TaskDescription,
    folder::{Candidate, FolderEvent},
    limits,
    load::{Accepted, LoadError, Loader, Proposal, TaskCall},
    program::Program,
    statuses::PluginStatuses,
};
use crate::{clock, event_log::HostEvent, report::Report};

/// A question to a plugin.
#[derive(Debug)]
pub(super) enum Question {
    /// The scheduler's, for a plan.
    Plan { plugin: PluginName, device: DeviceName, generation: Generation },
    /// The scheduler's, for what to publish.
    Task { call: CallId, plugin: PluginName, device: DeviceName, task_call: TaskCall },
    /// A person's, for what there is to be asked.
    Tasks { plugin: PluginName, answer: oneshot::Sender<Result<Vec<TaskDescription>, String>> },
    /// A person's, for whether there is such a task.
    Check { plugin: PluginName, name: String, args: String, answer: oneshot::Sender<Result<Task, String>> },
    /// A person's, for what a task would do.
    Simulation {
        plugin: PluginName,
        device: DeviceName,
        task_call: TaskCall,
        answer: oneshot::Sender<Result<Reply, String>>,
    },
    /// A person's, for what would become of files.
    Trial { candidate: Candidate, answer: oneshot::Sender<Result<Loaded, Report>> },
}

/// Something that has ended for which there is only so much room.
enum Ended {
    Load(PluginName, Result<Accepted, LoadError>),
    /// With what was tried, if it came to that.
    Trial(Option<Digest>),
}

#[derive(Default)]
struct Slot {
    running: Option<Arc<Program>>,
    /// The one before: the store may not yet have heard of its successor.
    before: Option<Version>,
    /// The component that ran before the one that runs, over restarts: what can be gone back to.
    previous: Option<Digest>,
    loading: bool,
    /// Whether the last thing said of its files is that they are not taken.
    faulty: bool,
    /// The file went while it was being loaded.
    withdrawn: bool,
    waiting: Option<Candidate>,
}

pub(super) struct Registry {
    loader: Arc<Loader>,
    slots: HashMap<PluginName, Slot>,
    events: mpsc::Sender<Event>,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    loads: usize,
    /// Whether the watch has offered every file that lay in the folder when the host started.
    surveyed: bool,
    needs_gc: bool,
    /// The components that were tried last.
    tried: VecDeque<Digest>,
    statuses: PluginStatuses,
}

impl Registry {
    pub(super) fn new(
        loader: Loader,
        known: Vec<(PluginName, Version)>,
        events: mpsc::Sender<Event>,
        statuses: PluginStatuses,
    ) -> Self {
        let mut slots = HashMap::new();
        for (name, version) in known {
            let previous = loader.versions().before(&name).filter(|before| *before != version.component);
            let running = match loader.kept(&name, version) {
                Ok(program) => {
                    statuses.runs(&name, version, program.settings.limits, previous);
                    Some(Arc::new(program.counted(statuses.usage(&name))))
                }
                Err(error) => {
                    let report = Report::new(format!("the last version of plugin `{name}` cannot be asked"));
                    let report = report.chain(&error);
                    tracing::error!("{report}");
                    statuses.refused(&name, report);
                    None
                }
            };
            slots.insert(name, Slot { running, before: Some(version), previous, ..Slot::default() });
        }
        let loader = Arc::new(loader);
        // Never more than one load for a plugin, and `LOADS_AT_ONCE` in all.
        let ended = mpsc::unbounded_channel();
        let (loads, surveyed, needs_gc, tried) = (0, false, true, VecDeque::new());
        Self { loader, slots, events, ended, loads, surveyed, needs_gc, tried, statuses }
    }

    /// Until nobody listens or asks any more.
    pub(super) async fn run(
        mut self,
        mut folder_events: mpsc::Receiver<FolderEvent>,
        mut questions: mpsc::UnboundedReceiver<Question>,
    ) {
        loop {
            let room = self.loads < limits::LOADS_AT_ONCE;
            tokio::select! {
                Some(ended) = self.ended.1.recv() => match ended {
                    Ended::Load(plugin, result) => self.load_ended(plugin, result).await,
                    Ended::Trial(tried) => self.trial_ended(tried),
                },
                Some(question) = questions.recv() => self.ask(question),
                event = folder_events.recv(), if room => match event {
                    Some(FolderEvent::Ready(candidate)) => self.offered(candidate),
                    Some(FolderEvent::Removed(plugin)) => self.withdrawn(plugin).await,
                    Some(FolderEvent::Faulty(plugin, report)) => self.faulty(plugin.as_ref(), report),
                    Some(FolderEvent::InitialScanDone) => self.surveyed = true,
                    None => return,
                },
            }
            if self.surveyed && !self.slots.values().any(|slot| slot.loading) {
                self.statuses.first_loads_ended();
            }
        }
    }

    fn offered(&mut self, candidate: Candidate) {
        let slot = self.slots.entry(candidate.plugin.clone()).or_default();
        slot.withdrawn = false;
        if slot.loading {
            slot.waiting = Some(candidate);
            return;
        }
        let plugin = candidate.plugin.clone();
        let mut proposal = match self.loader.propose(candidate) {
            Ok(proposal) => proposal,
            Err(error) => return self.refused(&plugin, &error),
        };
        let was_faulty = mem::take(&mut slot.faulty);
        if slot.running.as_ref().is_some_and(|program| program.version == proposal.version) {
            if was_faulty {
                tracing::info!("{plugin} is in order again: its files are those of the version that runs");
            }
            tracing::debug!(%plugin, "its files are as they were");
            self.statuses.in_order(&plugin);
            return;
        }
        slot.loading = true;
        self.statuses.loading(&plugin);
        proposal.usage = self.statuses.usage(&plugin);
        self.loads += 1;
        self.spawn_load(plugin, proposal);
    }

    fn spawn_load(&self, plugin: PluginName, proposal: Proposal) {
        let running = self.slots.get(&plugin).and_then(|slot| slot.running.clone());
        let (loader, ended) = (self.loader.clone(), self.ended.0.clone());
        tokio::spawn(async move {
            let result = loader.load(proposal, running, clock::now).await;
            let _ = ended.send(Ended::Load(plugin, result));
        });
    }

    async fn load_ended(&mut self, plugin: PluginName, result: Result<Accepted, LoadError>) {
        self.loads -= 1;
        let Some(slot) = self.slots.get_mut(&plugin) else { return };
        slot.loading = false;
        if slot.withdrawn {
            self.slots.remove(&plugin);
            self.statuses.removed(&plugin);
            return;
        }
        let waiting = slot.waiting.take();
        match result {
            Ok(Accepted { program, loaded }) => {
                self.activate(&plugin, program).await;
                // The app is gone: so will this be.
                let _ = self.events.send(Event::Loaded(loaded)).await;
            }
            // The version that waits may be the one without the fault.
            Err(_) if waiting.is_some() => {}
            Err(error) => self.refused(&plugin, &error),
        }
        match waiting {
            Some(candidate) => self.offered(candidate),
            None => self.sweep(),
        }
    }

    /// From here on it is this version that answers.
    async fn activate(&mut self, plugin: &PluginName, program: Arc<Program>) {
        let Some(slot) = self.slots.get_mut(plugin) else { return };
        let (version, limits) = (program.version, program.settings.limits);
        slot.before = slot.running.replace(program).map(|program| program.version).or(slot.before);
        self.needs_gc = true;
        let ran = slot.before.map(|before| before.component).filter(|component| *component != version.component);
        if let Some(component) = ran {
            slot.previous = Some(component);
            let (loader, name) = (self.loader.clone(), plugin.clone());
            let kept = tokio::task::spawn_blocking(move || loader.versions().set_previous(&name, component)).await;
            if let Err(error) = kept.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                let report = Report::new(format!("which version of `{plugin}` ran before is not remembered"));
                tracing::warn!("{}", report.cause(error).hint("after a restart there is none to go back to"));
            }
        }
        self.statuses.runs(plugin, version, limits, slot.previous);
    }

    /// Sees what would become of files. Nothing is kept, except what was compiled.
    fn try_out(&mut self, candidate: Candidate, mut answer: oneshot::Sender<Result<Loaded, Report>>) {
        self.loads += 1;
        let running = self.slots.get(&candidate.plugin).and_then(|slot| slot.running.clone());
        let (loader, ended, plugin) = (self.loader.clone(), self.ended.0.clone(), candidate.plugin.clone());
        tokio::spawn(async move {
            let mut tried = None;
            let trial = async {
                let proposal = loader.propose(candidate)?;
                tried = Some(proposal.version.component);
                Ok(loader.try_out(proposal, running, clock::now).await?.loaded)
            };
            let result = tokio::select! {
                result = trial => Some(result),
                () = answer.closed() => None,
            };
            if let Some(result) = result {
                let _ = answer.send(result.map_err(|error: LoadError| error.report(&plugin, None)));
            }
            let _ = ended.send(Ended::Trial(tried));
        });
    }

    fn trial_ended(&mut self, tried: Option<Digest>) {
        self.loads -= 1;
        if let Some(component) = tried {
            self.tried.retain(|other| *other != component);
            self.tried.push_back(component);
            if self.tried.len() > limits::TRIED {
                self.tried.pop_front();
            }
            self.needs_gc = true;
        }
        self.sweep();
    }

    fn refused(&mut self, plugin: &PluginName, error: &LoadError) {
        self.slots.entry(plugin.clone()).or_default().faulty = true;
        self.statuses.refused(plugin, error.report(plugin, None));
        self.not_loaded(Some(plugin), error.report(plugin, Some(self.consequence(plugin))));
    }

    fn faulty(&mut self, plugin: Option<&PluginName>, report: Report) {
        if let Some(slot) = plugin.and_then(|plugin| self.slots.get_mut(plugin)) {
            slot.faulty = true;
        }
        if let Some(plugin) = plugin {
            self.statuses.refused(plugin, report.clone());
        }
        let consequence = plugin.map(|plugin| self.consequence(plugin));
        let hint = [report.hint.as_deref(), consequence].into_iter().flatten().collect::<Vec<_>>().join("\n");
        self.not_loaded(plugin, report.hint(hint));
    }

    fn not_loaded(&self, plugin: Option<&PluginName>, report: Report) {
        self.loader.event_log().log(HostEvent::NotLoaded { plugin: plugin.cloned(), report: report.into() });
    }

    /// What comes of it that a version is not taken.
    fn consequence(&self, plugin: &PluginName) -> &'static str {
        let runs = self.slots.get(plugin).is_some_and(|slot| slot.running.is_some());
        if runs { "the previous version keeps running" } else { "nothing of it runs until that is mended" }
    }

    async fn withdrawn(&mut self, plugin: PluginName) {
        self.statuses.removed(&plugin);
        self.loader.versions().clear_previous(&plugin);
        let Some(slot) = self.slots.get_mut(&plugin) else { return };
        slot.waiting = None;
        slot.withdrawn = slot.loading;
        let ran = slot.running.take().is_some() || slot.before.take().is_some();
        if !slot.loading {
            self.slots.remove(&plugin);
        }
        if ran {
            let _ = self.events.send(Event::Removed(plugin)).await;
        }
    }

    fn ask(&mut self, question: Question) {
        let program = |plugin| self.slots.get(plugin).and_then(|slot| slot.running.clone());
        let (loader, events) = (self.loader.clone(), self.events.clone());
        match question {
            Question::Plan { plugin, device, generation } => {
                let program = program(&plugin);
                tokio::spawn(async move {
                    let plan = loader.answer(program.as_deref(), &device, clock::now).await;
                    let _ = events.send(Event::Planned { plugin, device, generation, plan }).await;
                });
            }
            Question::Task { call, plugin, device, task_call } => {
                let program = program(&plugin);
                tokio::spawn(async move {
                    // The run waits for it whatever happens.
                    let asked = async move { loader.reply(program.as_deref(), &device, task_call, clock::now).await };
                    let reply =
                        tokio::spawn(asked).await.unwrap_or_else(|error| Err(format!("the call broke off: {error}")));
                    let _ = events.send(Event::Answered { call, reply }).await;
                });
            }
            Question::Tasks { plugin, answer } => {
                let program = program(&plugin);
                tokio::spawn(while_awaited(answer, async move {
                    loader.task_descriptions(program.as_deref(), clock::now).await
                }));
            }
            Question::Check { plugin, name, args, answer } => {
                let program = program(&plugin);
                tokio::spawn(while_awaited(answer, async move {
                    loader.task(program.as_deref(), &name, args, clock::now).await
                }));
            }
            Question::Simulation { plugin, device, task_call, answer } => {
                let program = program(&plugin);
                tokio::spawn(while_awaited(answer, async move {
                    loader.reply(program.as_deref(), &device, task_call, clock::now).await
                }));
            }
            Question::Trial { candidate, answer } => self.try_out(candidate, answer),
        }
    }

    /// When nothing is being loaded, so that nothing is deleted that a load has just kept.
    fn sweep(&mut self) {
        if self.loads > 0 || !std::mem::take(&mut self.needs_gc) {
            return;
        }
        let running = self.slots.values().filter_map(|slot| slot.running.as_ref()).map(|program| program.version);
        let in_use: Vec<_> = running.chain(self.slots.values().filter_map(|slot| slot.before)).collect();
        let before: Vec<_> = self.slots.values().filter_map(|slot| slot.previous).collect();
        let (loader, tried) = (self.loader.clone(), Vec::from(self.tried.clone()));
        tokio::task::spawn_blocking(move || loader.sweep(&in_use, &before, &tried));
    }
}

/// Asks for somebody, for as long as he waits.
async fn while_awaited<A>(mut answer: oneshot::Sender<A>, asked: impl Future<Output = A>) {
    tokio::select! {
        found = asked => drop(answer.send(found)),
        () = answer.closed() => {}
    }
}
