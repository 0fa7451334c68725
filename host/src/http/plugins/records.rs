//! Plugins as JSON.

use roost_scheduler::{
    event::Version,
    scheduler::PluginView,
    topic::{Grant, TopicFilter},
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::params::{Device, Plugin};
use crate::{
    config::limits::Limits,
    plugins::{Fault, PluginStatus, State, TaskDescription, Usage},
};

/// A plugin whose file lies in the folder, or of which something runs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PluginRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    /// `running`: the version whose files lie in the folder. `outdated`: a version runs, and the newest files were refused.
    /// `loading`: nothing runs yet. `refused`: nothing runs, and the newest files were refused. `removed`: its file is gone, and
    /// its jobs are about to be. `built-in`: it is the host's own.
    #[schema(pattern = "^(running|outdated|loading|refused|removed|built-in)$")]
    pub(crate) state: String,
    /// Since when it is in that state, with that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) since: Option<String>,
    /// Whether a version is being loaded.
    pub(crate) loading: bool,
    /// Why the newest files were refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<FaultRecord>,
    /// SHA-256 of the file that runs; missing where no version has been taken up completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) component: Option<String>,
    /// SHA-256 of everything that is said about what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) settings: Option<String>,
    /// SHA-256 of the file that ran before, which can be gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) previous: Option<String>,
    /// Whether nothing of it is started.
    pub(crate) paused: bool,
    /// Missing where nothing runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<GrantRecord>,
    /// What a call of it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<LimitsRecord>,
    /// What its calls used since the host started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<UsedRecord>,
    pub(crate) devices: usize,
    /// Of these, those that keep the plan they have, because the last one was at fault.
    #[serde(default)]
    pub(crate) faults: usize,
    pub(crate) jobs: usize,
    /// What it can be asked to do; of a single plugin only, and missing where it cannot be asked now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tasks: Option<Vec<TaskDescriptionRecord>>,
}

/// What a plugin may do: MQTT topic filters, and the ceilings of its messages.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct GrantRecord {
    pub(crate) publish: Vec<String>,
    pub(crate) subscribe: Vec<String>,
    /// The highest QoS of a message.
    #[schema(minimum = 0, maximum = 2)]
    pub(crate) max_qos: u8,
    /// Whether a message may be retained.
    pub(crate) retain: bool,
}

impl From<&Grant> for GrantRecord {
    fn from(Grant { publish, subscribe, max_qos, retain }: &Grant) -> Self {
        let texts = |filters: &[TopicFilter]| filters.iter().map(ToString::to_string).collect();
        Self { publish: texts(publish), subscribe: texts(subscribe), max_qos: *max_qos as u8, retain: *retain }
    }
}

/// Why files were refused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FaultRecord {
    /// What failed.
    pub(crate) what: String,
    /// Why, each the cause of the one before.
    pub(crate) causes: Vec<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) at: String,
}

/// How much of the machine one call may use.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LimitsRecord {
    pub(crate) memory_mib: u32,
    /// Time that it computes.
    pub(crate) cpu_ms: u32,
    /// Time that it may take in all.
    pub(crate) wall_ms: u32,
    /// In one plan.
    pub(crate) jobs: usize,
    /// How much its answer may hold.
    pub(crate) lift_mib: u32,
}

/// What calls used since the host started, whichever version was called.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct UsedRecord {
    pub(crate) calls: u64,
    /// Of these, those that gave no answer that the host takes.
    pub(crate) failed: u64,
    /// Of those, the ones that trapped, ended the program, or were stopped at a limit.
    pub(crate) traps: u64,
    /// How long the last plan took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan_ms: Option<u64>,
    /// How long the longest took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) longest_plan_ms: Option<u64>,
    /// The most that a call had.
    pub(crate) memory_bytes: u64,
}

/// Something that a plugin can be asked to do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TaskDescriptionRecord {
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub(crate) task: String,
    /// The plugin's own words.
    pub(crate) summary: String,
    /// A JSON Schema: an object or a boolean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) args_schema: Option<Value>,
}

/// What would become of a component.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TrialRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    /// Its SHA-256.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) component: String,
    /// SHA-256 of everything that is said about it.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) settings: String,
    /// Whether it runs already, with these settings.
    pub(crate) running: bool,
    /// What it may publish and read.
    pub(crate) grant: GrantRecord,
    /// The same in words, and a warning where it may publish to topics of other products.
    pub(crate) notes: Vec<String>,
    /// What it changes.
    pub(crate) jobs: DifferencesRecord,
}

/// What an upload did.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct InstalledRecord {
    /// Whether no file of that name was there before.
    pub(crate) new: bool,
    #[serde(flatten)]
    pub(crate) trial: TrialRecord,
}

/// What a removal did.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RemovedRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
}

/// What lies in the folder now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RolledBackRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    /// Its SHA-256.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) component: String,
}

/// What plans change, of all devices.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct DifferencesRecord {
    pub(crate) new: usize,
    pub(crate) changed: usize,
    pub(crate) gone: usize,
    pub(crate) unchanged: usize,
    /// The first ones by their names.
    pub(crate) devices: Vec<DeviceDifferencesRecord>,
    /// How many devices are not among them.
    pub(crate) left_out: usize,
}

/// What a plan changes.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeviceDifferencesRecord {
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    pub(crate) new: SomeJobsRecord,
    pub(crate) changed: SomeJobsRecord,
    pub(crate) gone: SomeJobsRecord,
    pub(crate) unchanged: SomeJobsRecord,
    /// Why it would keep the plan it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Jobs of a device.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct SomeJobsRecord {
    pub(crate) count: usize,
    /// Some of their ids.
    pub(crate) ids: Vec<String>,
}

impl PluginRecord {
    /// Of what the scheduler knows, if it does, and of what stands on the board. Without its jobs, which are counted apart.
    pub(super) fn new(name: String, core: Option<&Core>, status: Option<&PluginStatus>, zone: Zone) -> Self {
        let version = core.map(|core| core.version).filter(|version| *version != Version::NONE);
        let is_own = version == Some(Version::BUILT_IN);
        let version = version.filter(|_| !is_own);
        Self {
            plugin: name,
            state: status.map_or(if is_own { "built-in" } else { "removed" }, |status| word(status.state)).into(),
            since: status.map(|status| status.since.in_zone(zone)),
            loading: status.is_some_and(|status| status.is_loading),
            error: status.and_then(|status| status.fault.as_ref()).map(|fault| FaultRecord::new(fault, zone)),
            component: version.map(|version| version.component.to_string()),
            settings: version.map(|version| version.settings.to_string()),
            previous: status.and_then(|status| status.previous).map(|digest| digest.to_string()),
            paused: core.is_some_and(|core| core.is_paused),
            grant: core.map(|core| core.grant.clone()),
            limits: status.and_then(|status| status.running).map(|(_, limits)| limits.into()),
            used: status.map(|status| status.used.into()),
            devices: core.map_or(0, |core| core.devices),
            faults: 0,
            jobs: 0,
            tasks: None,
        }
    }
}

/// What the scheduler knows of a plugin.
pub(super) struct Core {
    version: Version,
    grant: GrantRecord,
    devices: usize,
    is_paused: bool,
}

impl From<PluginView<'_>> for Core {
    fn from(PluginView { version, grant, devices, is_paused, .. }: PluginView<'_>) -> Self {
        Self { version, grant: grant.into(), devices, is_paused }
    }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Outdated => "outdated",
        State::Loading => "loading",
        State::Refused => "refused",
    }
}

impl FaultRecord {
    fn new(fault: &Fault, zone: Zone) -> Self {
        let report = fault.report.clone();
        Self { what: report.what, causes: report.causes, hint: report.hint, at: fault.at.in_zone(zone) }
    }
}

impl From<Limits> for LimitsRecord {
    fn from(Limits { memory_mib, cpu_ms, wall_ms, jobs, lift_mib }: Limits) -> Self {
        Self { memory_mib, cpu_ms, wall_ms, jobs, lift_mib }
    }
}

impl From<Usage> for UsedRecord {
    fn from(Usage { calls, failed, traps, plan_ms, longest_plan_ms, memory_bytes }: Usage) -> Self {
        Self { calls, failed, traps, plan_ms, longest_plan_ms, memory_bytes }
    }
}

impl From<TaskDescription> for TaskDescriptionRecord {
    fn from(TaskDescription { name, summary, args_schema }: TaskDescription) -> Self {
        Self { task: name.to_string(), summary, args_schema }
    }
}
