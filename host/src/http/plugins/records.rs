//! Plugins as JSON.

use roost_scheduler::{
    event::Version,
    model::Qos,
    pause::{Level, Pauses},
    scheduler::PluginView,
    topic::{Grant, TopicFilter},
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::{
    params::{Device, Job, Plugin},
    pauses::PauseRecord,
};
use crate::{
    clock,
    config::{call_limits::CallLimits, grant::notes},
    job_json,
    plugins::{Fault, PluginStatus, State, TaskDescription, Usage},
};

/// A plugin that has a file in the plugin folder, or a version that runs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PluginRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    /// `running`: the version in the folder runs. `outdated`: the newest files were refused, and the previous version
    /// runs. `loading`: no version runs yet. `refused`: the newest files were refused, and no version runs. `removed`:
    /// the file is gone, and the jobs are about to be removed. `built-in`: the plugin is the host itself.
    #[schema(pattern = "^(running|outdated|loading|refused|removed|built-in)$")]
    pub(crate) state: String,
    /// When it entered that state with that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) since: Option<String>,
    /// Whether a version is being loaded.
    pub(crate) loading: bool,
    /// Why the newest files were refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<FaultRecord>,
    /// The SHA-256 of the component that runs; omitted if no version is fully activated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) component: Option<String>,
    /// The SHA-256 of all settings of the version that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) settings: Option<String>,
    /// The SHA-256 of the previous component, which a rollback restores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) previous: Option<String>,
    /// Whether the plugin itself is paused now. It is also held by the pause of all.
    pub(crate) paused: bool,
    /// The pause in force of the plugin or of all, or the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pause: Option<PauseRecord>,
    /// The grant; omitted if no version runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<GrantRecord>,
    /// The resource limits of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<LimitsRecord>,
    /// The resource usage of its calls since the host started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<UsedRecord>,
    pub(crate) devices: usize,
    /// The number of devices whose newest plan was refused: they keep an earlier one, if they have one.
    #[serde(default)]
    pub(crate) faults: usize,
    /// The number of these that have no earlier plan: nothing is sent for them.
    #[serde(default)]
    pub(crate) without_plan: usize,
    pub(crate) jobs: usize,
    /// Its tasks. Omitted in lists of plugins, and if the plugin does not return them now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tasks: Option<Vec<TaskDescriptionRecord>>,
}

/// The grant of a plugin: the MQTT topic filters that it may use, and the bounds of its messages.
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

impl GrantRecord {
    /// Returns the grant in words, with a warning if it includes topics of other products.
    pub(crate) fn notes(&self) -> Vec<String> {
        let filters = |texts: &[String]| texts.iter().filter_map(|text| TopicFilter::parse(text).ok()).collect();
        let (publish, subscribe) = (filters(&self.publish), filters(&self.subscribe));
        let max_qos = Qos::from_number(self.max_qos).unwrap_or(Qos::ExactlyOnce);
        notes(&Grant { publish, subscribe, max_qos, retain: self.retain })
    }
}

/// Why files were refused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FaultRecord {
    /// What failed.
    pub(crate) what: String,
    /// The causes, each the cause of the one before.
    pub(crate) causes: Vec<String>,
    /// How to solve the problem, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) at: String,
}

/// The resource limits of a call.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LimitsRecord {
    pub(crate) memory_mib: u32,
    /// CPU time.
    pub(crate) cpu_ms: u32,
    /// Elapsed time.
    pub(crate) wall_ms: u32,
    /// Jobs in a plan.
    pub(crate) jobs: usize,
    /// Size of the result.
    pub(crate) lift_mib: u32,
}

/// The resource usage of a plugin's calls since the host started, of all versions.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct UsedRecord {
    pub(crate) calls: u64,
    /// The number of calls without a valid result.
    pub(crate) failed: u64,
    /// The number of failed calls that trapped, exited, or were stopped at a limit.
    pub(crate) traps: u64,
    /// The duration of the last plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan_ms: Option<u64>,
    /// The duration of the longest plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) longest_plan_ms: Option<u64>,
    /// The peak memory of a call.
    pub(crate) memory_bytes: u64,
}

/// A task of a plugin.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TaskDescriptionRecord {
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub(crate) task: String,
    /// A description by the plugin.
    pub(crate) summary: String,
    /// The JSON Schema of the arguments: an object or a boolean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) args_schema: Option<Value>,
}

/// The result of the check of a component.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TrialRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    /// The SHA-256 of the component.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) component: String,
    /// The SHA-256 of its settings.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) settings: String,
    /// Whether the component runs already with these settings.
    pub(crate) running: bool,
    /// The SHA-256 of the component in the folder, which an upload would replace; omitted if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) replaces: Option<String>,
    /// The grant that it would have.
    pub(crate) grant: GrantRecord,
    /// The grant in words, and a warning if it includes topics of other products.
    pub(crate) notes: Vec<String>,
    /// The changes to the jobs.
    pub(crate) jobs: DifferencesRecord,
    /// The messages of new, changed and gone jobs that would change, with their times.
    pub(crate) messages: MessageChangesRecord,
}

/// The messages that would change in a period. Pauses, skips and jitter are not considered.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MessageChangesRecord {
    #[schema(format = DateTime)]
    pub(crate) from: String,
    #[schema(format = DateTime)]
    pub(crate) until: String,
    /// The messages that would no longer be sent.
    pub(crate) gone: SomeMessagesRecord,
    /// The messages that would be sent instead, or in addition.
    pub(crate) new: SomeMessagesRecord,
    /// Whether all jobs and the whole period were compared. Otherwise there are more changes than these.
    pub(crate) complete: bool,
}

/// Some messages.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct SomeMessagesRecord {
    pub(crate) count: usize,
    /// The first of them.
    pub(crate) first: Vec<ChangedMessageRecord>,
}

/// A message, or the call of a task, that would change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ChangedMessageRecord {
    /// When it is due, in the device's time zone.
    #[schema(format = DateTime)]
    pub(crate) due: String,
    /// The device's time zone.
    #[schema(example = "Europe/London")]
    pub(crate) time_zone: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    #[schema(inline, value_type = Job)]
    pub(crate) job: String,
    /// The label of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The message. Omitted if the plugin is called for it when it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<job_json::StepRecord<'static>>)]
    pub(crate) message: Option<Value>,
    /// The task that is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
}

/// The result of an upload.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct InstalledRecord {
    /// Whether the plugin is new in the folder.
    pub(crate) new: bool,
    #[serde(flatten)]
    pub(crate) trial: TrialRecord,
}

/// The result of checking settings, or of writing them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SettingsRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    /// The SHA-256 of the text, which is its `ETag`.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) sha256: String,
    /// Whether the text is in the folder now.
    pub(crate) written: bool,
    /// The check of the component in the folder with these settings; omitted if there is no component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trial: Option<TrialRecord>,
}

/// The result of a removal.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RemovedRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    /// Whether it has a settings file, which stays in the folder.
    #[serde(default)]
    pub(crate) settings: bool,
}

/// The result of a rollback.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RolledBackRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    /// The SHA-256 of the component that is in the folder now.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) component: String,
}

/// The numbers of jobs that change, and the changes of each device.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct DifferencesRecord {
    pub(crate) new: usize,
    pub(crate) changed: usize,
    pub(crate) gone: usize,
    pub(crate) unchanged: usize,
    /// The number of devices whose new plan is refused. Such a device keeps its present plan, if it has one.
    #[serde(default)]
    pub(crate) refused: usize,
    /// The changes of the first devices: those whose new plan is refused, then the others, each by name.
    pub(crate) devices: Vec<DeviceDifferencesRecord>,
    /// The number of further devices.
    pub(crate) left_out: usize,
}

/// The changes of a device.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeviceDifferencesRecord {
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    pub(crate) new: SomeJobsRecord,
    pub(crate) changed: SomeJobsRecord,
    pub(crate) gone: SomeJobsRecord,
    pub(crate) unchanged: SomeJobsRecord,
    /// Why its new plan is refused; then it would keep the current plan, of which `unchanged` has the jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The line of the settings that are checked which has the key that the error names, or else the device's name; omitted
    /// if they have neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, example = 12)]
    pub(crate) line: Option<usize>,
}

/// A set of jobs of a device.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct SomeJobsRecord {
    pub(crate) count: usize,
    /// The ids of the first ones.
    pub(crate) ids: Vec<String>,
}

impl PluginRecord {
    /// Combines the state of a plugin in the scheduler with its status. Does not count its jobs and faults.
    pub(super) fn new(name: String, core: Option<&Core>, status: Option<&PluginStatus>, zone: Zone) -> Self {
        let version = core.map(|core| core.version).filter(|version| *version != Version::NONE);
        let is_own = version == Some(Version::BUILT_IN);
        let version = version.filter(|_| !is_own);
        let now = clock::now();
        Self {
            plugin: name,
            state: status.map_or(if is_own { "built-in" } else { "removed" }, |status| word(status.state)).into(),
            since: status.map(|status| status.since.in_zone(zone)),
            loading: status.is_some_and(|status| status.is_loading),
            error: status.and_then(|status| status.fault.as_ref()).map(|fault| FaultRecord::new(fault, zone)),
            component: version.map(|version| version.component.to_string()),
            settings: version.map(|version| version.settings.to_string()),
            previous: status.and_then(|status| status.previous).map(|digest| digest.to_string()),
            paused: core.and_then(|core| core.pauses.of(Level::Plugin)).is_some_and(|by| by.pause.covers(now)),
            pause: core.and_then(|core| PauseRecord::shown(&core.pauses, now, zone)),
            grant: core.map(|core| core.grant.clone()),
            limits: status.and_then(|status| status.running).map(|(_, limits)| limits.into()),
            used: status.map(|status| status.used.into()),
            devices: core.map_or(0, |core| core.devices),
            faults: 0,
            without_plan: 0,
            jobs: 0,
            tasks: None,
        }
    }
}

/// The state of a plugin in the scheduler.
pub(super) struct Core {
    version: Version,
    grant: GrantRecord,
    devices: usize,
    pauses: Pauses,
}

impl From<PluginView<'_>> for Core {
    fn from(PluginView { version, grant, devices, pauses, .. }: PluginView<'_>) -> Self {
        Self { version, grant: grant.into(), devices, pauses }
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

impl From<CallLimits> for LimitsRecord {
    fn from(CallLimits { memory_mib, cpu_ms, wall_ms, jobs, lift_mib }: CallLimits) -> Self {
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
        let args_schema = args_schema.and_then(|schema| serde_json::from_str(&schema).ok());
        Self { task: name.to_string(), summary, args_schema }
    }
}
