//! Reconciles a device's plan with its jobs: new, changed, removed and unchanged ones. Large plans take many steps to
//! compare and adopt: until the last one, jobs that were not reached yet follow the old plan, and nothing of the new
//! plan is due or committed.

use std::collections::HashSet;

use crate::{
    body::PackedJob,
    budget::Budget,
    calendar,
    catalog::JobState,
    commits::Waiter,
    event::{Change, CommitToken, DeviceKey, JobKey, Plan, SavedJob},
    limits,
    mutants::{Mutation, mutated},
    occurrence::Next,
    scheduler::clock::is_ahead_of_clock,
    scheduler::state::Scheduler,
    time::{Instant, Site},
    trigger::Trigger,
    work_queue::{Adoption, Basis, Comparison, Staged, Work},
};

impl Scheduler {
    /// Compares some jobs of a plan, and adopts the plan after the last one.
    pub(crate) fn compare(&mut self, mut comparison: Box<Comparison>, budget: &mut Budget) -> Option<Work> {
        while budget.spend(limits::JOB_COST) {
            let planned = comparison.remaining.next();
            let is_planned = planned.is_some();
            let Some(job) = planned.or_else(|| comparison.ad_hoc.next()) else {
                return self.compared(*comparison, budget);
            };
            if is_planned && !self.free_name(comparison.basis.device, job.body.id()) {
                let error = format!(
                    "job `{0}`: there is a job of that name that was made by hand\ncancel it (`roost cancel`), or give the \
                     plugin's job another name",
                    job.body.id()
                );
                self.plan_failed(comparison.basis.device, error);
                return None;
            }
            match self.stage(&comparison.basis, job) {
                Ok(staged) => comparison.staged.push(staged),
                Err(unchanged) => {
                    comparison.unchanged.insert(unchanged);
                }
            }
        }
        Some(Work::Compare(comparison))
    }

    pub(crate) fn comparison(&self, device: DeviceKey, plan: Plan, site: Site) -> Comparison {
        let mut ad_hoc: Vec<PackedJob> = Vec::new();
        if self.catalog.device(device).is_some_and(|device| device.site != site) {
            let jobs = self.catalog.overrides.ad_hoc().filter_map(|key| self.catalog.job(key));
            ad_hoc.extend(jobs.filter(|state| state.device == device).map(|state| state.job.clone()));
        }
        // The clock may have been set back since the request.
        let (series, requested_at) = (self.agenda.series(), plan.requested_at.min(self.now));
        let basis = Basis { device, requested_at, series, site, is_ad_hoc: false };
        let (remaining, ad_hoc) = (plan.jobs.into_iter(), ad_hoc.into_iter());
        Comparison { basis, remaining, ad_hoc, unchanged: HashSet::new(), staged: Vec::new() }
    }

    /// Stages a job that is new or changed. Returns the key of an unchanged job as the error.
    pub(crate) fn stage(&mut self, basis: &Basis, job: PackedJob) -> Result<Staged, JobKey> {
        let existing = self.catalog.job_key(basis.device, job.body.id());
        let state = existing.and_then(|key| self.catalog.job(key));
        let site = self.catalog.device(basis.device).map(|device| device.site);
        let by_site = matches!(job.trigger, Trigger::Cron(_) | Trigger::Sun(_));
        let moved = by_site && site != Some(basis.site);
        if let (Some(key), Some(state)) = (existing, state)
            && state.job == job
            && !moved
        {
            return Err(key);
        }
        let known = state.map(|state| state.watermark).or_else(|| self.tombstone(basis.device, &job));
        // It does not wait for a clock that was set back while the job was removed or different.
        let ahead = known.filter(|watermark| {
            // A planned occurrence exists once, whatever the clock shows; an ad-hoc job is meant for now.
            let is_meant = basis.is_ad_hoc && matches!(job.trigger, Trigger::At(_)) && *watermark > self.now;
            is_meant || is_ahead_of_clock(&job.trigger, *watermark, self.now)
        });
        if ahead.is_some() && basis.series == self.agenda.series() {
            self.agenda.begin_series(&mut self.out);
        }
        let known = known.filter(|_| ahead.is_none());
        let watermark = known.unwrap_or_else(|| first_watermark(&job, basis.requested_at));
        let planned_late = known.is_none() && matches!(job.trigger, Trigger::At(at) if at < basis.requested_at);
        let after = earliest(&job.trigger, watermark, basis.requested_at);
        let next = self.next_of(&job, basis.device, after, &basis.site);
        let decided = ahead.unwrap_or(Instant::MIN);
        Ok(Staged { job, existing, watermark, decided, next, planned_late })
    }

    /// Returns the watermark of a removed job of the same name (I2).
    fn tombstone(&self, device: DeviceKey, job: &PackedJob) -> Option<Instant> {
        if self.catalog.tombstones.is_empty() || mutated(Mutation::TombstonesAreIgnored) {
            return None;
        }
        let device = self.catalog.device(device)?;
        let plugin = self.catalog.plugin(device.plugin)?;
        self.catalog.tombstones.get(&(plugin.name.clone(), device.name.clone(), job.body.job_id()))
    }

    /// Adopts a plan that was compared completely.
    fn compared(&mut self, comparison: Comparison, budget: &mut Budget) -> Option<Work> {
        let Comparison { basis, staged, unchanged, .. } = comparison;
        let key = basis.device;
        let device = self.catalog.device(key)?;
        let count_unchanged = unchanged.len();
        let mut kept = unchanged;
        kept.extend(staged.iter().filter_map(|staged| staged.existing));
        let is_planned =
            |job: &JobKey| !self.catalog.overrides.is_ad_hoc(*job) || mutated(Mutation::PlanRemovesAdHocJobs);
        let mut gone: Vec<JobKey> = device.jobs().filter(|job| !kept.contains(job) && is_planned(job)).collect();
        gone.sort_unstable();
        let changed = staged.iter().filter(|staged| staged.existing.is_some()).count();
        let counts = &mut self.catalog.plugin_of_mut(key).expect("a device has a plugin").announcement;
        counts.unchanged += count_unchanged;
        counts.gone += gone.len();
        counts.changed += changed;
        counts.new += staged.len() - changed;
        let token = self.commits.token();
        let unconfirmed = Vec::with_capacity(staged.len());
        let (gone, staged) = (gone.into_iter(), staged.into_iter());
        let adoption = Adoption { basis, gone, staged, token, unconfirmed };
        self.adopt(adoption.into(), budget)
    }

    /// Adopts some jobs of a plan. All pieces are committed together.
    pub(crate) fn adopt(&mut self, mut adoption: Box<Adoption>, budget: &mut Budget) -> Option<Work> {
        while budget.spend(limits::JOB_COST) {
            if let Some(job) = adoption.gone.next() {
                self.admit_past(job, adoption.basis.requested_at);
                if !mutated(Mutation::PlanLosesUnsavedRuns) {
                    self.save_runs_of(job);
                }
                self.drop_job(job);
            } else if let Some(staged) = adoption.staged.next() {
                let job = self.adopt_job(&adoption.basis, adoption.token, staged);
                adoption.unconfirmed.push(job);
            } else {
                self.adopted(*adoption);
                return None;
            }
            self.work.set_adopting(true);
        }
        Some(Work::Adopt(adoption))
    }

    /// Completes the adoption of a plan.
    fn adopted(&mut self, adoption: Adoption) {
        let Adoption { basis: Basis { device: key, requested_at, site, .. }, token, unconfirmed, .. } = adoption;
        self.work.set_adopting(false);
        let Some(device) = self.catalog.device_mut(key) else { return };
        device.site = site;
        device.failures = 0;
        device.error = None;
        self.confirm_later(token, unconfirmed);
        // The window of the plan ends with the day after `requested_at`, whenever the reply arrived.
        self.replan_at(key, calendar::next_midnight(requested_at, site.zone));
    }

    /// Makes jobs due as soon as their plan is durable (I3).
    fn confirm_later(&mut self, token: CommitToken, unconfirmed: Vec<JobKey>) {
        if !unconfirmed.is_empty() {
            self.commits.wait(token, Waiter::Plan(unconfirmed), &mut self.out);
        }
    }

    /// Adopts a single job, as if it were the only change of a plan.
    pub(crate) fn adopt_alone(&mut self, basis: &Basis, staged: Staged) -> JobKey {
        let token = self.commits.token();
        let key = self.adopt_job(basis, token, staged);
        self.confirm_later(token, vec![key]);
        key
    }

    fn adopt_job(&mut self, basis: &Basis, token: CommitToken, staged: Staged) -> JobKey {
        let Basis { device, requested_at, series, ref site, .. } = *basis;
        let Staged { job, existing, watermark, decided, mut next, planned_late } = staged;
        // The clock was set back since: an occurrence found by the earlier clock may be too late.
        let is_outdated = series != self.agenda.series();
        let requested_at = requested_at.min(self.now);
        let key = existing
            .unwrap_or_else(|| self.catalog.insert_job(JobState::new(device, job.clone(), watermark, Next::Never)));
        if existing.is_some() {
            // By the old plan, at the old site.
            if !mutated(Mutation::PlanLosesEarlierOccurrences) {
                self.admit_past(key, requested_at);
            }
            // An admitted run keeps its copy of the action.
            self.save_runs_of(key);
            self.disarm_timer(key);
        }
        let is_stale = |state: &&mut JobState| {
            let is_ahead = decided > self.now || is_ahead_of_clock(&job.trigger, state.watermark, self.now);
            is_ahead || (is_outdated && existing.is_none())
        };
        if let Some(state) = self.catalog.job_mut(key).filter(is_stale) {
            state.watermark = watermark.min(self.now);
        }
        if let Some(state) = self.catalog.job(key)
            && (state.watermark > watermark || is_outdated)
        {
            // An occurrence was admitted since the comparison.
            let after = earliest(&job.trigger, state.watermark, requested_at);
            next = self.next_of(&job, device, after, site);
        }
        let Some(state) = self.catalog.job_mut(key) else { return key };
        let before = state.next.due();
        state.grouped = job.body.policy().group().is_some();
        state.job = job.clone();
        state.next = next;
        state.planned_late = planned_late;
        state.unconfirmed = Some(token);
        self.catalog.set_decided(key, decided);
        self.move_skip(key, before);
        if let Some((watermark, due)) = self.progress(key) {
            let decided = self.catalog.decided(key);
            self.out.changes.push(Change::JobSaved(SavedJob { key, device, job, watermark, due, decided }));
        }
        key
    }
}

/// Returns the instant after which a job's first occurrence is searched: recurring triggers do not reach back to before
/// the plan was requested.
fn earliest(trigger: &Trigger, watermark: Instant, requested_at: Instant) -> Instant {
    match trigger {
        Trigger::At(_) => watermark,
        _ => watermark.max(requested_at.plus_ms(-1)),
    }
}

/// Returns the watermark of a new job: nothing reaches back before its first acceptance, except an `at`, which states
/// its own time; an `at` of a group, which has no grace, reaches back only as far as tombstones are kept.
fn first_watermark(job: &PackedJob, requested_at: Instant) -> Instant {
    let before = requested_at.plus_ms(-1);
    match &job.trigger {
        Trigger::At(at) if job.body.policy().group().is_some() => {
            before.min(at.plus_ms(-1).max(requested_at.plus_ms(-limits::TOMBSTONE_MS)))
        }
        Trigger::At(at) => before.min(at.plus_ms(-1)),
        _ => before,
    }
}
