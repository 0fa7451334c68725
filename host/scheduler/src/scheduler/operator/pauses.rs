//! Pauses and skips, which no plan changes.

use std::sync::Arc;

use crate::{
    event::{ByHand, Done, Effect, Part, PauseChange, PauseScope, Refusal},
    names::JobName,
    occurrence::NextRun,
    pause::Pause,
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
        let was_skipped = self.catalog.overrides.is_skipped(key, next);
        self.change_override(key, |job_override| job_override.skip = (!undo).then_some(next));
        let run = self.run_id(key, next);
        if was_skipped == undo {
            let change = if undo { ByHand::SkipUndone } else { ByHand::Skipped };
            self.out.effects.push(Effect::ByHand(change(run.clone())));
        }
        Ok(Done::Run(run))
    }

    /// Pauses or resumes plugins, devices, jobs, or all, in one commit. Returns the pauses that there were before.
    pub(crate) fn replace_pauses(&mut self, pauses: Vec<(Part, Option<Arc<Pause>>)>) -> Result<Done, Refusal> {
        let scopes = pauses.iter().map(|(what, _)| self.scope(what)).collect::<Result<Vec<_>, _>>()?;
        let before =
            pauses.into_iter().zip(scopes).map(|((what, pause), scope)| self.replace_pause(what, scope, pause));
        Ok(Done::Pauses(before.collect()))
    }

    fn scope(&self, what: &Part) -> Result<PauseScope, Refusal> {
        Ok(match what {
            Part::All => PauseScope::All,
            Part::Plugin(plugin) => PauseScope::Plugin(self.find_plugin(plugin)?),
            Part::Device(plugin, device) => PauseScope::Device(self.find_device(plugin, device)?),
            Part::Job(job) => PauseScope::Job(self.find_job(job)?),
        })
    }

    /// Sets or removes a pause, and reports that. Returns the one that was there, unless it had ended.
    fn replace_pause(&mut self, what: Part, scope: PauseScope, pause: Option<Arc<Pause>>) -> Option<Arc<Pause>> {
        let stored = self.set_pause(scope, pause.clone());
        let before = stored.clone().filter(|before| !before.is_over(self.now));
        match (pause, &before) {
            (Some(pause), _) if stored.as_ref() != Some(&pause) => self.report_pause(what, pause, PauseChange::Set),
            (None, Some(before)) => self.report_pause(what, before.clone(), PauseChange::Removed),
            _ => {}
        }
        before
    }

    /// Handles a pause's timer: it begins, ends, or can be forgotten.
    pub(crate) fn pause_timer(&mut self, scope: PauseScope) {
        let Some(pause) = self.catalog.pauses.get(scope).cloned() else { return };
        if pause.forgotten_at().is_some_and(|at| at <= self.now) {
            self.set_pause(scope, None);
            return;
        }
        let change = if pause.is_over(self.now) { PauseChange::Ended } else { PauseChange::Begun };
        if let Some(what) = self.part(scope) {
            self.report_pause(what, pause, change);
        }
        self.arm_pause(scope);
    }

    fn report_pause(&mut self, what: Part, pause: Arc<Pause>, change: PauseChange) {
        self.out.effects.push(Effect::PauseChanged { what, pause, change });
    }

    /// Returns what a pause was set on, by name.
    fn part(&self, scope: PauseScope) -> Option<Part> {
        Some(match scope {
            PauseScope::All => Part::All,
            PauseScope::Plugin(key) => Part::Plugin(self.catalog.plugin(key)?.name.clone()),
            PauseScope::Device(key) => {
                Part::Device(self.catalog.plugin_of(key)?.name.clone(), self.catalog.device(key)?.name.clone())
            }
            PauseScope::Job(key) => Part::Job(self.catalog.job(key).map(|_| self.catalog.name_of(key))?),
        })
    }
}
