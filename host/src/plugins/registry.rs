//! The registry of plugins: for each, the version that runs, the one that is being loaded, and the candidate that waits
//! for that load.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

use roost_scheduler::{
    accept::TaskDescription,
    event::{CallId, Digest, Event, Generation, Loaded, Version},
    model::Reply,
    names::{DeviceName, PluginName},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    folder::{Candidate, FolderEvent},
    limits,
    load::{Accepted, LoadError, Loader, Proposal, TaskCall},
    program::Program,
    statuses::PluginStatuses,
};
use crate::{clock, event_log::HostEvent, report::Report};

/// A request to a plugin.
#[derive(Debug)]
pub(super) enum Question {
    /// The scheduler requests a plan.
    Plan { plugin: PluginName, device: DeviceName, generation: Generation },
    /// The scheduler requests the steps of a task.
    Task { call: CallId, plugin: PluginName, device: DeviceName, task_call: TaskCall },
    /// The operator queries the tasks.
    Tasks { plugin: PluginName, answer: oneshot::Sender<Result<Vec<TaskDescription>, String>> },
    /// The operator queries the steps of a task, without a run.
    Simulation {
        plugin: PluginName,
        device: DeviceName,
        task_call: TaskCall,
        answer: oneshot::Sender<Result<Reply, String>>,
    },
    /// The operator loads a candidate on trial.
    Trial { candidate: Candidate, answer: oneshot::Sender<Result<Loaded, Report>> },
    /// The operator checks settings without a component: nothing is compiled or called.
    Settings { candidate: Candidate, answer: oneshot::Sender<Result<(), Report>> },
}

/// A load or a trial that has ended, so that the next one can begin.
enum Ended {
    Load(PluginName, Result<Accepted, LoadError>),
    /// The component that was compiled, if any.
    Trial(Option<Digest>),
}

/// The state of one plugin.
#[derive(Default)]
struct Slot {
    running: Option<Arc<Program>>,
    /// The version before the running one, which the store may still refer to.
    before: Option<Version>,
    /// The component before the running one, for a rollback. It survives restarts.
    previous: Option<Digest>,
    loading: bool,
    /// Whether its newest files were refused.
    faulty: bool,
    /// Whether the file was removed during the load.
    withdrawn: bool,
    /// The candidate to load next.
    waiting: Option<Candidate>,
}

/// The registry.
pub(super) struct Registry {
    loader: Arc<Loader>,
    slots: HashMap<PluginName, Slot>,
    events: mpsc::Sender<Event>,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    loads: usize,
    /// Whether stored versions or compiled components may be unused.
    needs_gc: bool,
    /// The components of the last trials.
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
            let previous = loader.previous(&name).filter(|before| *before != version.component);
            let running = match loader.stored(&name, version) {
                Ok(program) => {
                    statuses.set_running(&name, version, program.settings.limits, previous);
                    Some(Arc::new(program.counted(statuses.usage(&name))))
                }
                Err(error) => {
                    let report = Report::new(format!("the last version of plugin `{name}` cannot be loaded"));
                    let report = report.chain(&error);
                    tracing::error!("{report}");
                    statuses.set_refused(&name, report);
                    None
                }
            };
            slots.insert(name, Slot { running, before: Some(version), previous, ..Slot::default() });
        }
        let loader = Arc::new(loader);
        // I10: at most one load for each plugin, and `LOADS_AT_ONCE` in total.
        let ended = mpsc::unbounded_channel();
        let (loads, needs_gc, tried) = (0, true, VecDeque::new());
        Self { loader, slots, events, ended, loads, needs_gc, tried, statuses }
    }

    /// Runs until the watch ends.
    pub(super) async fn run(
        mut self,
        mut folder_events: mpsc::Receiver<FolderEvent>,
        mut questions: mpsc::UnboundedReceiver<Question>,
    ) {
        loop {
            let may_load = self.loads < limits::LOADS_AT_ONCE;
            tokio::select! {
                Some(ended) = self.ended.1.recv() => match ended {
                    Ended::Load(plugin, result) => {
                        self.load_ended(&plugin, result).await;
                        self.end_first_load(&plugin);
                    }
                    Ended::Trial(tried) => self.trial_ended(tried),
                },
                Some(question) = questions.recv() => self.answer(question),
                event = folder_events.recv(), if may_load => match event {
                    Some(event) => self.on_folder_event(event).await,
                    None => return,
                },
            }
        }
    }

    async fn on_folder_event(&mut self, event: FolderEvent) {
        let about = match &event {
            FolderEvent::Ready(candidate) => Some(candidate.plugin.clone()),
            FolderEvent::Removed(plugin) | FolderEvent::Faulty(Some(plugin), _) => Some(plugin.clone()),
            _ => None,
        };
        match event {
            FolderEvent::Listed(plugins) => self.statuses.first_loads.begin(plugins),
            FolderEvent::Ready(candidate) => self.on_candidate(candidate),
            FolderEvent::Removed(plugin) => self.on_removed(plugin).await,
            FolderEvent::Faulty(plugin, report) => self.on_faulty(plugin.as_ref(), report),
            FolderEvent::InitialScanDone => self.statuses.first_loads.set_all_read(|plugin| self.is_loading(plugin)),
        }
        about.iter().for_each(|plugin| self.end_first_load(plugin));
    }

    fn is_loading(&self, plugin: &PluginName) -> bool {
        self.slots.get(plugin).is_some_and(|slot| slot.loading)
    }

    /// Records that the first load of a plugin has ended, unless another one of it is under way.
    fn end_first_load(&self, plugin: &PluginName) {
        if !self.is_loading(plugin) {
            self.statuses.first_loads.end(plugin);
        }
    }

    /// Begins the load of a candidate, unless it is the running version or another load is under way.
    fn on_candidate(&mut self, candidate: Candidate) {
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
                tracing::info!("plugin `{plugin}` has no fault any more: its files are those of the running version");
            }
            tracing::debug!(%plugin, "its files are unchanged");
            self.statuses.clear_fault(&plugin);
            return;
        }
        slot.loading = true;
        self.statuses.set_loading(&plugin);
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

    async fn load_ended(&mut self, plugin: &PluginName, result: Result<Accepted, LoadError>) {
        self.loads -= 1;
        let Some(slot) = self.slots.get_mut(plugin) else { return };
        slot.loading = false;
        if slot.withdrawn {
            self.slots.remove(plugin);
            self.statuses.remove(plugin);
            return;
        }
        let waiting = slot.waiting.take();
        match result {
            Ok(Accepted { program, loaded }) => {
                self.activate(plugin, program).await;
                // If the app is gone, the registry ends as well.
                let _ = self.events.send(Event::Loaded(loaded)).await;
            }
            // The next candidate may not have the fault.
            Err(_) if waiting.is_some() => {}
            Err(error) => self.refused(plugin, &error),
        }
        match waiting {
            Some(candidate) => self.on_candidate(candidate),
            None => self.sweep(),
        }
    }

    /// Makes a version the running one, which answers from now on.
    async fn activate(&mut self, plugin: &PluginName, program: Arc<Program>) {
        let Some(slot) = self.slots.get_mut(plugin) else { return };
        let (version, limits) = (program.version, program.settings.limits);
        slot.before = slot.running.replace(program).map(|program| program.version).or(slot.before);
        self.needs_gc = true;
        let ran = slot.before.map(|before| before.component).filter(|component| *component != version.component);
        if let Some(component) = ran {
            slot.previous = Some(component);
            let (loader, name) = (self.loader.clone(), plugin.clone());
            let kept = tokio::task::spawn_blocking(move || loader.set_previous(&name, component)).await;
            if let Err(error) = kept.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                let report = Report::new(format!("the previous version of plugin `{plugin}` was not recorded"));
                tracing::warn!("{}", report.cause(error).hint("after a restart, the plugin cannot be rolled back"));
            }
        }
        self.statuses.set_running(plugin, version, limits, slot.previous);
    }

    /// Loads a candidate on trial. Nothing is stored except the compiled component.
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
        self.statuses.set_refused(plugin, error.report(plugin, None));
        self.not_loaded(Some(plugin), error.report(plugin, Some(self.consequence(plugin))));
    }

    fn on_faulty(&mut self, plugin: Option<&PluginName>, report: Report) {
        if let Some(slot) = plugin.and_then(|plugin| self.slots.get_mut(plugin)) {
            slot.faulty = true;
        }
        if let Some(plugin) = plugin {
            self.statuses.set_refused(plugin, report.clone());
        }
        let consequence = plugin.map(|plugin| self.consequence(plugin));
        let hint = [report.hint.as_deref(), consequence].into_iter().flatten().collect::<Vec<_>>().join("\n");
        self.not_loaded(plugin, report.hint(hint));
    }

    fn not_loaded(&self, plugin: Option<&PluginName>, report: Report) {
        self.loader.event_log().log(HostEvent::NotLoaded { plugin: plugin.cloned(), report: report.into() });
    }

    /// Returns the consequence of a refused version.
    fn consequence(&self, plugin: &PluginName) -> &'static str {
        let runs = self.slots.get(plugin).is_some_and(|slot| slot.running.is_some());
        if runs { "the previous version keeps running" } else { "the plugin does not run until this is fixed" }
    }

    async fn on_removed(&mut self, plugin: PluginName) {
        self.statuses.remove(&plugin);
        let (loader, name) = (self.loader.clone(), plugin.clone());
        let _ = tokio::task::spawn_blocking(move || loader.clear_previous(&name)).await;
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

    /// Answers a question in a task of its own.
    fn answer(&mut self, question: Question) {
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
                    // A panic must be answered as well, because the run waits for it.
                    let call_task =
                        async move { loader.reply(program.as_deref(), &device, task_call, clock::now).await };
                    let reply = tokio::spawn(call_task)
                        .await
                        .unwrap_or_else(|error| Err(format!("the call was aborted: {error}")));
                    let _ = events.send(Event::Answered { call, reply }).await;
                });
            }
            Question::Tasks { plugin, answer } => {
                let program = program(&plugin);
                tokio::spawn(while_awaited(answer, async move {
                    loader.task_descriptions(program.as_deref(), clock::now).await
                }));
            }
            Question::Simulation { plugin, device, task_call, answer } => {
                let program = program(&plugin);
                tokio::spawn(while_awaited(answer, async move {
                    loader.reply(program.as_deref(), &device, task_call, clock::now).await
                }));
            }
            Question::Trial { candidate, answer } => self.try_out(candidate, answer),
            Question::Settings { candidate, answer } => {
                tokio::spawn(while_awaited(answer, async move {
                    let plugin = candidate.plugin.clone();
                    loader.propose(candidate).map(drop).map_err(|error| error.report(&plugin, None))
                }));
            }
        }
    }

    /// Deletes unused versions and compiled components. Waits until no load is under way, because a load may have
    /// stored a version that is not registered yet.
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

/// Sends the result of a query, or cancels the query when the receiver is dropped.
async fn while_awaited<A>(mut answer: oneshot::Sender<A>, query: impl Future<Output = A>) {
    tokio::select! {
        found = query => drop(answer.send(found)),
        () = answer.closed() => {}
    }
}
