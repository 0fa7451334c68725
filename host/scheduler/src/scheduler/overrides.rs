//! The operator's overrides: pauses, skips and ad-hoc jobs, which no plan changes.

use super::{
    Device, DeviceKey, Instant, JobKey, Plugin, PluginKey, Scheduler, api_device, jobs::Next, reconcile::Comparison,
    run::Run,
};
use crate::{
    event::{
        AdHoc, Announcement, Change, Done, Effect, Idempotency, NewJob, Override, Refusal, RequestId, Step, Version,
    },
    limits,
    mutation::{Mutation, mutated},
    names::{JobName, PluginName},
    outcome::{Cancelled, Level, Outcome},
    trigger::Trigger,
};

impl Scheduler {
    /// Changes and saves a job's overrides.
    pub(super) fn change_override(&mut self, key: JobKey, change: impl FnOnce(&mut Override), out: &mut Step) {
        let mut job_override = self.overrides.get(&key).cloned().unwrap_or_default();
        change(&mut job_override);
        self.remember_override(key, job_override.clone());
        out.changes.push(Change::OverrideSaved { key, job_override });
    }

    pub(super) fn remember_override(&mut self, key: JobKey, job_override: Override) {
        self.forget_override(key);
        if let Some(ad_hoc) = &job_override.ad_hoc {
            let bytes = self.jobs.get(key).map_or(0, |state| state.job.body.bytes());
            self.ad_hoc.insert(key, bytes);
            self.ad_hoc_bytes += bytes;
            ad_hoc.idempotency.map(|idempotency| self.requests.insert(idempotency.key, key));
        }
        if job_override != Override::default() {
            self.overrides.insert(key, job_override);
        }
    }

    pub(super) fn forget_override(&mut self, key: JobKey) {
        let ad_hoc = self.overrides.remove(&key).and_then(|job_override| job_override.ad_hoc);
        if let Some(idempotency) = ad_hoc.and_then(|ad_hoc| ad_hoc.idempotency) {
            self.requests.remove(&idempotency.key);
        }
        self.ad_hoc_bytes -= self.ad_hoc.remove(&key).unwrap_or_default();
    }

    /// Returns whether the operator skips an occurrence. The request is kept until another one replaces it.
    pub(super) fn is_skipped(&self, key: JobKey, occurrence: Instant) -> bool {
        self.overrides.get(&key).is_some_and(|job_override| job_override.skip == Some(occurrence))
    }

    /// Moves a skip to the next occurrence if that has changed.
    pub(super) fn move_skip(&mut self, key: JobKey, before: Option<Instant>, out: &mut Step) {
        let next = self.jobs.get(key).and_then(|state| state.next.due());
        if let (Some(before), Some(next)) = (before, next)
            && before != next
            && !mutated(Mutation::MovedSkipIsForgotten)
            && self.is_skipped(key, before)
        {
            self.change_override(key, |job_override| job_override.skip = Some(next), out);
        }
    }

    /// Returns what is paused of a job, if anything.
    pub(super) fn is_paused(&self, key: JobKey) -> Option<Level> {
        if self.overrides.get(&key).is_some_and(|job_override| job_override.paused) {
            return Some(Level::Job);
        }
        let device = self.devices.get(self.jobs.get(key)?.device)?;
        level(device, self.plugins.get(device.plugin))
    }

    /// Returns what is paused of a run; its job may have been removed.
    pub(super) fn is_run_paused(&self, run: &Run) -> Option<Level> {
        if let Some(key) = run.job {
            return self.is_paused(key);
        }
        let plugin = self.plugins.get(*self.plugin_keys.get(&run.id.plugin)?)?;
        level(self.devices.get(*plugin.devices.get(&run.id.device)?)?, Some(plugin))
    }

    /// Frees a job's name for a plan, by removing a finished ad-hoc job. Returns whether the plan may use it.
    pub(super) fn free_name(&mut self, device: DeviceKey, id: &str, out: &mut Step) -> bool {
        if self.ad_hoc.is_empty() {
            return true;
        }
        let Some(key) = self.job_key(device, id).filter(|key| self.ad_hoc.contains_key(key)) else { return true };
        let is_finished = self.finished_at(key).is_some();
        if is_finished {
            self.drop_job(key, out);
        }
        is_finished
    }

    /// Returns the last occurrence of a job that is never due again and has no runs left.
    fn finished_at(&self, key: JobKey) -> Option<Instant> {
        let state = self.jobs.get(key).filter(|state| state.next == Next::Never && state.unconfirmed.is_none())?;
        // A sun trigger may be due once the device has a location.
        let is_over = !matches!(state.job.trigger, Trigger::Sun(_)) && self.run_slots(key).next().is_none();
        is_over.then_some(state.watermark)
    }

    /// Adds an ad-hoc job, and answers the request.
    pub(super) fn schedule(&mut self, now: Instant, request: RequestId, new: NewJob, out: &mut Step) {
        let answer = self.try_schedule(now, new, out);
        out.effects.push(Effect::Answer { request, answer });
    }

    fn try_schedule(&mut self, now: Instant, new: NewJob, out: &mut Step) -> Result<Done, Refusal> {
        let NewJob { plugin, device, job, idempotency, replaces } = new;
        if let Some(made) = idempotency.and_then(|idempotency| self.made_before(idempotency)) {
            return made.map(|job| Done::Job { job, is_new: false });
        }
        let is_host = plugin == PluginName::host() && device == api_device();
        let place = if is_host { self.api_device(out) } else { self.find_device(&plugin, &device)? };
        let name = (plugin, device, job.body.job_id());
        let existing = self.job_key(place, job.body.id());
        if let Some(existing) = existing {
            self.may_replace(existing, &name, replaces)?;
        }
        let replaced = existing.and_then(|key| self.ad_hoc.get(&key)).copied();
        self.make_room_for_ad_hoc(now, replaced, job.body.bytes(), out)?;
        let Some(site) = self.devices.get(place).map(|device| device.site) else { return Ok(Done::Nothing) };
        let mut alone = Comparison::ad_hoc(now, self.series, place, site);
        let (key, is_other) = match self.stage(now, &mut alone, job, out) {
            Ok(staged) => (self.adopt_alone(now, &alone, staged, out), true),
            Err(unchanged) => (unchanged, false),
        };
        if is_other {
            // A new definition replaces the old one, also for runs that have not started.
            self.end_unstarted(now, key, &Cancelled::JobReplaced, out);
        }
        let made_by = |before: Option<&AdHoc>| {
            let idempotency = idempotency.or_else(|| before.and_then(|before| before.idempotency));
            Some(AdHoc { made: now, idempotency })
        };
        let change = |job_override: &mut Override| {
            job_override.ad_hoc = made_by(job_override.ad_hoc.as_ref());
            job_override.skip = job_override.skip.filter(|_| !is_other);
        };
        self.change_override(key, change, out);
        Ok(Done::Job { job: name, is_new: existing.is_none() })
    }

    /// Returns the job that an earlier request with the same key has made, if any; a different request with that key is
    /// refused.
    pub fn made_before(&self, idempotency: Idempotency) -> Option<Result<JobName, Refusal>> {
        let key = *self.requests.get(&idempotency.key)?;
        let before = self.overrides.get(&key)?.ad_hoc.as_ref()?.idempotency?;
        if before.request != idempotency.request {
            let what = "the idempotency key was used before, with another request".to_owned();
            return Some(Err(Refusal::Conflict(what)));
        }
        Some(Ok(self.run_id(key, Instant::MIN).into_job_name()))
    }

    fn may_replace(&self, key: JobKey, (plugin, device, job): &JobName, replaces: bool) -> Result<(), Refusal> {
        match () {
            () if !self.ad_hoc.contains_key(&key) => {
                Err(Refusal::Conflict(format!("job `{plugin}/{device}/{job}` is planned by its plugin")))
            }
            () if !replaces => Err(Refusal::Conflict(format!("there is already a job `{plugin}/{device}/{job}`"))),
            () => Ok(()),
        }
    }

    /// Ensures room for an ad-hoc job, by removing finished ones if necessary.
    fn make_room_for_ad_hoc(
        &mut self,
        now: Instant,
        replaced: Option<usize>,
        bytes: usize,
        out: &mut Step,
    ) -> Result<(), Refusal> {
        let has_place = |of: &Self| replaced.is_some() || of.ad_hoc.len() < limits::AD_HOC_JOBS;
        let has_room = |of: &Self| of.ad_hoc_bytes - replaced.unwrap_or_default() + bytes <= limits::AD_HOC_BYTES;
        if replaced.is_none() && !(has_place(self) && has_room(self)) {
            self.drop_finished(now, out);
        }
        match () {
            () if !has_place(self) => {
                Err(Refusal::TooMany(format!("there are already {} jobs that were made by hand", limits::AD_HOC_JOBS)))
            }
            () if !has_room(self) => {
                let most = limits::AD_HOC_BYTES >> 20;
                Err(Refusal::TooMany(format!("the jobs that were made by hand would exceed {most} MiB")))
            }
            () => Ok(()),
        }
    }

    /// Removes ad-hoc jobs that finished long ago. Returns whether there are more.
    pub(super) fn forget_finished(&mut self, now: Instant, out: &mut Step) -> bool {
        // Not while queued work may refer to one.
        self.work.is_empty() && self.drop_finished(now.plus_ms(-limits::FINISHED_MS), out)
    }

    /// Removes ad-hoc jobs that finished before an instant, the oldest first. Returns whether there are more.
    fn drop_finished(&mut self, before: Instant, out: &mut Step) -> bool {
        let is_finished = |key: &JobKey| Some((self.finished_at(*key).filter(|at| *at < before)?, *key));
        let mut finished: Vec<(Instant, JobKey)> = self.ad_hoc.keys().filter_map(is_finished).collect();
        finished.sort_unstable();
        let is_more = finished.len() > limits::JOBS_PER_STEP;
        for (_, key) in finished.into_iter().take(limits::JOBS_PER_STEP) {
            self.disarm_timer(key);
            self.remove_job(key);
            self.forget_override(key);
            // No later job reaches back to occurrences of this one.
            out.changes.push(Change::JobRemoved { key, tombstone: None });
        }
        is_more
    }

    /// Cancels an ad-hoc job, and answers the request. Owed steps of its runs are sent at once.
    pub(super) fn cancel(&mut self, now: Instant, request: RequestId, name: &JobName, out: &mut Step) {
        let answer = self.try_cancel(now, name, out);
        out.effects.push(Effect::Answer { request, answer });
    }

    fn try_cancel(&mut self, now: Instant, name: &JobName, out: &mut Step) -> Result<Done, Refusal> {
        let key = self.find_job(name)?;
        self.may_replace(key, name, true)?;
        // Occurrences that are due at this moment are decided, too.
        if !mutated(Mutation::CancelLeavesDueUndecided) {
            self.admit_past(now, key, now.plus_ms(1), out);
        }
        self.end_unstarted(now, key, &Cancelled::JobCancelled, out);
        for slot in self.run_slots(key).collect::<Vec<_>>() {
            self.cut_short(now, slot, Cancelled::JobCancelled, None, out);
        }
        self.save_runs_of(key, out);
        self.drop_job(key, out);
        Ok(Done::Nothing)
    }

    /// Ends the runs of a job that have not started.
    fn end_unstarted(&mut self, now: Instant, key: JobKey, reason: &Cancelled, out: &mut Step) {
        for slot in self.run_slots(key).collect::<Vec<_>>() {
            let is_cancelled = |run: &Run| run.has_not_started() || mutated(Mutation::CancelLosesOwedSteps);
            if self.runs.get(slot).is_some_and(is_cancelled) {
                self.end(now, slot, Outcome::Cancelled(reason.clone()), out);
            }
        }
    }

    /// Records the next occurrence of an ad-hoc job that is removed with its device: no plan brings it back (I13).
    pub(super) fn record_cancelled(&mut self, now: Instant, key: JobKey, reason: &Cancelled, out: &mut Step) {
        let next = self.jobs.get(key).filter(|_| self.ad_hoc.contains_key(&key)).and_then(|state| state.next.due());
        if let Some(next) = next {
            let id = self.run_id(key, next);
            self.decide(now, key, id, Outcome::Cancelled(reason.clone()), out);
        }
    }

    /// Returns the device of the host's own jobs; the first of them creates it.
    fn api_device(&mut self, out: &mut Step) -> DeviceKey {
        let (plugin, device) = (PluginName::host(), api_device());
        if let Ok(key) = self.find_device(&plugin, &device) {
            return key;
        }
        let plugin_key = self.host_plugin(&plugin, out);
        let key = self.devices.insert(Device::new(plugin_key, &device, self.host.site));
        if let Some(plugin) = self.plugins.get_mut(plugin_key) {
            plugin.devices.insert(device, key);
        }
        self.save_device(key, out);
        key
    }

    fn host_plugin(&mut self, name: &PluginName, out: &mut Step) -> PluginKey {
        if let Some(key) = self.plugin_keys.get(name) {
            return *key;
        }
        let key = self.plugins.insert(Plugin {
            name: name.clone(),
            version: Version::BUILT_IN,
            generation: 0,
            grant: self.host.grant.clone(),
            devices: Default::default(),
            paused: false,
            announcement: Announcement::new(name.clone()),
        });
        self.plugin_keys.insert(name.clone(), key);
        self.save_plugin(key, out);
        key
    }

    /// Applies the host's current site, which may differ from that of the last run.
    pub(super) fn move_host_device(&mut self) {
        if let Ok(key) = self.find_device(&PluginName::host(), &api_device())
            && let Some(device) = self.devices.get_mut(key)
        {
            device.site = self.host.site;
            device.next_site = self.host.site;
        }
    }
}

fn level(device: &Device, plugin: Option<&Plugin>) -> Option<Level> {
    if device.paused {
        return Some(Level::Device);
    }
    plugin.is_some_and(|plugin| plugin.paused).then_some(Level::Plugin)
}
