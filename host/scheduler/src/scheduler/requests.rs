//! Requests of clients.

use super::{DeviceKey, JobKey, NextRun, PluginKey, RunSlot, Scheduler, plans::Work, run::Run};
use crate::{
    body::Body,
    event::{Change, Done, Effect, Part, Refusal, Request, RequestId, Step, Version},
    limits,
    mutation::{Mutation, mutated},
    names::{DeviceName, JobName, Origin, PluginName, RunId},
    outcome::{Cancelled, Outcome},
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
            Request::Schedule(new) => return self.work.push_back(Work::Schedule(request, new)),
            Request::Cancel(job) => return self.work.push_back(Work::Cancel(request, job)),
        };
        out.effects.push(Effect::Answer { request, answer });
    }

    /// Finds a job by its name.
    pub(super) fn find_job(&self, (plugin, device, job): &JobName) -> Result<JobKey, Refusal> {
        let found = self.job_key(self.find_device(plugin, device)?, job.as_str());
        found.ok_or_else(|| Refusal::Unknown(format!("device `{plugin}/{device}` has no job `{job}`")))
    }

    pub(super) fn find_device(&self, plugin: &PluginName, device: &DeviceName) -> Result<DeviceKey, Refusal> {
        let of = self.plugins.get(self.find_plugin(plugin)?).and_then(|plugin| plugin.devices.get(device));
        of.copied().ok_or_else(|| Refusal::Unknown(format!("plugin `{plugin}` has no device `{device}`")))
    }

    fn find_plugin(&self, plugin: &PluginName) -> Result<PluginKey, Refusal> {
        let key = self.plugin_keys.get(plugin).copied();
        key.ok_or_else(|| Refusal::Unknown(format!("there is no plugin `{plugin}`")))
    }

    /// Runs a job once more, after its runs that have not ended; a run of a group replaces the others of the group.
    fn run_now(&mut self, now: Instant, name: &JobName, out: &mut Step) -> Result<Done, Refusal> {
        let key = self.find_job(name)?;
        let waiting = self.run_slots(key).count();
        if waiting >= limits::RUNS_PER_JOB as usize {
            return Err(Refusal::TooMany(format!("{waiting} runs of its job are already waiting")));
        }
        let Some(state) = self.jobs.get(key) else { return Ok(Done::Nothing) };
        let body = state.job.body.clone();
        let policy = body.policy();
        let (origin, occurrence) = (Origin::Manual { series: self.series }, self.unique_instant(now));
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

    /// Returns the current time, moved so that no two calls return the same: neither within a millisecond, nor after
    /// the clock was set back, because that starts a new series.
    fn unique_instant(&mut self, now: Instant) -> Instant {
        self.last_replay = now.max(self.last_replay.plus_ms(1));
        self.last_replay
    }

    fn skip(&mut self, name: &JobName, undo: bool, out: &mut Step) -> Result<Done, Refusal> {
        let key = self.find_job(name)?;
        let Some(state) = self.jobs.get(key) else { return Ok(Done::Nothing) };
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
                if let Some(plugin) = self.plugins.get_mut(key) {
                    plugin.paused = paused;
                }
                self.save_plugin(key, out);
            }
            Part::Device(plugin, device) => {
                let key = self.find_device(plugin, device)?;
                let Some(device) = self.devices.get_mut(key) else { return Ok(Done::Nothing) };
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
        let Some(found) = self.plugins.get(self.find_plugin(plugin)?) else { return Ok(Done::Nothing) };
        if found.version == Version::BUILT_IN {
            return Err(Refusal::Conflict(format!("the jobs of `{plugin}` are not planned by a plugin")));
        }
        let devices: Vec<DeviceKey> = found.devices.values().copied().collect();
        self.work.push_back(Work::RequestPlans(devices.into_iter()));
        Ok(Done::Nothing)
    }

    /// Replays a run as a new run that starts now, after the runs of its job and its group that have not ended.
    fn replay(&mut self, now: Instant, run: &RunId, body: Body, out: &mut Step) -> Result<Done, Refusal> {
        if self.find_run(run).is_some() {
            return Err(Refusal::Conflict(format!("the run {run} has not ended")));
        }
        if !self.plugin_keys.contains_key(&run.plugin) {
            let what = format!("there is no plugin `{}` any more, and only a plugin may publish", run.plugin);
            return Err(Refusal::Conflict(what));
        }
        let job = self.job_of(run);
        let of_job: Vec<RunSlot> = match job {
            Some(job) => self.run_slots(job).collect(),
            None => self.orphans_of(&run.clone().into_job_name()),
        };
        let is_replay =
            |other: &RunId| matches!(other.origin, Origin::Replay { .. }) && other.occurrence == run.occurrence;
        if let Some(other) = of_job.iter().filter_map(|slot| self.runs.get(*slot)).find(|other| is_replay(&other.id)) {
            return Err(Refusal::Conflict(format!("it is already being replayed, as {}", other.id)));
        }
        if of_job.len() >= limits::RUNS_PER_JOB as usize {
            return Err(Refusal::TooMany(format!("{} runs of its job are already waiting", of_job.len())));
        }
        let at = self.unique_instant(now);
        let id = RunId { origin: Origin::Replay { at, series: self.series }, ..run.clone() };
        let policy = body.policy();
        if let Some(job) = job {
            self.save_runs_of(job, out);
        }
        let slot = self.insert_run(Run::new(id.clone(), job, body, policy, now));
        self.save_run(slot, out);
        self.enqueue(slot);
        Ok(Done::Run(id))
    }

    /// Ends a run and drops its owed steps. Nothing else does.
    fn abandon(&mut self, now: Instant, run: RunId, out: &mut Step) -> Result<Done, Refusal> {
        let slot = self.find_run(&run);
        let slot = slot.ok_or_else(|| Refusal::Unknown(format!("there is no run {run} that has not ended")))?;
        self.end(now, slot, Outcome::Cancelled(Cancelled::Abandoned), out);
        Ok(Done::Run(run))
    }

    pub(super) fn find_run(&self, id: &RunId) -> Option<RunSlot> {
        if let Some(slot) = self.orphans.get(id) {
            return Some(*slot);
        }
        self.run_slots(self.job_of(id)?).find(|slot| self.runs.get(*slot).is_some_and(|run| run.id == *id))
    }
}
