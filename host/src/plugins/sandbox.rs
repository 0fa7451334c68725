//! The sandbox: loads and calls plugins without a running host, and leaves nothing behind.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use roost_scheduler::{
    accept::TaskDescription,
    event::{Loaded, LoadedDevice, Plan},
    model::{Job, Reply, Task},
    names::{DeviceName, PluginName},
    scheduler::Operator,
    time::{Instant, Site},
    topic::Grant,
};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::{
    bytes::Bytes,
    folder::{Candidate, SettingsText, read_settings, rename_hint},
    limits,
    load::{Accepted, LoadError, Loader, TaskCall},
    program::Program,
};
use crate::{config::rules::Rules, event_log::EventLog, files, report::Report};

/// A plugin's interfaces, tasks and plans.
#[derive(Debug)]
pub(crate) struct Inspection {
    pub(crate) plugin: PluginName,
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) grant: Grant,
    pub(crate) tasks: Vec<TaskDescription>,
    pub(crate) devices: Vec<InspectedDevice>,
}

#[derive(Debug)]
pub(crate) struct InspectedDevice {
    pub(crate) name: DeviceName,
    pub(crate) site: Site,
    pub(crate) jobs: Vec<Job>,
}

/// Loads plugins as a running host does, and calls them on request.
pub(crate) struct Sandbox {
    loader: Arc<Loader>,
    guests: Runtime,
    _data: TempDir,
}

/// A loaded plugin, which can be called.
pub(crate) struct LoadedPlugin(Arc<Program>);

/// A requested plan that may not be ready yet.
pub(crate) struct PendingPlan(JoinHandle<Result<Plan, String>>);

impl Sandbox {
    /// Returns the operator's rules for the scheduler.
    pub(crate) fn operator(&self) -> Operator {
        self.loader.operator()
    }

    pub(crate) fn new(site: Site, rules: Rules) -> Result<Self, Report> {
        let data = TempDir::new()?;
        let loader = Arc::new(Loader::open(&data.0, None, site, rules, EventLog::default())?);
        Ok(Self { loader, guests: super::guest_threads()?, _data: data })
    }

    /// Loads a plugin with the settings next to it, and requests each device's plan. Returns the event for the
    /// scheduler.
    pub(crate) fn load(&self, path: &Path, now: Instant) -> Result<(LoadedPlugin, Loaded), Report> {
        self.accept(candidate(path)?, now)
    }

    /// Loads the component of another file as a new version of a plugin, with the settings next to that file if there
    /// are any.
    pub(crate) fn load_as(&self, path: &Path, newer: &Path, now: Instant) -> Result<(LoadedPlugin, Loaded), Report> {
        let (plugin, component) = (name_of(path)?, read_component(newer)?);
        let settings = match settings_beside(newer)? {
            Some(settings) => Some(settings),
            None => settings_beside(path)?,
        };
        let accepted = self.accept(Candidate { plugin, component, settings }, now);
        accepted
            .map_err(|report| report.cause(format!("it is the newer version in the comparison: `{}`", newer.display())))
    }

    fn accept(&self, candidate: Candidate, now: Instant) -> Result<(LoadedPlugin, Loaded), Report> {
        let plugin = candidate.plugin.clone();
        let loading = async { self.loader.load(self.loader.propose(candidate)?, None, || now).await };
        let Accepted { program, loaded } =
            self.guests.block_on(loading).map_err(|error: LoadError| error.report(&plugin, None))?;
        Ok((LoadedPlugin(program), loaded))
    }

    /// Requests a device's plan again, without waiting for the answer.
    pub(crate) fn request_plan(&self, plugin: &LoadedPlugin, device: &DeviceName, now: Instant) -> PendingPlan {
        let (loader, program, device) = (self.loader.clone(), plugin.0.clone(), device.clone());
        PendingPlan(self.guests.spawn(async move { loader.answer(Some(&program), &device, || now).await }))
    }

    /// Waits for a requested plan.
    pub(crate) fn wait_for_plan(&self, plan: PendingPlan) -> Result<Plan, String> {
        self.guests.block_on(plan.0).expect("no call panics, and none is aborted before the sandbox is dropped")
    }

    /// Runs a task for a device, and returns its steps.
    pub(crate) fn run_task(
        &self,
        plugin: &LoadedPlugin,
        device: &DeviceName,
        task: Task,
        due: Instant,
        now: Instant,
    ) -> Result<Reply, String> {
        let task_call = TaskCall { task: task.into(), due: Some(due) };
        self.guests.block_on(self.loader.reply(Some(&plugin.0), device, task_call, || now))
    }

    /// Loads a plugin, and returns its interfaces, tasks and plans.
    pub(crate) fn inspect(&self, path: &Path, now: Instant) -> Result<Inspection, Report> {
        let (LoadedPlugin(program), loaded) = self.load(path, now)?;
        let linked = self.guests.block_on(self.loader.linked(&program));
        let linked = linked.map_err(|error| error.report(&program.plugin, None))?;
        let (imports, exports) = (linked.imports.clone(), linked.exports.clone());
        // The tasks were listed before the plans were requested.
        let tasks = program.tasks.get().cloned().unwrap_or_default();
        let jobs = |plan: Result<Plan, String>| {
            plan.map_or_else(|_| Vec::new(), |plan| plan.jobs.iter().map(Job::from).collect())
        };
        let devices = loaded.devices.into_iter();
        let devices = devices.map(|LoadedDevice { name, site, plan }| InspectedDevice { name, site, jobs: jobs(plan) });
        let (plugin, grant) = (loaded.plugin, loaded.grant);
        Ok(Inspection { plugin, imports, exports, grant, tasks, devices: devices.collect() })
    }
}

/// Returns the beginning of the report for a file that cannot be loaded.
fn unusable(path: &Path) -> Report {
    Report::new(format!("`{}` cannot be loaded", path.display()))
}

fn candidate(path: &Path) -> Result<Candidate, Report> {
    let (plugin, component) = (name_of(path)?, read_component(path)?);
    Ok(Candidate { plugin, component, settings: settings_beside(path)? })
}

/// Returns the plugin name that a file has.
fn name_of(path: &Path) -> Result<PluginName, Report> {
    let report = || unusable(path);
    if path.is_dir() || path.extension().is_none_or(|extension| extension != "wasm") {
        let report = report().cause("it is not a `.wasm` file");
        return Err(report.hint("pass the plugin's file, such as `plugins/coop-door.wasm`"));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    PluginName::parse(&stem).map_err(|error| report().cause(error).hint(rename_hint(&stem)))
}

/// Reads the settings next to a component. Errors may quote them, because the command runs with the user's own
/// permissions.
fn settings_beside(component: &Path) -> Result<Option<SettingsText>, Report> {
    let path = component.with_extension("toml");
    match read_settings(&path) {
        Ok(read) => Ok(Some(SettingsText { may_quote: true, ..read })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(component).cause(format!("`{}` cannot be read: {error}", path.display()))),
    }
}

fn read_component(path: &Path) -> Result<Bytes, Report> {
    Ok(files::read(path, limits::COMPONENT_BYTES).map_err(|error| unusable(path).cause(error))?.into())
}

/// A temporary folder that is removed when it is dropped.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Result<Self, Report> {
        let base = std::env::temp_dir();
        let failed = |error| Report::new(format!("a folder cannot be created in `{}`", base.display())).cause(error);
        let process = std::process::id();
        for number in 0..1_000 {
            let path = base.join(format!("roost-sandbox-{process}-{number}"));
            // A new folder that only this user can access, because code in it is executed.
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(std::io::ErrorKind::AlreadyExists.into()))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
