//! Restoring the scheduler from the stored state.

use super::{
    clock::is_ahead_of_clock,
    state::{HostScope, Operator, Scheduler},
};
use crate::{
    agenda::{Agenda, Timer},
    catalog::{Catalog, JobState, Plugin},
    commits::Commits,
    delivery::Delivery,
    event::{JobKey, Saved, SavedJob, SavedPlugin, Step, Version},
    mutants::{Mutation, mutated},
    occurrence::Next,
    runs::{Resources, Run, Runs},
    time::Instant,
    trigger::{Days, Trigger},
    work_queue::{Work, WorkQueue},
};

impl Scheduler {
    /// Restores the stored state. Occurrences that fell due meanwhile are decided by the first step.
    #[must_use]
    pub fn new(saved: Saved, jobs: impl IntoIterator<Item = SavedJob>, operator: Operator, now: Instant) -> Self {
        let Operator { resources, grant, topic, site, rates, calendars } = operator;
        let mut scheduler = Self {
            catalog: Catalog::default(),
            runs: Runs::default(),
            resources: Resources::new(resources),
            agenda: Agenda::new(now, saved.series, calendars),
            delivery: Delivery::new(rates, now),
            commits: Commits::default(),
            work: WorkQueue::default(),
            host: HostScope { topic, grant, site },
            now,
            out: Step::default(),
            stopping: false,
            failing: false,
        };
        let mut timers = vec![(now, Timer::Forget)];
        for plugin in saved.plugins {
            timers.extend(plugin.devices.iter().map(|device| (device.replan_at, Timer::Replan(device.key))));
            scheduler.restore_plugin(plugin);
        }
        for job in jobs {
            timers.extend(scheduler.restore_job(saved.series, job));
        }
        scheduler.catalog.restored();
        for (job, job_override) in saved.overrides {
            if scheduler.catalog.job(job).is_some() && !mutated(Mutation::RestartLosesOverrides) {
                scheduler.remember_override(job, job_override);
            }
        }
        for (scope, pause) in saved.pauses {
            if !mutated(Mutation::RestartLosesOverrides) {
                timers.extend(pause.next_change(now).map(|at| (at, Timer::Pause(scope))));
                scheduler.catalog.pauses.set(scope, Some(pause.into()));
            }
        }
        scheduler.move_host_device();
        scheduler.agenda.restore_timers(timers);
        scheduler.restore_groups();
        for tombstone in saved.tombstones {
            scheduler.catalog.tombstones.insert(tombstone.name, tombstone.watermark);
        }
        // Runs that have started were admitted before those that wait for them.
        let mut runs = saved.runs;
        runs.sort_by_key(|(key, run)| (run.progress.started.is_none(), *key));
        for (key, run) in runs {
            let job = scheduler.catalog.reserve_job(&run.id);
            scheduler.runs.remember_key(key);
            scheduler.agenda.remember_unique(&run.id);
            let started = run.progress.started;
            let slot = scheduler.insert_run(Run::restored(now, key, run, job));
            let is_moved = scheduler.runs.get(slot).is_some_and(|run| run.progress.started != started);
            if is_moved && !mutated(Mutation::RestartPutsOffOwedSteps) {
                // Another restart must not count its time anew (I5).
                scheduler.save_progress_of(slot);
            }
            scheduler.await_step(slot);
        }
        scheduler
    }

    fn restore_plugin(&mut self, saved: SavedPlugin) {
        let SavedPlugin { key, name, version, mut grant, devices } = saved;
        if version == Version::BUILT_IN {
            grant = self.host.grant.clone();
        }
        if version == Version::NONE {
            // A crash interrupted its first load or its removal: none of its jobs is due until it is loaded anew.
            self.work.push(Work::Remove(name.clone()));
        }
        self.catalog.restore_plugin(key, Plugin::new(name, version, grant), devices);
    }

    /// Restores a job, which was saved in a clock series. Returns its timer, if it has one.
    fn restore_job(&mut self, series: u32, saved: SavedJob) -> Option<(Instant, Timer)> {
        let SavedJob { key, device, job, mut watermark, mut due, mut decided } = saved;
        if is_ahead_of_clock(&job.trigger, watermark, self.now) {
            // The clock was set back while the host was away.
            if self.agenda.series() == series {
                self.agenda.begin_series(&mut self.out);
            }
            (decided, watermark, due) = (decided.max(watermark), self.now, None);
        }
        let owner = self.catalog.device(device)?;
        let version = self.catalog.plugin(owner.plugin)?.version;
        let (mut site, is_whole) = (owner.site, version != Version::NONE);
        if version == Version::BUILT_IN && site != self.host.site {
            // The host's site has changed.
            site = self.host.site;
            due = due.filter(|_| !matches!(job.trigger, Trigger::Cron(_) | Trigger::Sun(_)));
        }
        let follows_calendars = job.trigger.days().is_some_and(Days::follow_calendars);
        let may_be_stale = follows_calendars && !mutated(Mutation::RestartKeepsOldCalendars);
        let next = match due {
            // A calendar may have changed while the host was away. What was due by then was decided by its old
            // contents, and nothing is caught up by the new ones.
            None if follows_calendars && !mutated(Mutation::RestartCatchesUpCalendars) => {
                Next::Search(watermark.max(self.now))
            }
            Some(due) if may_be_stale && due > self.now => Next::Search(watermark.max(self.now)),
            Some(occurrence) => Next::Due { occurrence, jitter_ms: self.jitter_of(&job, device, occurrence, &site) },
            None if matches!(job.trigger, Trigger::At(at) if at <= watermark) => Next::Never,
            // Either never, or not found yet: the search decides.
            None => Next::Search(watermark),
        };
        self.catalog.restore_job(key, JobState::new(device, job, watermark, next));
        self.catalog.set_decided(key, decided);
        next.timer().filter(|_| is_whole).map(|at| (at, Timer::Job(key)))
    }

    /// Adds the jobs of groups to their groups, by when they are due.
    fn restore_groups(&mut self) {
        let grouped: Vec<JobKey> = self.catalog.jobs().filter(|(_, job)| job.grouped).map(|(key, _)| key).collect();
        for key in grouped {
            let at = self.catalog.job(key).and_then(|job| job.next.timer());
            if at.is_some_and(|at| self.agenda.is_armed(at, Timer::Job(key))) {
                self.arm_timer(key);
            }
        }
    }
}
