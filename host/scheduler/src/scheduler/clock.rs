//! Clock changes. The scheduler knows one time, that of the wall clock; durations that are measured (pauses, owed
//! steps, `every`) continue as if the clock had not changed (I11).

use super::state::Scheduler;
use crate::{
    agenda::Timer,
    budget::Budget,
    event::{DeviceKey, JobKey, PauseScope},
    limits,
    mutants::{Mutation, mutated},
    time::{CLOCK_LOST_BEFORE, Instant},
    trigger::Trigger,
    work_queue::Work,
};

impl Scheduler {
    /// Applies a change of the wall clock to all runs at once, because no timer may fire by a mixture of two clocks. It
    /// takes some tens of nanoseconds for each run.
    pub(super) fn clock_set(&mut self, by_ms: i64) {
        self.delivery.clock_set(self.now, by_ms);
        for slot in 0..self.runs.slot_count() {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            let before = run.phase.until();
            run.shift(by_ms);
            let after = run.phase.until();
            if before != after {
                before.inspect(|until| self.agenda.disarm(*until, Timer::Run(slot)));
                after.inspect(|until| self.agenda.arm(*until, Timer::Run(slot)));
            }
            if let Some(since) = self.drop_hold(slot) {
                self.take_hold(slot, since.plus_ms(by_ms));
            }
            match self.runs.get(slot) {
                // A new series would give its occurrence another id.
                Some(run) if run.key.is_none() && !mutated(Mutation::ClockLosesUnsavedRuns) => self.save_run(slot),
                // The owed steps that it has taken over may be put off by the new clock, even if nothing of its own was
                // sent.
                Some(run) if !run.has_not_started() || run.progress.put_off_until.is_some() => {
                    self.save_progress_of(slot);
                }
                _ => {}
            }
        }
        self.rearm_wide_pauses();
        self.agenda.clock_set(self.now, by_ms, &mut self.out);
        self.work.push(Work::ClockSet { device: 0, job: 0 });
    }

    /// Examines some devices and jobs after the clock was set: plans may depend on the date, and triggers that count
    /// elapsed time must not wait until the clock has caught up.
    pub(super) fn after_clock_set(&mut self, mut device: DeviceKey, mut job: JobKey, budget: &mut Budget) {
        while device < self.catalog.device_slots() && budget.spend(limits::SLOT_COST) {
            self.request_plan(device);
            self.rearm_pause(PauseScope::Device(device));
            device += 1;
        }
        while job < self.catalog.job_slots() && budget.spend(limits::SLOT_COST) {
            self.set_back(job);
            self.rearm_pause(PauseScope::Job(job));
            job += 1;
        }
        if device < self.catalog.device_slots() || job < self.catalog.job_slots() {
            // Last in the queue: plans and requests do not wait for all jobs.
            self.work.push(Work::ClockSet { device, job });
        }
    }

    /// Lets a job continue from now if it would wait for a clock that was set back.
    fn set_back(&mut self, key: JobKey) {
        let Some(state) = self.catalog.job(key) else { return };
        let watermark = state.watermark;
        if is_ahead_of_clock(&state.job.trigger, watermark, self.now) {
            if !mutated(Mutation::ClockForgetsDecisions) {
                self.catalog.set_decided(key, watermark);
            }
            self.resume_after(key, self.now);
        }
    }
}

/// Returns whether a job was decided up to a time that the clock will not show for long. Triggers that count elapsed
/// time never wait for the clock; those that follow the wall clock fire once for each time it shows, unless the clock
/// was plainly wrong.
pub(super) fn is_ahead_of_clock(trigger: &Trigger, watermark: Instant, now: Instant) -> bool {
    let ahead_ms = watermark.ms_since(now);
    match trigger {
        Trigger::At(_) => false,
        Trigger::Every(_) => ahead_ms >= limits::CLOCK_STEP_MS,
        Trigger::Cron(_) | Trigger::Sun(_) => now >= CLOCK_LOST_BEFORE && ahead_ms >= limits::CLOCK_CORRECTION_MS,
    }
}
