//! The changes to store: how much of a job, of a run and of a plugin is saved, and when.

use super::state::Scheduler;
use crate::{
    catalog::Plugin,
    event::{Change, DeviceKey, JobKey, Override, PluginKey, RunEnded, SavedDevice, Version},
    keys::RunSlot,
    mutants::{Mutation, mutated},
    names::{PluginName, RunId},
    outcome::Outcome,
    time::Instant,
    topic::Grant,
};

impl Scheduler {
    pub(super) fn save_plugin(&mut self, key: PluginKey) {
        let Some(Plugin { name, version, .. }) = self.catalog.plugin(key) else { return };
        self.out.changes.push(Change::PluginSaved { key, name: name.clone(), version: *version });
    }

    /// Returns the key of a plugin. An unknown one is added, and saved.
    pub(super) fn plugin_or_new(&mut self, name: &PluginName, version: Version, grant: &Grant) -> PluginKey {
        self.catalog.plugin_key(name).unwrap_or_else(|| {
            let key = self.catalog.insert_plugin(Plugin::new(name.clone(), version, grant.clone()));
            self.save_plugin(key);
            key
        })
    }

    pub(super) fn save_device(&mut self, key: DeviceKey) {
        let Some(device) = self.catalog.device(key) else { return };
        self.out.changes.push(Change::DeviceSaved(SavedDevice {
            key,
            plugin: device.plugin,
            name: device.name.clone(),
            site: device.site,
            replan_at: device.replan_at,
            error: device.error.clone(),
        }));
    }

    /// Returns the watermark and the next occurrence of a job, as they are to be stored.
    pub(super) fn progress(&self, key: JobKey) -> Option<(Instant, Option<Instant>)> {
        let state = self.catalog.job(key)?;
        let mut runs = self.runs.of_job(key).filter_map(|slot| self.runs.get(slot));
        let unsaved = runs.find(|run| run.key.is_none() && !mutated(Mutation::WatermarkPassesUnsavedRun));
        Some(match unsaved {
            Some(run) => (run.id.occurrence.plus_ms(-1), Some(run.id.occurrence)),
            None => (state.watermark, state.next.due()),
        })
    }

    /// Saves a job's watermark. I2: the stored watermark does not pass an unsaved run.
    pub(super) fn save_progress(&mut self, key: JobKey) {
        let Some((watermark, due)) = self.progress(key) else { return };
        self.out.changes.push(Change::JobAdvanced { key, watermark, due, decided: self.catalog.decided(key) });
    }

    /// Records the outcome of an occurrence that does not become a run (I13).
    pub(super) fn decide(&mut self, key: JobKey, id: RunId, outcome: Outcome) {
        let body = self.catalog.job(key).map(|state| state.job.body.clone());
        let ended = RunEnded { key: None, id, outcome, body, started: None, ended: self.now, attempts: 0, note: None };
        self.out.changes.push(Change::RunEnded(ended));
        self.save_progress(key);
    }

    /// Saves a run, so that it outlives the process and its job.
    pub(super) fn save_run(&mut self, slot: RunSlot) {
        let (Some(key), Some(run)) = (self.runs.save_key(slot), self.runs.get(slot)) else { return };
        let job = run.job;
        self.out.changes.push(Change::RunSaved { key, run: Box::new(run.to_saved()) });
        self.save_progress(job);
    }

    /// Saves the runs of a job that is about to change or to be removed.
    pub(super) fn save_runs_of(&mut self, job: JobKey) {
        for slot in self.runs.of_job(job).collect::<Vec<_>>() {
            self.save_new(slot);
        }
    }

    /// Saves a run that is not saved yet: before its job changes, or because it has to wait, so that users can see why.
    pub(super) fn save_new(&mut self, slot: RunSlot) {
        if self.runs.get(slot).is_some_and(|run| run.key.is_none()) {
            self.save_run(slot);
        }
    }

    /// Saves the progress of a run that is stored.
    pub(super) fn save_progress_of(&mut self, slot: RunSlot) {
        if let Some(run) = self.runs.get(slot)
            && let Some(key) = run.key
        {
            self.out.changes.push(Change::RunAdvanced { key, progress: run.progress.clone() });
        }
    }

    pub(super) fn remember_override(&mut self, key: JobKey, job_override: Override) {
        let bytes = self.catalog.job(key).map_or(0, |state| state.job.body.bytes());
        self.catalog.overrides.set(key, job_override, bytes);
    }

    /// Changes and saves a job's overrides.
    pub(super) fn change_override(&mut self, key: JobKey, change: impl FnOnce(&mut Override)) {
        let mut job_override = self.catalog.overrides.get(key).cloned().unwrap_or_default();
        change(&mut job_override);
        self.remember_override(key, job_override.clone());
        self.out.changes.push(Change::OverrideSaved { key, job_override });
    }

    /// Moves a skip to the next occurrence if that has changed.
    pub(super) fn move_skip(&mut self, key: JobKey, before: Option<Instant>) {
        let next = self.catalog.job(key).and_then(|state| state.next.due());
        if let (Some(before), Some(next)) = (before, next)
            && before != next
            && !mutated(Mutation::MovedSkipIsForgotten)
            && self.catalog.overrides.is_skipped(key, before)
        {
            self.change_override(key, |job_override| job_override.skip = Some(next));
        }
    }
}
