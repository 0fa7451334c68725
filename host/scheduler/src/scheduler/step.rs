//! One step of the scheduler: each event goes to the part that handles it.

use std::mem;

use super::state::Scheduler;
use crate::{
    agenda::Timer,
    budget::Budget,
    commits::Waiter,
    event::{Change, CommitToken, Event, Step},
    limits,
    runs::Report,
    time::Instant,
    work_queue::{Work, ZonesChanged},
};

impl Scheduler {
    /// Applies an event, and returns the changes to store and the effects to start. The work is bounded (I10): the next
    /// step does the rest, and [`Step::wake`] states when.
    pub fn step(&mut self, now: Instant, event: Event) -> Step {
        self.now = now;
        if let Event::ClockSet { by_ms } = event {
            // Before any timer fires by the new time.
            self.clock_set(by_ms);
        }
        // Timers that fired before the event come first: a new plan does not reach back to occurrences of the old one.
        self.run_timers();
        match event {
            Event::Woke | Event::ClockSet { .. } => {}
            Event::ZonesChanged { zones, rules } => {
                self.work.push(Work::ZonesChanged(ZonesChanged { zones, rules, device: 0, job: 0, moved: 0 }.into()));
            }
            Event::CalendarsChanged(calendars) => self.set_calendars(calendars),
            Event::StopRequested => self.stopping = true,
            Event::StoreFailed => self.store_failed(),
            Event::Durable(token) => self.durable(token),
            Event::Requested { request, what } => self.handle_request(request, what),
            Event::Loaded(loaded) => self.work.push(Work::Load(Box::new(loaded))),
            Event::Removed(plugin) => self.work.push(Work::Remove(plugin)),
            Event::Planned { plugin, device, generation, plan } => {
                self.work.push(Work::Replan { plugin, device, generation, plan });
            }
            Event::Answered { call, reply } => self.task_answered(call, reply),
            Event::LinkUp { link, credit } => {
                self.link_down();
                self.delivery.link_up(now, link, credit);
                self.resubscribe();
            }
            Event::LinkDown { link } if self.delivery.link() == Some(link) => {
                self.link_down();
            }
            Event::LinkDown { .. } => {}
            Event::Acked { link, attempt, no_subscriber } => self.acked(link, attempt, no_subscriber),
            Event::Refused { link, attempt, reason } => self.refused(link, attempt, reason),
            Event::Deferred { link, attempt, wait_ms } => self.deferred(link, attempt, wait_ms),
            Event::EndedLink { link, attempt, how } => self.ended_link(link, attempt, how),
            Event::Watching { link, watch, refused } => self.watch_answered(link, watch, refused),
            Event::Reported { link, watch, matches, retained, excerpt } => {
                self.reported(link, watch, Report { matches, retained, excerpt });
            }
        }
        if !self.failing {
            self.work_on_plans();
        }
        let timers_left = self.run_timers();
        let runs_left = self.serve();
        self.out.partial = self.work.is_adopting() && !self.failing;
        let work_left = !self.work.is_empty() && !self.failing;
        self.out.wake = if timers_left || runs_left || work_left {
            Some(now)
        } else {
            let rates_allow_at = self.delivery.rates_allow_at().filter(|_| !self.stopping);
            self.agenda.next_at().into_iter().chain(rates_allow_at).min().map(|at| at.max(now))
        };
        mem::take(&mut self.out)
    }

    /// Runs the timers that are due. Returns whether more are due.
    fn run_timers(&mut self) -> bool {
        let mut budget = Budget::of_step();
        while budget.spend(limits::TIMER_COST) {
            let Some(timer) = self.agenda.pop_due(self.now) else { return false };
            match timer {
                Timer::Run(run) => self.run_timer(run),
                Timer::Hold(run) => self.hold_expired(run),
                // Nothing new is started or decided: the next start of the host does that.
                _ if self.failing || self.stopping => {}
                Timer::Job(job) => self.job_timer(job),
                Timer::Replan(device) => self.request_plan(device),
                Timer::Forget => self.forget(),
                Timer::Pause(scope) => self.pause_timer(scope),
            }
        }
        self.agenda.is_due(self.now)
    }

    /// Removes tombstones that no occurrence can need any more.
    fn forget(&mut self) {
        let before = self.now.plus_ms(-limits::TOMBSTONE_MS);
        let mut budget = Budget::of_step();
        let forgotten = self.catalog.tombstones.forget(before, &mut budget);
        if forgotten.begins {
            self.out.changes.push(Change::TombstonesForgotten { before });
        }
        self.delivery.forget_idle(self.now);
        let is_more = self.forget_finished(&mut budget) || forgotten.is_more;
        let again = if is_more { self.now } else { self.now.plus_ms(limits::FORGET_EVERY_MS) };
        self.agenda.arm(again, Timer::Forget);
    }

    /// Handles a durable commit, of an attempt or of a plan.
    fn durable(&mut self, token: CommitToken) {
        match self.commits.take(token) {
            Some(Waiter::Attempt(slot)) => self.attempt_durable(slot),
            Some(Waiter::Saved(slot, key)) => {
                if let Some(run) = self.runs.get_mut(slot).filter(|run| run.key == Some(key)) {
                    run.is_durable = true;
                }
            }
            // I3: its jobs may be due from now on.
            Some(Waiter::Plan(jobs)) => self.work.push_front(Work::Arm(token, jobs)),
            None => {}
        }
    }
}
