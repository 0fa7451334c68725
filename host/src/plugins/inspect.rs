//! A plugin looked at without a running host, and without a trace.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use roost_scheduler::{
    model::Job,
    names::{DeviceName, PluginName},
    time::Site,
    topic::Grant,
};

use super::{
    folder::{Offer, better_name, read_file, read_settings},
    limits,
    load::{LoadError, Loader},
};
use crate::report::Report;

/// What a plugin is, and what its devices would do.
#[derive(Debug)]
pub(crate) struct Inspection {
    pub(crate) plugin: PluginName,
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) devices: Vec<InspectedDevice>,
}

#[derive(Debug)]
pub(crate) struct InspectedDevice {
    pub(crate) name: DeviceName,
    pub(crate) site: Site,
    pub(crate) jobs: Vec<Job>,
}

/// Loads a plugin as a running host would, with the settings beside it, and asks each device for its plan.
pub(crate) fn inspect(path: &Path, site: Site, grants: &HashMap<PluginName, Grant>) -> Result<Inspection, Report> {
    let offer = offer(path)?;
    let plugin = offer.plugin.clone();
    let scratch = Scratch::new()?;
    let loader = Loader::open(&scratch.0, site, grants.clone())?;
    let looking = async {
        let proposal = loader.propose(offer)?;
        let program = loader.program(proposal, None).await?;
        let mut devices = Vec::new();
        for device in &program.settings.devices {
            let jobs = loader.plan(&program, device).await?.jobs.iter().map(Job::from).collect();
            devices.push(InspectedDevice { name: device.name.clone(), site: device.site, jobs });
        }
        let (imports, exports) =
            program.linked.get().map(|linked| (linked.imports.clone(), linked.exports.clone())).unwrap_or_default();
        Ok(Inspection { plugin: plugin.clone(), imports, exports, devices })
    };
    super::guest_threads()?.block_on(looking).map_err(|error: LoadError| error.report(&plugin, None))
}

fn offer(path: &Path) -> Result<Offer, Report> {
    let report = || Report::new(format!("`{}` cannot be checked", path.display()));
    if path.is_dir() || path.extension().is_none_or(|extension| extension != "wasm") {
        let report = report().cause("it is not a `.wasm` file");
        return Err(report.hint("name the plugin's file, as in `roost check plugins/coop-door.wasm`"));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plugin = PluginName::parse(&stem).map_err(|error| report().cause(error).hint(better_name(&stem)))?;
    let component = read_file(path, limits::COMPONENT_BYTES).map_err(|error| report().cause(error))?;
    let settings = path.with_extension("toml");
    let settings = match read_settings(&settings) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(report().cause(format!("`{}` cannot be read: {error}", settings.display()))),
    };
    Ok(Offer { plugin, component: component.into(), settings })
}

/// A folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Report> {
        let base = std::env::temp_dir();
        let failed = |error| Report::new(format!("a folder cannot be made in `{}`", base.display())).cause(error);
        let process = std::process::id();
        for number in 0..1_000 {
            let path = base.join(format!("roost-check-{process}-{number}"));
            // Made here and now, and by nobody else: code is run from what lies in it.
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(std::io::ErrorKind::AlreadyExists.into()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
