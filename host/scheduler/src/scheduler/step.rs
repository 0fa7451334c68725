//! One step of the scheduler: each event goes to the part that handles it.

use super::state::Scheduler;
use crate::{
    agenda::Timer,
    budget::Budget,
    commits::Waiter,
    event::{Change, CommitToken, Event, Step},
    limits,
    planner::Work,
    runs::Report,
    time::Instant,
};

impl Scheduler {
    /// Applies an event, and returns the changes to store and the effects to start. The work is bounded (I10): the next
    /// step does the rest, and [`Step::wake`] states when.
    pub fn step(&mut self, now: Instant, event: Event) -> Step {
        let mut out = Step::default();
        self.delivery.set_time(now);
        self.agenda.save_new_series(&mut out);
        if let Event::ClockSet { by_ms } = event {
            // Before any timer fires by the new time.
            self.clock_set(now, by_ms, &mut out);
        }
        // Timers that fired before the event come first: a new plan does not reach back to occurrences of the old one.
        self.run_timers(now, &mut out);
        match event {
            Event::Woke | Event::ClockSet { .. } => {}
            Event::ZonesChanged { zones, rules } => self.zones_changed(zones, rules),
            Event::StopRequested => self.stopping = true,
            Event::StoreFailed => self.store_failed(now, &mut out),
            Event::Durable(token) => self.durable(now, token, &mut out),
            Event::Requested { request, what } => self.handle_request(now, request, what, &mut out),
            Event::Loaded(loaded) => self.loaded(loaded),
            Event::Removed(plugin) => self.removed(plugin),
            Event::Planned { plugin, device, generation, plan } => {
                self.planner.push(Work::Replan { plugin, device, generation, plan });
            }
            Event::Answered { call, reply } => self.task_answered(now, call, reply, &mut out),
            Event::LinkUp { link, credit } => {
                self.link_down(now, &mut out);
                self.delivery.link_up(now, link, credit);
                self.resubscribe(&mut out);
            }
            Event::LinkDown { link } if self.delivery.link() == Some(link) => {
                self.link_down(now, &mut out);
            }
            Event::LinkDown { .. } => {}
            Event::Acked { link, attempt, no_subscriber } => self.acked(now, link, attempt, no_subscriber, &mut out),
            Event::Refused { link, attempt, reason } => self.refused(now, link, attempt, reason, &mut out),
            Event::Deferred { link, attempt, wait_ms } => self.deferred(now, link, attempt, wait_ms, &mut out),
            Event::EndedLink { link, attempt, how } => self.ended_link(now, link, attempt, how, &mut out),
            Event::Watching { link, watch, refused } => self.watch_answered(now, link, watch, refused, &mut out),
            Event::Reported { link, watch, matches, retained, excerpt } => {
                self.reported(now, link, watch, Report { matches, retained, excerpt }, &mut out);
            }
        }
        if !self.failing {
            self.work_on_plans(now, &mut out);
        }
        let timers_left = self.run_timers(now, &mut out);
        let runs_left = self.serve(now, &mut out);
        out.partial = self.planner.is_adopting() && !self.failing;
        let work_left = !self.planner.is_empty() && !self.failing;
        out.wake = if timers_left || runs_left || work_left {
            Some(now)
        } else {
            self.agenda.next_at().into_iter().chain(self.rates_allow_at()).min().map(|at| at.max(now))
        };
        out
    }

    /// Runs the timers that are due. Returns whether more are due.
    fn run_timers(&mut self, now: Instant, out: &mut Step) -> bool {
        let mut budget = Budget::of_step();
        while budget.spend(limits::TIMER_COST) {
            let Some(timer) = self.agenda.pop_due(now) else { return false };
            match timer {
                Timer::Run(run) => self.run_timer(now, run, out),
                Timer::Hold(run) => self.hold_expired(now, run, out),
                // Nothing new is started or decided: the next start of the host does that.
                _ if self.failing || self.stopping => {}
                Timer::Job(job) => self.job_timer(now, job, out),
                Timer::Replan(device) => self.request_plan(device, out),
                Timer::Forget => self.forget(now, out),
            }
        }
        self.agenda.is_due(now)
    }

    /// Removes tombstones that no occurrence can need any more.
    fn forget(&mut self, now: Instant, out: &mut Step) {
        let before = now.plus_ms(-limits::TOMBSTONE_MS);
        let mut budget = Budget::of_step();
        let forgotten = self.catalog.tombstones.forget(before, &mut budget);
        if forgotten.begins {
            out.changes.push(Change::TombstonesForgotten { before });
        }
        self.delivery.forget_idle();
        let is_more = self.forget_finished(now, &mut budget, out) || forgotten.is_more;
        let again = if is_more { now } else { now.plus_ms(limits::FORGET_EVERY_MS) };
        self.agenda.arm(again, Timer::Forget);
    }

    /// Handles a durable commit, of an attempt or of a plan.
    fn durable(&mut self, now: Instant, token: CommitToken, out: &mut Step) {
        match self.commits.take(token) {
            Some(Waiter::Attempt(slot)) => self.attempt_durable(now, slot, out),
            Some(Waiter::Saved(slot, key)) => {
                if let Some(run) = self.runs.get_mut(slot).filter(|run| run.key == Some(key)) {
                    run.is_durable = true;
                }
            }
            // I3: its jobs may be due from now on.
            Some(Waiter::Plan(jobs)) => self.planner.push_front(Work::Arm(token, jobs)),
            None => {}
        }
    }
}
