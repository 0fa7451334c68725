//! Loads plugins: compiles and links a candidate, requests the plan of every device, and stores the version.

use std::{io, path::Path, pin::pin, sync::Arc};

use roost_scheduler::{
    accept::{self, TaskDescription, draft::TaskDraft},
    event::{Digest, Loaded, LoadedDevice, Plan, Version},
    model::Reply,
    names::{DeviceName, PluginName},
    scheduler::Operator,
    time::{Instant, Site},
};

use super::{
    bytes::{Bytes, LoadRoom},
    cache::{Cache, CacheError},
    calls::{CallError, Calls},
    compile::WRITABLE,
    component::{self, ComponentError, Linked},
    engine::Engine,
    folder::Candidate,
    function::{ListTasks, RunTask, ScheduleJobs},
    granted_now, limits,
    linked_cache::LinkedCache,
    program::Program,
    settings::{Device, Settings, places},
    shared_files::SharedFiles,
    statuses::UsageCounter,
    stored_versions::{StoredError, Versions, digest_of},
};
use crate::{
    config::{call_limits::CallLimits, rules::Rules},
    event_log::EventLog,
    files::FolderError,
    report::Report,
};

/// The state that all loads share.
pub(super) struct Loader {
    engine: Arc<Engine>,
    cache: Cache,
    ready: LinkedCache,
    calls: Calls,
    room: LoadRoom,
    versions: Versions,
    /// The files that several hosts share, if this one shares its plugins.
    shared: Option<SharedFiles>,
    site: Site,
    rules: Arc<Rules>,
    event_log: EventLog,
}

/// A version that was accepted.
pub(super) struct Accepted {
    pub(super) program: Arc<Program>,
    pub(super) loaded: Loaded,
}

/// Why a version was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("its settings are invalid")]
    Settings(#[source] Report),
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error("{at}device `{device}` has no plan")]
    Plan {
        device: DeviceName,
        /// The place in the settings, if it is known: `porch.toml:3:8: `.
        at: Box<str>,
        #[source]
        error: CallError,
    },
    #[error(
        "its memory limit is {limit_mib} MiB, but one plugin can use at most {most_mib} of the {total_mib} MiB for \
         all plugins"
    )]
    Memory { limit_mib: u32, most_mib: u32, total_mib: u32 },
    #[error("its tasks cannot be listed")]
    Tasks(#[source] CallError),
    #[error(transparent)]
    Task(CallError),
    #[error("it cannot be stored in the data folder")]
    Keep(#[source] io::Error),
}

/// A task call that was not checked yet.
#[derive(Debug)]
pub(super) struct TaskCall {
    pub(super) task: TaskDraft,
    /// When the task is due. `None` means the time of the call.
    pub(super) due: Option<Instant>,
}

const NOT_LOADED: &str = "the plugin cannot be called: no version of it is loaded";

/// Returns the program and the device to call, or why there is none.
fn subject<'p>(program: Option<&'p Program>, name: &DeviceName) -> Result<(&'p Program, &'p Device), String> {
    let program = program.ok_or(NOT_LOADED)?;
    let device = program.device(name).ok_or_else(|| format!("the plugin has no device `{name}`"))?;
    Ok((program, device))
}

impl LoadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Component(error) => error.hint().map(Into::into),
            Self::Cache(error) => error.hint().map(Into::into),
            Self::Plan { error, .. } | Self::Tasks(error) | Self::Task(error) => error.hint(),
            Self::Memory { .. } => Some(
                "lower `memory_mib` in `[limits]` of its settings, or raise `memory_mib` in `[guests]` of `roost.toml`"
                    .into(),
            ),
            Self::Settings(report) => report.hint.clone(),
            Self::Stored(StoredError::Damaged { .. }) => Some("copy the plugin's file into the folder again".into()),
            Self::Stored(_) | Self::Keep(_) => Some(WRITABLE.into()),
        }
    }

    /// Returns the error and its hint in one text, for a call that failed.
    fn in_full(&self) -> String {
        match self {
            Self::Plan { error, .. } | Self::Task(error) => error.in_full(),
            Self::Tasks(error) => format!("{self}: {}", error.in_full()),
            other => other.to_string(),
        }
    }

    /// Adds the place in the settings that a plan fails at, if they name it.
    fn in_settings(self, plugin: &PluginName, text: Option<&str>) -> Self {
        let Self::Plan { device, error, .. } = self else { return self };
        let place = text.and_then(|text| places(text, plugin, &[(&device, &error.to_string())])[0]);
        let at = place.map_or_else(String::new, |(line, column)| format!("{plugin}.toml:{line}:{column}: "));
        Self::Plan { device, at: at.into(), error }
    }

    /// Returns the report of the error, with its consequence in the hint.
    pub(super) fn report(&self, plugin: &PluginName, consequence: Option<&str>) -> Report {
        let report = Report::new(format!("plugin `{plugin}` was not loaded"));
        let report = match self {
            Self::Settings(settings) => {
                settings.causes.iter().fold(report.cause(&settings.what), |report, cause| report.cause(cause))
            }
            other => report.chain(other),
        };
        let hint = [self.hint().as_deref(), consequence].into_iter().flatten().collect::<Vec<_>>().join("\n");
        if hint.is_empty() { report } else { report.hint(hint) }
    }
}

/// Returns a report with the place of an error in settings, but without quoting them.
fn without_quotes(report: &Report) -> Report {
    let place = report.what.split(": ").next().unwrap_or_default();
    let report = Report::new(format!("{place}: the settings are invalid"));
    let report = report.cause("the error is not shown, because a link leads to a file outside of the plugin folder");
    report.hint("replace the link by the file, or run `roost check PLUGIN.wasm` as a user that may read that file")
}

/// Waits for a compile, and logs that it is under way if it takes long.
async fn noticed<T>(plugin: &PluginName, compile: impl Future<Output = T>) -> T {
    let mut compile = pin!(compile);
    match tokio::time::timeout(limits::COMPILE_NOTICE, &mut compile).await {
        Ok(compiled) => compiled,
        Err(_) => {
            tracing::info!("plugin `{plugin}` is still being compiled: large plugins take their time");
            compile.await
        }
    }
}

/// A candidate with its parsed settings, before it is compiled.
pub(super) struct Proposal {
    pub(super) candidate: Candidate,
    pub(super) settings: Settings,
    pub(super) version: Version,
    /// The counter of its calls. By default, it is one that nothing reads.
    pub(super) usage: Arc<UsageCounter>,
}

impl Loader {
    pub(super) fn open(
        data: &Path,
        shared: Option<SharedFiles>,
        site: Site,
        rules: Rules,
        event_log: EventLog,
    ) -> Result<Self, Report> {
        let unusable = |what: &str, error: &FolderError| {
            Report::new(format!("{what} in `{}` cannot be used", data.display())).chain(error).hint(error.hint())
        };
        let engine = Engine::new()
            .map_err(|error| Report::new("the WebAssembly engine cannot be started").cause(format!("{error:#}")))?;
        let engine = Arc::new(engine);
        let cache = Cache::open(data, engine.wasm()).map_err(|error| unusable("the cache", &error))?;
        let cache = cache.within(rules.guests.compile_cpu_s);
        let versions = Versions::open(data).map_err(|error| unusable("the stored versions", &error))?;
        Ok(Self {
            calls: Calls::new(engine.clone(), rules.guests.memory_mib),
            engine,
            cache,
            ready: LinkedCache::default(),
            room: LoadRoom::default(),
            versions,
            shared,
            site,
            rules: rules.into(),
            event_log,
        })
    }

    /// The room for candidates.
    pub(super) const fn room(&self) -> &LoadRoom {
        &self.room
    }

    /// The log that receives events.
    pub(super) const fn event_log(&self) -> &EventLog {
        &self.event_log
    }

    pub(super) fn operator(&self) -> Operator {
        self.rules.operator(self.site)
    }

    pub(super) fn propose(&self, candidate: Candidate) -> Result<Proposal, LoadError> {
        let (text, may_quote) =
            candidate.settings.as_ref().map_or((None, true), |read| (Some(read.text.as_str()), read.may_quote));
        let settings = Settings::parse(text, &candidate.plugin, &self.site, &self.rules);
        let settings = settings.map_err(|report| match may_quote {
            true => LoadError::Settings(report),
            false => LoadError::Settings(without_quotes(&report)),
        })?;
        let (limit_mib, memory) = (settings.limits.memory_mib, self.calls.memory());
        // The default limit was not requested, so that it is lowered to the total without an error.
        if limit_mib > memory.most_mib() && limit_mib != CallLimits::default().memory_mib {
            return Err(LoadError::Memory { limit_mib, most_mib: memory.most_mib(), total_mib: memory.total_mib() });
        }
        let version = Version { component: digest_of(&candidate.component), settings: settings.digest() };
        Ok(Proposal { candidate, settings, version, usage: Arc::default() })
    }

    /// Compiles and links a candidate, without calling it.
    pub(super) async fn program(&self, proposal: Proposal) -> Result<Arc<Program>, LoadError> {
        let Proposal { candidate, settings, version, usage } = proposal;
        component::recognise(&candidate.component)?;
        self.link(&candidate.plugin, version.component, async || Ok(candidate.component)).await?;
        let program = Program::new(candidate.plugin, version, settings, self.rules.clone(), self.event_log.clone());
        Ok(Arc::new(program.counted(usage)))
    }

    /// Returns the linked component of a version.
    pub(super) async fn linked(&self, program: &Program) -> Result<Arc<Linked>, LoadError> {
        let digest = program.version.component;
        let read = async || {
            // The size is not known yet, so that this takes room for the largest one.
            let room = self.room.wait_for(limits::COMPONENT_BYTES).await;
            let bytes = self.versions.component(digest)?;
            Ok(Bytes::in_room(bytes, room))
        };
        self.link(&program.plugin, digest, read).await
    }

    /// Returns a linked component. `bytes` is called only if the component must be compiled.
    async fn link(
        &self,
        plugin: &PluginName,
        digest: Digest,
        bytes: impl AsyncFnOnce() -> Result<Bytes, StoredError>,
    ) -> Result<Arc<Linked>, LoadError> {
        if let Some(linked) = self.ready.get(digest) {
            return Ok(linked);
        }
        let component = match self.cache.load(digest) {
            Some(component) => component,
            None => {
                let bytes = bytes().await?;
                component::recognise(&bytes)?;
                noticed(plugin, self.cache.compile(digest, &bytes)).await?
            }
        };
        let linked = Arc::new(self.engine.link(&component)?);
        self.ready.put(digest, linked.clone());
        Ok(linked)
    }

    /// Loads a candidate, and stores it if it is accepted.
    pub(super) async fn load(
        &self,
        proposal: Proposal,
        running: Option<Arc<Program>>,
        clock: impl Fn() -> Instant,
    ) -> Result<Accepted, LoadError> {
        let bytes = proposal.candidate.component.clone();
        let Accepted { program, loaded } = self.try_out(proposal, running, clock).await?;
        // I6: it is on disk before the scheduler receives it, and therefore before the store records that it runs.
        let (versions, shared, plugin) = (self.versions.clone(), self.shared.clone(), program.plugin.clone());
        let (version, settings) = (program.version, program.settings.to_json());
        let kept = tokio::task::spawn_blocking(move || {
            versions.keep(&plugin, &version, &bytes, &settings)?;
            let contents = [(version.component, &*bytes), (version.settings, settings.as_bytes())];
            shared.map_or(Ok(()), |shared| shared.keep(&contents)).map_err(io::Error::other)
        });
        kept.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(LoadError::Keep)?;
        Ok(Accepted { program, loaded })
    }

    /// Loads a candidate without storing it. A new component is accepted only if all devices have a plan. If only the
    /// settings are new, one device's failure does not affect the others, unless all fail. Each plan is requested for
    /// the time of `clock`.
    pub(super) async fn try_out(
        &self,
        mut proposal: Proposal,
        running: Option<Arc<Program>>,
        clock: impl Fn() -> Instant,
    ) -> Result<Accepted, LoadError> {
        // They are parsed, and the text is kept for its places alone.
        let settings = proposal.candidate.settings.take();
        let same_bytes = running.is_some_and(|program| program.version.component == proposal.version.component);
        let program = self.program(proposal).await?;
        let (mut devices, mut planned) = (Vec::new(), 0);
        for (index, device) in program.settings.devices.iter().enumerate() {
            let others = planned > 0 || index + 1 < program.settings.devices.len();
            let plan = match self.plan(&program, device, &clock).await {
                Ok(plan) => {
                    planned += 1;
                    Ok(plan)
                }
                // The scheduler reports that the device keeps its plan.
                Err(LoadError::Plan { error, .. }) if same_bytes && others => Err(error.in_full()),
                Err(error) => {
                    return Err(error.in_settings(&program.plugin, settings.as_ref().map(|read| read.text.as_str())));
                }
            };
            devices.push(LoadedDevice { name: device.name.clone(), site: device.site, plan });
        }
        let loaded = Loaded {
            plugin: program.plugin.clone(),
            version: program.version,
            grant: program.settings.grant.clone(),
            devices,
        };
        Ok(Accepted { program, loaded })
    }

    /// Returns the previous component of a plugin, if it is stored.
    pub(super) fn previous(&self, plugin: &PluginName) -> Option<Digest> {
        self.versions.previous(plugin)
    }

    /// Records the previous component of a plugin.
    pub(super) fn set_previous(&self, plugin: &PluginName, component: Digest) -> io::Result<()> {
        self.versions.set_previous(plugin, component)?;
        let shared = self.shared.as_ref();
        shared.map_or(Ok(()), |shared| shared.set_previous(plugin, Some(component))).map_err(io::Error::other)
    }

    /// Removes the record of a plugin's previous component.
    pub(super) fn clear_previous(&self, plugin: &PluginName) {
        self.versions.clear_previous(plugin);
        if let Some(Err(error)) = self.shared.as_ref().map(|shared| shared.set_previous(plugin, None)) {
            tracing::warn!("the previous version of plugin `{plugin}` stays in the database: {error}");
        }
    }

    /// Returns a version that ran before the host started. If it is not in the cache, it is compiled for its first
    /// call.
    pub(super) fn stored(&self, plugin: &PluginName, version: Version) -> Result<Program, StoredError> {
        let mut settings = self.versions.settings(version.settings)?;
        settings.limits = settings.limits.within(&self.rules.ceilings);
        settings.grant = granted_now(plugin, settings.grant, self.rules.grants.get(plugin));
        Ok(Program::new(plugin.clone(), version, settings, self.rules.clone(), self.event_log.clone()))
    }

    /// Requests the plan of a device.
    pub(super) async fn plan(
        &self,
        program: &Program,
        device: &Device,
        clock: impl Fn() -> Instant,
    ) -> Result<Plan, LoadError> {
        // I7: the plugin's own permit comes first, so that a plugin with ten thousand devices has only one call in the
        // queue.
        let _permit = program.call_permit.acquire().await;
        let linked = self.linked(program).await?;
        self.list_tasks(program, &linked, &clock).await?;
        let answer = self.calls.call(&ScheduleJobs(&linked.plugin), linked.is_ordinary, program, device, clock()).await;
        answer.map_err(|error| LoadError::Plan { device: device.name.clone(), at: Box::default(), error })
    }

    /// Returns a plugin's tasks.
    pub(super) async fn tasks<'p>(
        &self,
        program: &'p Program,
        clock: impl Fn() -> Instant,
    ) -> Result<&'p [TaskDescription], LoadError> {
        let _permit = program.call_permit.acquire().await;
        let linked = self.linked(program).await?;
        self.list_tasks(program, &linked, &clock).await
    }

    /// Returns a version's tasks, and calls `list-tasks` only once.
    async fn list_tasks<'p>(
        &self,
        program: &'p Program,
        linked: &Linked,
        clock: &impl Fn() -> Instant,
    ) -> Result<&'p [TaskDescription], LoadError> {
        let call = async || match (&linked.tasks, program.settings.devices.first()) {
            // All devices have the same tasks, and each plugin has at least one device.
            (Some(plugin), Some(device)) => {
                self.calls.call(&ListTasks(plugin), linked.is_ordinary, program, device, clock()).await
            }
            _ => Ok(Vec::new()),
        };
        program.tasks.get_or_try_init(call).await.map(Vec::as_slice).map_err(LoadError::Tasks)
    }

    /// Runs a task, and returns its steps.
    pub(super) async fn run_task(
        &self,
        program: &Program,
        device: &Device,
        task_call: TaskCall,
        clock: impl Fn() -> Instant,
    ) -> Result<Reply, LoadError> {
        let _permit = program.call_permit.acquire().await;
        let linked = self.linked(program).await?;
        self.list_tasks(program, &linked, &clock).await?;
        let TaskCall { task, due } = task_call;
        let invalid = |fault| LoadError::Task(CallError::Invalid(Box::new(fault)));
        let task = accept::task(task, &program.terms(device)).map_err(invalid)?;
        let plugin = linked.tasks.as_ref().expect("a plugin with a task exports tasks");
        let now = clock();
        let function = RunTask { plugin, task: &task, due: due.unwrap_or(now) };
        self.calls.call(&function, linked.is_ordinary, program, device, now).await.map_err(LoadError::Task)
    }

    /// Answers the scheduler's request for a plan. The error includes the hint.
    pub(super) async fn answer(
        &self,
        program: Option<&Program>,
        device: &DeviceName,
        clock: impl Fn() -> Instant,
    ) -> Result<Plan, String> {
        let (program, device) = subject(program, device)?;
        self.plan(program, device, clock).await.map_err(|error| error.in_full())
    }

    /// Answers a task call. The error includes the hint.
    pub(super) async fn reply(
        &self,
        program: Option<&Program>,
        device: &DeviceName,
        task_call: TaskCall,
        clock: impl Fn() -> Instant,
    ) -> Result<Reply, String> {
        let (program, device) = subject(program, device)?;
        self.run_task(program, device, task_call, clock).await.map_err(|error| error.in_full())
    }

    /// Answers the operator's query for a plugin's tasks.
    pub(super) async fn task_descriptions(
        &self,
        program: Option<&Program>,
        clock: impl Fn() -> Instant,
    ) -> Result<Vec<TaskDescription>, String> {
        let program = program.ok_or(NOT_LOADED)?;
        let tasks = self.tasks(program, clock).await.map_err(|error| error.in_full())?;
        Ok(tasks.to_vec())
    }

    /// Deletes stored versions and compiled components, except the given ones. Of trials, only the compiled components
    /// are kept.
    pub(super) fn sweep(&self, in_use: &[Version], before: &[Digest], tried: &[Digest]) {
        self.versions.sweep(in_use, before);
        if let Some(shared) = &self.shared {
            let versions = in_use.iter().flat_map(|version| [version.component, version.settings]);
            if let Err(error) = shared.sweep(&versions.chain(before.iter().copied()).collect::<Vec<_>>()) {
                tracing::debug!("unused contents were not deleted from the database: {error}");
            }
        }
        let components = in_use.iter().map(|version| &version.component).chain(before).chain(tried);
        self.cache.sweep(&components.copied().collect());
    }
}
