//! Pauses and skips, which no plan changes.

use crate::{
    event::{Change, Done, Part, Refusal},
    names::JobName,
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
                let Some(device) = self.catalog.device_mut(key) else { return Ok(Done::Nothing) };
                device.paused = paused;
                if device.error.is_some() {
                    // It is stored, and its error has been reported.
                    self.out.changes.push(Change::DevicePaused { key, paused });
                } else {
                    self.save_device(key);
                }
            }
            Part::Job(job) => {
                let key = self.find_job(job)?;
                self.change_override(key, |job_override| job_override.paused = paused);
            }
        }
        Ok(Done::Nothing)
    }
}
