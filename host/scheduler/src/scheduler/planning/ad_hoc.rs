//! Ad-hoc jobs: made by hand, and changed by no plan.

use crate::{
    budget::Budget,
    event::{
        AdHoc, ByHand, DeviceKey, Done, Effect, Idempotency, JobKey, NewJob, Override, Refusal, RequestId, Version,
    },
    limits,
    mutants::{Mutation, mutated},
    names::{JobName, PluginName},
    outcome::Cancelled,
    scheduler::state::Scheduler,
    scheduler::state::api_device,
    work_queue::Basis,
};

impl Scheduler {
    /// Adds an ad-hoc job, and answers the request.
    pub(crate) fn schedule(&mut self, request: RequestId, new: NewJob) {
        let answer = self.try_schedule(new);
        self.out.effects.push(Effect::Answer { request, answer });
    }

    fn try_schedule(&mut self, new: NewJob) -> Result<Done, Refusal> {
        let NewJob { plugin, device, job, idempotency, replaces } = new;
        if let Some(made) = idempotency.and_then(|idempotency| self.made_before(idempotency)) {
            return made.map(|job| Done::Job { job, is_new: false });
        }
        let is_host = plugin == PluginName::host() && device == api_device();
        let place = if is_host { self.api_device() } else { self.find_device(&plugin, &device)? };
        let name = (plugin, device, job.body.job_id());
        let existing = self.catalog.job_key(place, job.body.id());
        if let Some(existing) = existing {
            self.may_replace(existing, &name, replaces)?;
        }
        let replaced = existing.and_then(|key| self.catalog.overrides.bytes_of(key));
        self.make_room_for_ad_hoc(replaced, job.body.bytes())?;
        let Some(site) = self.catalog.device(place).map(|device| device.site) else { return Ok(Done::Nothing) };
        let series = self.agenda.series();
        let alone = Basis { device: place, requested_at: self.now, series, site, is_ad_hoc: true };
        let (key, is_other) = match self.stage(&alone, job) {
            Ok(staged) => (self.adopt_alone(&alone, staged), true),
            Err(unchanged) => (unchanged, false),
        };
        if is_other {
            // A new definition replaces the old one, also for runs that have not started.
            self.end_unstarted(key, &Cancelled::JobReplaced);
        }
        let made = self.now;
        let made_by = |before: Option<&AdHoc>| {
            let idempotency = idempotency.or_else(|| before.and_then(|before| before.idempotency));
            Some(AdHoc { made, idempotency })
        };
        let change = |job_override: &mut Override| {
            job_override.ad_hoc = made_by(job_override.ad_hoc.as_ref());
            job_override.skip = job_override.skip.filter(|_| !is_other);
        };
        self.change_override(key, change);
        if is_other {
            let change = if existing.is_none() { ByHand::Made } else { ByHand::Replaced };
            self.out.effects.push(Effect::ByHand(change(name.clone())));
        }
        Ok(Done::Job { job: name, is_new: existing.is_none() })
    }

    /// Returns the job that an earlier request with the same key has made, if any; a different request with that key is
    /// refused.
    pub fn made_before(&self, idempotency: Idempotency) -> Option<Result<JobName, Refusal>> {
        let key = self.catalog.overrides.made_by(&idempotency.key)?;
        let before = self.catalog.overrides.get(key)?.ad_hoc.as_ref()?.idempotency?;
        if before.request != idempotency.request {
            let what = "the idempotency key was used before, with another request".to_owned();
            return Some(Err(Refusal::Conflict(what)));
        }
        Some(Ok(self.catalog.name_of(key)))
    }

    fn may_replace(&self, key: JobKey, (plugin, device, job): &JobName, replaces: bool) -> Result<(), Refusal> {
        match () {
            () if !self.catalog.overrides.is_ad_hoc(key) => {
                Err(Refusal::Conflict(format!("job `{plugin}/{device}/{job}` is planned by its plugin")))
            }
            () if !replaces => Err(Refusal::Conflict(format!("there is already a job `{plugin}/{device}/{job}`"))),
            () => Ok(()),
        }
    }

    /// Ensures room for an ad-hoc job, by removing finished ones if necessary.
    fn make_room_for_ad_hoc(&mut self, replaced: Option<usize>, bytes: usize) -> Result<(), Refusal> {
        let has_place = |of: &Self| replaced.is_some() || of.catalog.overrides.ad_hoc().len() < limits::AD_HOC_JOBS;
        let has_room = |of: &Self| {
            of.catalog.overrides.ad_hoc_bytes() - replaced.unwrap_or_default() + bytes <= limits::AD_HOC_BYTES
        };
        if replaced.is_none() && !(has_place(self) && has_room(self)) {
            self.drop_finished(self.now, &mut Budget::of_step());
        }
        match () {
            () if !has_place(self) => {
                Err(Refusal::TooMany(format!("there are already {} jobs that were made by hand", limits::AD_HOC_JOBS)))
            }
            () if !has_room(self) => {
                let most = limits::AD_HOC_BYTES >> 20;
                Err(Refusal::TooMany(format!("the jobs that were made by hand would exceed {most} MiB")))
            }
            () => Ok(()),
        }
    }

    /// Cancels an ad-hoc job, and answers the request. Owed steps of its runs are sent at once.
    pub(crate) fn cancel(&mut self, request: RequestId, name: &JobName) {
        let answer = self.try_cancel(name);
        self.out.effects.push(Effect::Answer { request, answer });
    }

    fn try_cancel(&mut self, name: &JobName) -> Result<Done, Refusal> {
        let key = self.find_job(name)?;
        self.may_replace(key, name, true)?;
        // Occurrences that are due at this moment are decided, too.
        if !mutated(Mutation::CancelLeavesDueUndecided) {
            self.admit_past(key, self.now.plus_ms(1));
        }
        self.end_unstarted(key, &Cancelled::JobCancelled);
        for slot in self.runs.of_job(key).collect::<Vec<_>>() {
            self.cut_short(slot, Cancelled::JobCancelled, None);
        }
        self.save_runs_of(key);
        self.drop_job(key);
        self.out.effects.push(Effect::ByHand(ByHand::Cancelled(name.clone())));
        Ok(Done::Nothing)
    }

    /// Returns the device of the host's own jobs; the first of them creates it.
    fn api_device(&mut self) -> DeviceKey {
        let (plugin, device) = (PluginName::host(), api_device());
        if let Ok(key) = self.find_device(&plugin, &device) {
            return key;
        }
        let grant = self.host.grant.clone();
        let plugin_key = self.plugin_or_new(&plugin, Version::BUILT_IN, &grant);
        let key = self.catalog.insert_device(plugin_key, device, self.host.site);
        self.save_device(key);
        key
    }

    /// Applies the host's current site, which may differ from that of the last run.
    pub(crate) fn move_host_device(&mut self) {
        if let Ok(key) = self.find_device(&PluginName::host(), &api_device())
            && let Some(device) = self.catalog.device_mut(key)
        {
            device.site = self.host.site;
            device.next_site = self.host.site;
        }
    }
}
