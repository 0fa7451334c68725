//! What happens when the clock is set. The scheduler knows one time, the wall's; what is measured rather than read off a
//! clock (pauses, owed steps, `every`) goes on as if nothing had happened (I11).

use super::{DeviceKey, JobKey, Scheduler, Timer, plans::Work};
use crate::{
    event::{Change, Step},
    limits,
    time::Instant,
    trigger::Trigger,
};

impl Scheduler {
    /// The wall clock was set. All at once, for nothing may be due by a mixture of two clocks: some tens of nanoseconds for
    /// each run that has started.
    pub(super) fn clock_set(&mut self, now: Instant, by_ms: i64, out: &mut Step) {
        self.jumped = (by_ms > 0).then(|| (now.plus_ms(-by_ms), now));
        if self.since > now {
            // What is due from here on did not have to wait for the host.
            self.since = now;
        }
        self.link_since = self.link_since.min(now);
        for slot in 0..self.runs.places() {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            let before = run.state.until();
            run.shift(by_ms);
            let after = run.state.until();
            if before != after {
                before.map(|until| self.timers.remove(&(until, Timer::Run(slot))));
                after.map(|until| self.timers.insert((until, Timer::Run(slot))));
            }
            match self.runs.get(slot) {
                // From here on its occurrence would have another id.
                Some(run) if run.key.is_none() => self.save_run(slot, out),
                Some(run) if !run.has_not_started() => self.save_progress_of(slot, out),
                _ => {}
            }
        }
        if by_ms < 0 {
            self.series += 1;
            self.last_replay = now;
            out.changes.push(Change::SeriesBegun(self.series));
        }
        self.work.push_back(Work::ClockSet { device: 0, job: 0 });
    }

    /// Goes through devices and jobs after the clock was set: plans may depend on the day, and what counts elapsed time
    /// must not wait until the clock has caught up.
    pub(super) fn after_clock_set(&mut self, now: Instant, device: DeviceKey, job: JobKey, out: &mut Step) {
        let devices = self.devices.places().min(device.saturating_add(limits::PLACES_PER_STEP));
        for key in device..devices {
            self.ask_for_plan(key, out);
        }
        let jobs = self.jobs.places().min(job.saturating_add(limits::PLACES_PER_STEP));
        for key in job..jobs {
            self.begin_series(now, key, out);
        }
        if devices < self.devices.places() || jobs < self.jobs.places() {
            self.work.push_back(Work::ClockSet { device: devices, job: jobs });
        }
    }

    /// A job that counts elapsed time goes on at its next multiple.
    fn begin_series(&mut self, now: Instant, key: JobKey, out: &mut Step) {
        let Some(state) = self.jobs.get(key) else { return };
        if !matches!(state.job.trigger, Trigger::Every(_)) || state.watermark <= now {
            return;
        }
        let Some(site) = self.devices.get(state.device).map(|device| device.site) else { return };
        self.save_runs_of(key, out);
        self.disarm_timer(key);
        let next = self.following(key, now, &site);
        if let Some(state) = self.jobs.get_mut(key) {
            state.watermark = now;
            state.next = next;
        }
        self.arm_timer(key);
        self.save_progress(key, out);
    }
}
