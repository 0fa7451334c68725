//! Requests of clients.

use super::{Scheduler, plans::Work, view::NextRun};
use crate::{
    body::Body,
    event::{
        Change, DeviceKey, Done, Effect, JobKey, Override, Part, PluginKey, Refusal, Request, RequestId, Step, Version,
    },
    keys::RunSlot,
    limits,
    mutation::{Mutation, mutated},
    names::{DeviceName, JobName, Origin, PluginName, RunId},
    outcome::{Cancelled, Level, Outcome},
    runs::Run,
    time::Instant,
};

impl Scheduler {
    pub(super) fn handle_request(&mut self, now: Instant, request: RequestId, what: Request, out: &mut Step) {
        let answer = match what {
            _ if self.stopping || self.failing => Err(Refusal::Stopping),
            Request::Replay { run, body } => self.replay(now, &run, body, out),
            Request::Abandon(run) => self.abandon(now, run, out),
            Request::RunNow(job) => self.run_now(now, &job, out),
            Request::Skip { job, undo } => self.skip(&job, undo, out),
            Request::Pause { what, paused } => self.set_paused(&what, paused, out),
            Request::Replan(plugin) => self.replan_now(&plugin),
            // Queued behind the plans, which take many steps.
            Request::Schedule(new) => return self.planner.push(Work::Schedule(request, new)),
            Request::Cancel(job) => return self.planner.push(Work::Cancel(request, job)),
        };
        out.effects.push(Effect::Answer { request, answer });
    }

    /// Finds a job by its name.
    pub(super) fn find_job(&self, (plugin, device, job): &JobName) -> Result<JobKey, Refusal> {
        let found = self.catalog.job_key(self.find_device(plugin, device)?, job.as_str());
        found.ok_or_else(|| Refusal::Unknown(format!("device `{plugin}/{device}` has no job `{job}`")))
    }

    pub(super) fn find_device(&self, plugin: &PluginName, device: &DeviceName) -> Result<DeviceKey, Refusal> {
        self.find_plugin(plugin)?;
        let key = self.catalog.device_key(plugin, device);
        key.ok_or_else(|| Refusal::Unknown(format!("plugin `{plugin}` has no device `{device}`")))
    }

    fn find_plugin(&self, plugin: &PluginName) -> Result<PluginKey, Refusal> {
        let key = self.catalog.plugin_key(plugin);
        key.ok_or_else(|| Refusal::Unknown(format!("there is no plugin `{plugin}`")))
    }

    /// Runs a job once more, after its runs that have not ended; a run of a group replaces the others of the group.
    fn run_now(&mut self, now: Instant, name: &JobName, out: &mut Step) -> Result<Done, Refusal> {
        let key = self.find_job(name)?;
        let waiting = self.runs.count_of_job(key);
        if waiting >= limits::RUNS_PER_JOB as usize {
            return Err(Refusal::TooMany(format!("{waiting} runs of its job are already waiting")));
        }
        let Some(state) = self.catalog.job(key) else { return Ok(Done::Nothing) };
        let body = state.job.body.clone();
        let policy = body.policy();
        let (origin, occurrence) = (Origin::Manual { series: self.agenda.series() }, self.agenda.unique_instant(now));
        let id = RunId { origin, occurrence, ..self.run_id(key, occurrence) };
        self.save_runs_of(key, out);
        let group = policy.group().cloned();
        let slot = self.insert_run(Run::new(id.clone(), Some(key), body, policy, now));
        // I2: saved before anything else of its job; it does not move the watermark.
        if !mutated(Mutation::RunNowIsUnsaved) {
            self.save_run(slot, out);
        }
        if let Some(group) = group {
            self.replace_in_group(now, slot, &id, &group, out);
        }
        self.enqueue(slot);
        Ok(Done::Run(id))
    }

    fn skip(&mut self, name: &JobName, undo: bool, out: &mut Step) -> Result<Done, Refusal> {
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

    fn set_paused(&mut self, what: &Part, paused: bool, out: &mut Step) -> Result<Done, Refusal> {
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

    fn replan_now(&mut self, plugin: &PluginName) -> Result<Done, Refusal> {
        let Some(found) = self.catalog.plugin(self.find_plugin(plugin)?) else { return Ok(Done::Nothing) };
        if found.version == Version::BUILT_IN {
            return Err(Refusal::Conflict(format!("the jobs of `{plugin}` are not planned by a plugin")));
        }
        let devices: Vec<DeviceKey> = found.devices.values().copied().collect();
        self.planner.push(Work::RequestPlans(devices.into_iter()));
        Ok(Done::Nothing)
    }

    /// Replays a run as a new run that starts now, after the runs of its job and its group that have not ended.
    fn replay(&mut self, now: Instant, run: &RunId, body: Body, out: &mut Step) -> Result<Done, Refusal> {
        if self.find_run(run).is_some() {
            return Err(Refusal::Conflict(format!("the run {run} has not ended")));
        }
        if self.catalog.plugin_key(&run.plugin).is_none() {
            let what = format!("there is no plugin `{}` any more, and only a plugin may publish", run.plugin);
            return Err(Refusal::Conflict(what));
        }
        let job = self.catalog.job_of(run);
        let of_job: Vec<RunSlot> = match job {
            Some(job) => self.runs.of_job(job).collect(),
            None => self.runs.orphans_of(&run.clone().into_job_name()),
        };
        let is_replay =
            |other: &RunId| matches!(other.origin, Origin::Replay { .. }) && other.occurrence == run.occurrence;
        if let Some(other) = of_job.iter().filter_map(|slot| self.runs.get(*slot)).find(|other| is_replay(&other.id)) {
            return Err(Refusal::Conflict(format!("it is already being replayed, as {}", other.id)));
        }
        if of_job.len() >= limits::RUNS_PER_JOB as usize {
            return Err(Refusal::TooMany(format!("{} runs of its job are already waiting", of_job.len())));
        }
        let at = self.agenda.unique_instant(now);
        let id = RunId { origin: Origin::Replay { at, series: self.agenda.series() }, ..run.clone() };
        let policy = body.policy();
        if let Some(job) = job {
            self.save_runs_of(job, out);
        }
        let slot = self.insert_run(Run::new(id.clone(), job, body, policy, now));
        self.save_run(slot, out);
        self.enqueue(slot);
        Ok(Done::Run(id))
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

    /// Ends a run and drops its owed steps. Nothing else does.
    fn abandon(&mut self, now: Instant, run: RunId, out: &mut Step) -> Result<Done, Refusal> {
        let slot = self.find_run(&run);
        let slot = slot.ok_or_else(|| Refusal::Unknown(format!("there is no run {run} that has not ended")))?;
        self.end(now, slot, Outcome::Cancelled(Cancelled::Abandoned), out);
        Ok(Done::Run(run))
    }

    pub(super) fn find_run(&self, id: &RunId) -> Option<RunSlot> {
        if let Some(slot) = self.runs.orphan(id) {
            return Some(slot);
        }
        self.runs.of_job(self.catalog.job_of(id)?).find(|slot| self.runs.get(*slot).is_some_and(|run| run.id == *id))
    }
}
