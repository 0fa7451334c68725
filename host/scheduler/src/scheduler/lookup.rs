//! Finds plugins, devices, jobs and runs by name, and names runs.

use super::state::Scheduler;
use crate::{
    event::{DeviceKey, JobKey, PluginKey, Refusal},
    keys::RunSlot,
    names::{DeviceName, JobId, JobName, PluginName, RunId},
    time::Instant,
};

impl Scheduler {
    pub(super) fn find_plugin(&self, plugin: &PluginName) -> Result<PluginKey, Refusal> {
        let key = self.catalog.plugin_key(plugin);
        key.ok_or_else(|| Refusal::Unknown(format!("there is no plugin `{plugin}`")))
    }

    pub(super) fn find_device(&self, plugin: &PluginName, device: &DeviceName) -> Result<DeviceKey, Refusal> {
        self.find_plugin(plugin)?;
        let key = self.catalog.device_key(plugin, device);
        key.ok_or_else(|| Refusal::Unknown(format!("plugin `{plugin}` has no device `{device}`")))
    }

    /// Finds a job by its name.
    pub(super) fn find_job(&self, (plugin, device, job): &JobName) -> Result<JobKey, Refusal> {
        let found = self.catalog.job_key(self.find_device(plugin, device)?, job.as_str());
        found.ok_or_else(|| Refusal::Unknown(format!("device `{plugin}/{device}` has no job `{job}`")))
    }

    pub(super) fn find_run(&self, id: &RunId) -> Option<RunSlot> {
        let job = self.catalog.job_named(&id.clone().into_job_name())?;
        self.runs.of_job(job).find(|slot| self.runs.get(*slot).is_some_and(|run| run.id == *id))
    }

    /// Returns the id of the run of one occurrence of a job (I2).
    pub(super) fn run_id(&self, key: JobKey, occurrence: Instant) -> RunId {
        let state = self.catalog.job(key).expect("the caller has the job");
        self.catalog.run_of(&state.job, state.device, occurrence, self.agenda.origin())
    }

    pub(super) fn job_id(&self, key: JobKey) -> JobId {
        self.catalog.job(key).expect("the caller has the job").job.body.job_id()
    }
}
