//! Removes jobs, devices and plugins. What becomes of their runs:
//!
//! | removed | runs that have not started | runs that have started | where |
//! |---|---|---|---|
//! | a job, by a new plan | go on | go on | `reconcile.rs` |
//! | an ad-hoc job, by the operator | are cancelled | are cut short: they send their owed steps at once | `ad_hoc.rs` |
//! | a device or a plugin | are cancelled | send their owed steps when these are due (I5) | here |

use std::mem;

use crate::{
    agenda::Timer,
    budget::Budget,
    event::{Change, DeviceKey, JobKey, PauseScope, PluginKey, Tombstone, Version},
    limits,
    mutants::{Mutation, mutated},
    names::PluginName,
    outcome::{Cancelled, Outcome},
    runs::Run,
    scheduler::state::Scheduler,
    work_queue::Work,
};

impl Scheduler {
    /// Removes a job, and keeps a tombstone with its watermark (I2).
    pub(crate) fn drop_job(&mut self, key: JobKey) {
        let Some(state) = self.catalog.job(key) else { return };
        let (name, watermark) = (self.catalog.name_of(key), state.watermark.max(self.catalog.decided(key)));
        self.disarm_timer(key);
        self.set_pause(PauseScope::Job(key), None);
        self.catalog.remove_job(key, self.runs.count_of_job(key) > 0);
        self.catalog.tombstones.insert(name.clone(), watermark);
        self.out.changes.push(Change::JobRemoved { key, tombstone: Some(Tombstone { name, watermark }) });
    }

    /// Removes a device after its jobs. Runs that have not started are cancelled, owed steps stay (I5).
    pub(crate) fn drop_device(&mut self, key: DeviceKey, reason: Cancelled, budget: &mut Budget) -> Option<Work> {
        let device = self.catalog.device(key)?;
        let mut jobs: Vec<JobKey> = device.jobs().collect();
        jobs.sort_unstable();
        for job in jobs {
            if !budget.spend(limits::JOB_COST) {
                return Some(Work::DropDevice(key, reason));
            }
            self.catalog.plugin_of_mut(key).expect("a device has a plugin").announcement.gone += 1;
            // Occurrences that are due at this moment are decided, too.
            self.admit_past(job, self.now.plus_ms(1));
            self.end_unstarted(job, &reason);
            self.save_runs_of(job);
            self.record_cancelled(job, &reason);
            self.drop_job(job);
        }
        self.set_pause(PauseScope::Device(key), None);
        let device = self.catalog.remove_device(key)?;
        self.agenda.disarm(device.replan_at, Timer::Replan(key));
        self.out.changes.push(Change::DeviceRemoved { key });
        None
    }

    /// Cancels the runs of a job that have not started.
    pub(crate) fn end_unstarted(&mut self, key: JobKey, reason: &Cancelled) {
        for slot in self.runs.of_job(key).collect::<Vec<_>>() {
            let is_cancelled = |run: &Run| run.has_not_started() || mutated(Mutation::CancelLosesOwedSteps);
            if self.runs.get(slot).is_some_and(is_cancelled) {
                self.end(slot, Outcome::Cancelled(reason.clone()));
            }
        }
    }

    /// Cancels the runs of removed devices that have not started.
    pub(crate) fn end_without_device(&mut self, plugin: PluginKey, reason: &Cancelled) {
        for job in self.catalog.jobs_without_device(plugin) {
            self.end_unstarted(job, reason);
        }
    }

    pub(crate) fn remove_plugin(&mut self, name: &PluginName) {
        let Some(key) = self.catalog.plugin_key(name) else { return };
        let Some(plugin) = self.catalog.plugin_mut(key) else { return };
        let devices = mem::take(&mut plugin.devices);
        if plugin.version != Version::NONE {
            // Saved first: after a crash half way, the whole plugin is loaded anew.
            plugin.version = Version::NONE;
            self.save_plugin(key);
        }
        if devices.is_empty() {
            self.end_without_device(key, &Cancelled::PluginRemoved);
            self.set_pause(PauseScope::Plugin(key), None);
            self.catalog.remove_plugin(key);
            self.out.changes.push(Change::PluginRemoved { key });
            return;
        }
        let drop = |device| Work::DropDevice(device, Cancelled::PluginRemoved);
        self.work.put_in_front(devices.into_values().map(drop).chain([Work::Remove(name.clone())]).collect());
    }

    /// Records the next occurrence of an ad-hoc job that is removed with its device: no plan brings it back (I13).
    fn record_cancelled(&mut self, key: JobKey, reason: &Cancelled) {
        let next =
            self.catalog.job(key).filter(|_| self.catalog.overrides.is_ad_hoc(key)).and_then(|state| state.next.due());
        if let Some(next) = next {
            let id = self.run_id(key, next);
            self.decide(key, id, Outcome::Cancelled(reason.clone()));
        }
    }
}
