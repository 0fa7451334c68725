//! From a file that came to rest to a plugin that runs: compile, link, plan every device, keep.

use std::{path::Path, sync::Arc};

use roost_scheduler::{
    event::{Digest, Loaded, LoadedDevice, Plan, Version},
    names::{DeviceName, PluginName},
    scheduler::Operator,
    time::{Instant, Site},
};

use super::{
    cache::{Cache, CacheError},
    component::{self, ComponentError, Linked},
    engine::Engine,
    folder::Offer,
    guest::{CallError, Calls},
    program::Program,
    ready::Ready,
    settings::{Device, Settings},
    versions::{KeptError, Versions, digest_of},
};
use crate::{config::rules::Rules, report::Report};

/// What loading needs, and all loads share.
pub(super) struct Loader {
    engine: Arc<Engine>,
    cache: Cache,
    ready: Ready,
    calls: Calls,
    versions: Versions,
    site: Site,
    rules: Arc<Rules>,
}

/// A version that was accepted.
pub(super) struct Accepted {
    pub(super) program: Arc<Program>,
    pub(super) loaded: Loaded,
}

/// Why a version was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("its settings are not valid")]
    Settings(#[source] Report),
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Kept(#[from] KeptError),
    #[error("device `{device}` has no plan")]
    Plan {
        device: DeviceName,
        #[source]
        error: CallError,
    },
    #[error("it cannot be kept in the data folder")]
    Keep(#[source] std::io::Error),
}

impl LoadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Component(error) => error.hint().map(Into::into),
            Self::Cache(CacheError::Compile(error)) => error.hint().map(Into::into),
            Self::Plan { error, .. } => error.hint(),
            Self::Settings(report) => report.hint.clone(),
            Self::Cache(_) | Self::Kept(_) | Self::Keep(_) => None,
        }
    }

    /// In full, with what comes of it.
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

/// What an offer would be, before anything is done with it.
pub(super) struct Proposal {
    pub(super) offer: Offer,
    pub(super) settings: Settings,
    pub(super) version: Version,
}

impl Loader {
    pub(super) fn open(data: &Path, site: Site, rules: Rules) -> Result<Self, Report> {
        let trouble = |what: &str, error: &dyn std::fmt::Display| {
            Report::new(format!("{what} in `{}` cannot be used", data.display())).cause(error)
        };
        let engine = Engine::new()
            .map_err(|error| Report::new("the WebAssembly engine cannot be started").cause(format!("{error:#}")))?;
        let engine = Arc::new(engine);
        let cache = Cache::open(&data.join("cache"), engine.wasm()).map_err(|error| trouble("the cache", &error))?;
        let versions = Versions::open(data).map_err(|error| trouble("the kept versions", &error))?;
        Ok(Self {
            calls: Calls::new(engine.clone()),
            engine,
            cache,
            ready: Ready::default(),
            versions,
            site,
            rules: rules.into(),
        })
    }

    pub(super) fn operator(&self) -> Operator {
        self.rules.operator(self.site)
    }

    pub(super) fn propose(&self, offer: Offer) -> Result<Proposal, LoadError> {
        let grant = self.rules.grants.get(&offer.plugin);
        let settings = Settings::parse(offer.settings.as_deref(), &offer.plugin, &self.site, grant)
            .map_err(LoadError::Settings)?;
        let version = Version { component: digest_of(&offer.component), settings: settings.digest() };
        Ok(Proposal { offer, settings, version })
    }

    /// Compiles and links it; asks nothing.
    pub(super) async fn program(&self, proposal: Proposal) -> Result<Arc<Program>, LoadError> {
        let Proposal { offer, settings, version } = proposal;
        self.link(version.component, || Ok(offer.component)).await?;
        Ok(Arc::new(Program::new(offer.plugin, version, settings, self.rules.clone())))
    }

    /// The component of a version, ready to be called.
    pub(super) async fn linked(&self, program: &Program) -> Result<Arc<Linked>, LoadError> {
        let digest = program.version.component;
        self.link(digest, || self.versions.component(digest).map(Into::into)).await
    }

    /// `bytes` are asked for where they have to be compiled.
    async fn link(
        &self,
        digest: Digest,
        bytes: impl FnOnce() -> Result<Arc<[u8]>, KeptError>,
    ) -> Result<Arc<Linked>, LoadError> {
        if let Some(linked) = self.ready.get(digest) {
            return Ok(linked);
        }
        let component = match self.cache.load(digest) {
            Some(component) => component,
            None => {
                let bytes = bytes()?;
                component::recognise(&bytes)?;
                self.cache.compile(digest, &bytes).await?
            }
        };
        let linked = Arc::new(self.engine.link(&component)?);
        self.ready.put(digest, linked.clone());
        Ok(linked)
    }

    /// New bytes are accepted for all devices or none; where only the settings are new, a device that fails concerns
    /// itself alone, unless all fail. Plans are asked for at the time that `clock` shows then.
    pub(super) async fn load(
        &self,
        proposal: Proposal,
        running: Option<Arc<Program>>,
        clock: impl Fn() -> Instant,
    ) -> Result<Accepted, LoadError> {
        let same_bytes = running.is_some_and(|program| program.version.component == proposal.version.component);
        let bytes = proposal.offer.component.clone();
        let program = self.program(proposal).await?;
        let (mut devices, mut planned) = (Vec::new(), 0);
        for (index, device) in program.settings.devices.iter().enumerate() {
            let others = planned > 0 || index + 1 < program.settings.devices.len();
            let plan = match self.plan(&program, device, &clock).await {
                Ok(plan) => {
                    planned += 1;
                    Ok(plan)
                }
                // The scheduler says that the device keeps the plan it has.
                Err(LoadError::Plan { error, .. }) if same_bytes && others => Err(error.in_full()),
                Err(error) => return Err(error),
            };
            devices.push(LoadedDevice { name: device.name.clone(), site: device.site, plan });
        }
        // I6: on disk before the scheduler hears of it, and so before the store says that it runs.
        let (versions, plugin) = (self.versions.clone(), program.plugin.clone());
        let (version, settings) = (program.version, program.settings.to_json());
        let kept = tokio::task::spawn_blocking(move || versions.keep(&plugin, &version, &bytes, &settings)).await;
        kept.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(LoadError::Keep)?;
        let loaded = Loaded {
            plugin: program.plugin.clone(),
            version: program.version,
            grant: program.settings.grant.clone(),
            devices,
        };
        Ok(Accepted { program, loaded })
    }

    /// A version that ran before the host started: compiled, if it is not in the cache, when it is first asked.
    pub(super) fn kept(&self, plugin: &PluginName, version: Version) -> Result<Program, KeptError> {
        let settings = self.versions.settings(version.settings)?;
        Ok(Program::new(plugin.clone(), version, settings, self.rules.clone()))
    }

    pub(super) async fn plan(
        &self,
        program: &Program,
        device: &Device,
        clock: impl Fn() -> Instant,
    ) -> Result<Plan, LoadError> {
        // I7: first the plugin's own turn, so that of a plugin with ten thousand devices one call waits among the others'.
        let _own_turn = program.turn.acquire().await;
        let linked = self.linked(program).await?;
        let answer = self.calls.plan(program, &linked, device, clock()).await;
        answer.map_err(|error| LoadError::Plan { device: device.name.clone(), error })
    }

    /// The answer to a question of the scheduler's: a plan, or why there is none, with what to do about it.
    pub(super) async fn answer(
        &self,
        program: Option<&Program>,
        device: &DeviceName,
        clock: impl Fn() -> Instant,
    ) -> Result<Plan, String> {
        let Some((program, device)) = program.and_then(|program| Some((program, program.device(device)?))) else {
            return Err("the plugin cannot be asked: its last version is not there".into());
        };
        self.plan(program, device, clock).await.map_err(|error| match error {
            LoadError::Plan { error, .. } => error.in_full(),
            other => other.to_string(),
        })
    }

    /// Deletes what neither runs nor ran last.
    pub(super) fn sweep(&self, in_use: &[Version]) {
        self.versions.sweep(in_use);
        self.cache.sweep(&in_use.iter().map(|version| version.component).collect());
    }
}
