//! Whether what is due at an instant is paused, and the timers of pauses. A pause that has ended is kept as long as
//! something that was due in it could still start: no decision depends on when it is made.

use std::sync::Arc;

use super::state::Scheduler;
use crate::{
    agenda::Timer,
    event::{Change, JobKey, PauseScope},
    mutants::{Mutation, mutated},
    occurrence::Next,
    pause::{Pause, PausedBy},
    runs::Run,
    time::Instant,
};

impl Scheduler {
    /// Returns the pause by which a job skips a run that is due at an instant.
    pub(super) fn paused_at(&self, key: JobKey, due: Instant) -> Option<PausedBy> {
        self.catalog.pauses_of(key).at(self.decisive(due)).cloned()
    }

    /// Returns whether a job skips its next run because of a pause.
    pub(super) fn is_next_paused(&self, key: JobKey) -> bool {
        let next = self.catalog.job(key).map(|state| state.next).filter(|next| next.due().is_some());
        next.and_then(Next::timer).is_some_and(|start| self.paused_at(key, start).is_some())
    }

    /// Returns the pause by which a run does not start; its job may have been removed.
    pub(super) fn paused_run(&self, run: &Run) -> Option<PausedBy> {
        if !run.id.origin.is_trigger() || mutated(Mutation::PausedRunStarts) {
            return None;
        }
        let pauses = if self.catalog.job(run.job).is_some() {
            self.catalog.pauses_of(run.job)
        } else {
            self.catalog.pauses_of_device(self.catalog.device_key(&run.id.plugin, &run.id.device)?)
        };
        pauses.at(self.decisive(run.start)).cloned()
    }

    /// Returns the instant that decides whether a pause covers what is due.
    fn decisive(&self, due: Instant) -> Instant {
        if mutated(Mutation::PauseCoversWhatIsDecidedInIt) { self.now } else { due }
    }

    /// Sets, replaces or removes a pause, and saves that. Returns the one that was there.
    pub(super) fn set_pause(&mut self, scope: PauseScope, pause: Option<Arc<Pause>>) -> Option<Arc<Pause>> {
        let before = self.catalog.pauses.set(scope, pause.clone());
        if before != pause {
            self.disarm_pause(scope, before.as_deref(), Instant::MIN);
            self.arm_pause(scope);
            self.out.changes.push(Change::PauseSaved { scope, pause });
        }
        before
    }

    /// Arms a pause's timer for its next change.
    pub(super) fn arm_pause(&mut self, scope: PauseScope) {
        let change = self.catalog.pauses.get(scope).and_then(|pause| pause.next_change(self.now));
        change.inspect(|at| self.agenda.arm(*at, Timer::Pause(scope)));
    }

    fn disarm_pause(&mut self, scope: PauseScope, pause: Option<&Pause>, after: Instant) {
        for at in pause.into_iter().flat_map(Pause::changes).filter(|at| *at >= after) {
            self.agenda.disarm(at, Timer::Pause(scope));
        }
    }

    /// Arms the timers of the pauses of all, and of plugins, by a clock that was set.
    pub(super) fn rearm_wide_pauses(&mut self) {
        let plugins: Vec<PauseScope> = self.catalog.plugin_keys().map(PauseScope::Plugin).collect();
        for scope in plugins.into_iter().chain([PauseScope::All]) {
            self.rearm_pause(scope);
        }
    }

    /// Arms a pause's timer by a clock that was set. What the clock has passed over is still reported.
    pub(super) fn rearm_pause(&mut self, scope: PauseScope) {
        if let Some(pause) = self.catalog.pauses.get(scope).cloned() {
            self.disarm_pause(scope, Some(&pause), self.now.plus_ms(1));
            self.arm_pause(scope);
        }
    }
}
