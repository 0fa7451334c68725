//! Pauses and skips, which no plan changes.

use crate::{
    event::{Change, DeviceKey, Done, Part, Refusal},
    names::{DeviceName, JobName, PluginName},
    occurrence::NextRun,
    scheduler::state::Scheduler,
};

impl Scheduler {
    /// Skips a job's next occurrence, or undoes that.
    pub(crate) fn skip(&mut self, name: &JobName, undo: bool) -> Result<Done, Refusal> {
        let key = self.find_job(name)?;
        let Some(state) = self.catalog.job(key) else { return Ok(Done::Nothing) };
        let next = match state.next.into() {
            NextRun::Due(next) => next,
            NextRun::NotBefore(until) => {
                return Err(Refusal::Conflict(format!(
                    "nothing is due before {until}, and later occurrences are not known yet"
                )));
            }
            NextRun::Never => return Err(Refusal::Conflict("it is never due again".into())),
        };
        self.change_override(key, |job_override| job_override.skip = (!undo).then_some(next));
        Ok(Done::Run(self.run_id(key, next)))
    }

    /// Pauses or resumes a plugin, a device or a job.
    pub(crate) fn set_paused(&mut self, what: &Part, paused: bool) -> Result<Done, Refusal> {
        match what {
            Part::Plugin(plugin) => {
                let key = self.find_plugin(plugin)?;
                if let Some(plugin) = self.catalog.plugin_mut(key) {
                    plugin.paused = paused;
                }
                self.save_plugin(key);
            }
            Part::Device(plugin, device) => {
                let key = self.find_device(plugin, device)?;
                self.set_device_paused(key, paused);
            }
            Part::Job(job) => {
                let key = self.find_job(job)?;
                self.change_override(key, |job_override| job_override.paused = paused);
            }
        }
        Ok(Done::Nothing)
    }

    /// Pauses or resumes devices in one commit.
    pub(crate) fn set_devices_paused(
        &mut self,
        mut devices: Vec<(PluginName, DeviceName)>,
        paused: bool,
    ) -> Result<Done, Refusal> {
        let keys = devices.iter().map(|(plugin, device)| self.find_device(plugin, device));
        let mut keys = keys.collect::<Result<Vec<_>, _>>()?.into_iter();
        devices.retain(|_| keys.next().is_some_and(|key| self.set_device_paused(key, paused)));
        Ok(Done::Devices(devices))
    }

    /// Pauses or resumes a device, and returns whether that changes it.
    fn set_device_paused(&mut self, key: DeviceKey, paused: bool) -> bool {
        let Some(device) = self.catalog.device_mut(key) else { return false };
        let is_change = device.paused != paused;
        device.paused = paused;
        if device.error.is_some() {
            // It is stored, and its error has been reported.
            self.out.changes.push(Change::DevicePaused { key, paused });
        } else {
            self.save_device(key);
        }
        is_change
    }
}
