//! Pauses and skips, which no plan changes.

use super::{Scheduler, view::NextRun};
use crate::{
    event::{Change, Done, JobKey, Override, Part, Refusal, Step},
    mutation::{Mutation, mutated},
    names::JobName,
    outcome::Level,
    runs::Run,
    time::Instant,
};

impl Scheduler {
    /// Skips a job's next occurrence, or undoes that.
    pub(super) fn skip(&mut self, name: &JobName, undo: bool, out: &mut Step) -> Result<Done, Refusal> {
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
        self.change_override(key, |job_override| job_override.skip = (!undo).then_some(next), out);
        Ok(Done::Run(self.run_id(key, next)))
    }

    /// Pauses or resumes a plugin, a device or a job.
    pub(super) fn set_paused(&mut self, what: &Part, paused: bool, out: &mut Step) -> Result<Done, Refusal> {
        match what {
            Part::Plugin(plugin) => {
                let key = self.find_plugin(plugin)?;
                if let Some(plugin) = self.catalog.plugin_mut(key) {
                    plugin.paused = paused;
                }
                self.save_plugin(key, out);
            }
            Part::Device(plugin, device) => {
                let key = self.find_device(plugin, device)?;
                let Some(device) = self.catalog.device_mut(key) else { return Ok(Done::Nothing) };
                device.paused = paused;
                if device.error.is_some() {
                    // It is stored, and its error has been reported.
                    out.changes.push(Change::DevicePaused { key, paused });
                } else {
                    self.save_device(key, out);
                }
            }
            Part::Job(job) => {
                let key = self.find_job(job)?;
                self.change_override(key, |job_override| job_override.paused = paused, out);
            }
        }
        Ok(Done::Nothing)
    }

    /// Changes and saves a job's overrides.
    pub(super) fn change_override(&mut self, key: JobKey, change: impl FnOnce(&mut Override), out: &mut Step) {
        let mut job_override = self.catalog.overrides.get(key).cloned().unwrap_or_default();
        change(&mut job_override);
        self.remember_override(key, job_override.clone());
        out.changes.push(Change::OverrideSaved { key, job_override });
    }

    pub(super) fn remember_override(&mut self, key: JobKey, job_override: Override) {
        let bytes = self.catalog.job(key).map_or(0, |state| state.job.body.bytes());
        self.catalog.overrides.set(key, job_override, bytes);
    }

    /// Moves a skip to the next occurrence if that has changed.
    pub(super) fn move_skip(&mut self, key: JobKey, before: Option<Instant>, out: &mut Step) {
        let next = self.catalog.job(key).and_then(|state| state.next.due());
        if let (Some(before), Some(next)) = (before, next)
            && before != next
            && !mutated(Mutation::MovedSkipIsForgotten)
            && self.catalog.overrides.is_skipped(key, before)
        {
            self.change_override(key, |job_override| job_override.skip = Some(next), out);
        }
    }

    /// Returns what is paused of a run; its job may have been removed.
    pub(super) fn paused_of_run(&self, run: &Run) -> Option<Level> {
        match run.job {
            Some(key) => self.catalog.is_paused(key),
            None => self.catalog.is_device_paused(self.catalog.device_key(&run.id.plugin, &run.id.device)?),
        }
    }
}
