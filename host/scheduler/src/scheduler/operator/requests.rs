//! Requests of clients.

use crate::{
    body::Body,
    event::{ByHand, DeviceKey, Done, Effect, JobKey, Refusal, Request, RequestId, Version},
    limits,
    mutants::{Mutation, mutated},
    names::{JobName, Origin, PluginName, RunId},
    outcome::{Cancelled, Outcome},
    runs::Run,
    scheduler::state::Scheduler,
    work_queue::Work,
};

impl Scheduler {
    pub(crate) fn handle_request(&mut self, request: RequestId, what: Request) {
        let answer = match what {
            _ if self.stopping || self.failing => Err(Refusal::Stopping),
            Request::Replay { run, body } => self.replay(&run, body),
            Request::Abandon(run) => self.abandon(run),
            Request::RunNow(job) => self.run_now(&job),
            Request::Skip { job, undo } => self.skip(&job, undo),
            Request::Pause(pauses) => self.replace_pauses(pauses),
            Request::Replan(plugin) => self.replan_now(&plugin),
            // Queued behind the plans, which take many steps.
            Request::Schedule(new) => return self.work.push(Work::Schedule(request, new)),
            Request::Cancel(job) => return self.work.push(Work::Cancel(request, job)),
        };
        self.out.effects.push(Effect::Answer { request, answer });
    }

    /// Runs a job once more, after its runs that have not ended; a run of a group replaces the others of the group.
    fn run_now(&mut self, name: &JobName) -> Result<Done, Refusal> {
        let key = self.find_job(name)?;
        self.has_room_for_run(key)?;
        let Some(state) = self.catalog.job(key) else { return Ok(Done::Nothing) };
        let body = state.job.body.clone();
        let policy = body.policy();
        let (origin, occurrence) =
            (Origin::Manual { series: self.agenda.series() }, self.agenda.unique_instant(self.now));
        let id = RunId { origin, occurrence, ..self.run_id(key, occurrence) };
        self.save_runs_of(key);
        let slot = self.insert_run(Run::new(id.clone(), key, body, policy, self.now));
        // I2: saved before anything else of its job; it does not move the watermark.
        if !mutated(Mutation::RunNowIsUnsaved) {
            self.save_run(slot);
        }
        self.replace_in_group(slot);
        self.enqueue(slot);
        self.out.effects.push(Effect::ByHand(ByHand::RunNow(id.clone())));
        Ok(Done::Run(id))
    }

    fn has_room_for_run(&self, job: JobKey) -> Result<(), Refusal> {
        match self.runs.count_of_job(job) {
            waiting if waiting < limits::RUNS_PER_JOB as usize => Ok(()),
            waiting => Err(Refusal::TooMany(format!("{waiting} runs of its job are already waiting"))),
        }
    }

    fn replan_now(&mut self, plugin: &PluginName) -> Result<Done, Refusal> {
        let Some(found) = self.catalog.plugin(self.find_plugin(plugin)?) else { return Ok(Done::Nothing) };
        if found.version == Version::BUILT_IN {
            return Err(Refusal::Conflict(format!("the jobs of `{plugin}` are not planned by a plugin")));
        }
        let devices: Vec<DeviceKey> = found.devices.values().copied().collect();
        self.work.push(Work::RequestPlans(devices.into_iter()));
        Ok(Done::Nothing)
    }

    /// Replays a run as a new run that starts now, after the runs of its job and its group that have not ended.
    fn replay(&mut self, run: &RunId, body: Body) -> Result<Done, Refusal> {
        if self.find_run(run).is_some() {
            return Err(Refusal::Conflict(format!("the run {run} has not ended")));
        }
        if self.catalog.plugin_key(&run.plugin).is_none() {
            let what = format!("there is no plugin `{}` any more, and only a plugin may publish", run.plugin);
            return Err(Refusal::Conflict(what));
        }
        // A key that was not there before is used: then there is no other run of the job.
        let job = self.catalog.reserve_job(run);
        let is_replay =
            |other: &&Run| matches!(other.id.origin, Origin::Replay { .. }) && other.id.occurrence == run.occurrence;
        if let Some(other) = self.runs.of_job(job).filter_map(|slot| self.runs.get(slot)).find(is_replay) {
            return Err(Refusal::Conflict(format!("it is already being replayed, as {}", other.id)));
        }
        self.has_room_for_run(job)?;
        let at = self.agenda.unique_instant(self.now);
        let id = RunId { origin: Origin::Replay { at, series: self.agenda.series() }, ..run.clone() };
        let policy = body.policy();
        self.save_runs_of(job);
        let slot = self.insert_run(Run::new(id.clone(), job, body, policy, self.now));
        self.save_run(slot);
        self.enqueue(slot);
        self.out.effects.push(Effect::ByHand(ByHand::Replayed(id.clone())));
        Ok(Done::Run(id))
    }

    /// Ends a run and drops its owed steps. Nothing else does.
    fn abandon(&mut self, run: RunId) -> Result<Done, Refusal> {
        let slot = self.find_run(&run);
        let slot = slot.ok_or_else(|| Refusal::Unknown(format!("there is no run {run} that has not ended")))?;
        self.end(slot, Outcome::Cancelled(Cancelled::Abandoned));
        Ok(Done::Run(run))
    }
}
