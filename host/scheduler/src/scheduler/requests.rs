//! What people ask for.

use super::{RunSlot, Scheduler, run::Run};
use crate::{
    body::Body,
    event::{Effect, Request, RequestId, Step},
    limits,
    names::{Origin, RunId},
    outcome::{Cancelled, Outcome},
    time::Instant,
};

impl Scheduler {
    pub(super) fn asked(&mut self, now: Instant, request: RequestId, what: Request, out: &mut Step) {
        let answer = match what {
            _ if self.stopping || self.failing => Err("the host is stopping".into()),
            Request::Replay { run, body } => self.replay(now, &run, body, out),
            Request::Abandon(run) => self.abandon(now, run, out),
        };
        out.effects.push(Effect::Answer { request, answer });
    }

    /// The same again, as a run of its own that starts now, behind those of its job and its group that are there.
    fn replay(&mut self, now: Instant, run: &RunId, body: Body, out: &mut Step) -> Result<RunId, String> {
        if self.find_run(run).is_some() {
            return Err(format!("the run {run} has not ended"));
        }
        if !self.plugin_keys.contains_key(&run.plugin) {
            return Err(format!("there is no plugin `{}` any more, and only a plugin may publish", run.plugin));
        }
        let job = self.job_of(run);
        let of_job: Vec<RunSlot> = match job {
            Some(job) => self.line_of(job).collect(),
            None => self.orphans_of(&run.clone().of_job()),
        };
        let again = |other: &RunId| matches!(other.origin, Origin::Replay { .. }) && other.occurrence == run.occurrence;
        if let Some(other) = of_job.iter().filter_map(|slot| self.runs.get(*slot)).find(|other| again(&other.id)) {
            return Err(format!("it is being done again already, as {}", other.id));
        }
        if of_job.len() >= limits::RUNS_PER_JOB as usize {
            return Err(format!("{} runs of its job wait already", of_job.len()));
        }
        // Never the same twice: neither in a millisecond, nor when the clock was set back, for then the series is new.
        self.last_replay = now.max(self.last_replay.plus_ms(1));
        let id = RunId { origin: Origin::Replay { at: self.last_replay, series: self.series }, ..run.clone() };
        let policy = body.policy();
        if let Some(job) = job {
            self.save_runs_of(job, out);
        }
        let slot = self.insert_run(Run::new(id.clone(), job, body, policy, now));
        self.save_run(slot, out);
        self.enqueue(slot);
        Ok(id)
    }

    /// The one thing that ends what is owed.
    fn abandon(&mut self, now: Instant, run: RunId, out: &mut Step) -> Result<RunId, String> {
        let slot = self.find_run(&run).ok_or_else(|| format!("there is no run {run} that has not ended"))?;
        self.end(now, slot, Outcome::Cancelled(Cancelled::Abandoned), out);
        Ok(run)
    }

    pub(super) fn find_run(&self, id: &RunId) -> Option<RunSlot> {
        if let Some(slot) = self.orphans.get(id) {
            return Some(*slot);
        }
        self.line_of(self.job_of(id)?).find(|slot| self.runs.get(*slot).is_some_and(|run| run.id == *id))
    }
}
