//! From jobs to runs: due occurrences, and how they are admitted.

use std::hash::BuildHasher;

use super::{
    Device, DeviceKey, JobKey, JobState, Next, NextRun, Plugin, RunSlot, Scheduler, Slab, Timer,
    overlap::OverlapDecision,
};
use crate::{
    agenda::GroupKey,
    body::{Body, PackedJob},
    event::{Change, RunEnded, Step},
    names::{Origin, RunId},
    outcome::{Cause, Missed, MissedReason, Outcome},
    runs::Run,
    time::{Instant, Site},
};

impl From<Next> for NextRun {
    fn from(next: Next) -> Self {
        match next {
            Next::Due { occurrence, .. } => Self::Due(occurrence),
            Next::Search(until) => Self::NotBefore(until),
            Next::Never => Self::Never,
        }
    }
}

/// A due occurrence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) occurrence: Instant,
    /// The jitter of its run, in milliseconds.
    pub(super) jitter_ms: u32,
    /// What the job waits for after it.
    pub(super) following: Next,
}

impl Scheduler {
    /// Admits a due occurrence as a run, or records why not.
    pub(super) fn admit(&mut self, now: Instant, key: JobKey, due: Due, out: &mut Step) {
        let Due { occurrence, jitter_ms, following } = due;
        let id = self.run_id(key, occurrence);
        let Some(state) = self.jobs.get(key) else { return };
        let (body, planned_late) = (state.job.body.clone(), state.planned_late);
        let policy = body.policy();
        let start = occurrence.plus_ms(jitter_ms.into());
        for earlier in self.runs.of_job(key).collect::<Vec<_>>() {
            self.end_if_given_up(now, earlier, out);
            // The end of the earlier run may have armed it for this occurrence.
            self.disarm_timer(key);
        }
        let earlier: Vec<RunSlot> = self.runs.of_job(key).collect();
        let decision =
            if earlier.is_empty() { OverlapDecision::Join } else { self.overlap_decision(now, &earlier, &body, start) };
        if !matches!(decision, OverlapDecision::TakePlace) {
            // I2: the stored watermark does not pass an unsaved run, so only the last run may be unsaved.
            self.save_runs_of(key, out);
        }
        let Some(state) = self.jobs.get_mut(key) else { return };
        state.watermark = occurrence;
        state.next = following;
        self.arm_timer(key);

        if let OverlapDecision::Skip(skipped) = decision {
            return self.decide(now, key, id, Outcome::Skipped(skipped), out);
        }
        let late_ms = now.ms_since(start);
        if late_ms > i64::from(policy.grace_ms) && policy.group().is_none() {
            let cause = self.cause_of(occurrence, planned_late);
            let why = MissedReason::TooLate { late_ms, grace_ms: policy.grace_ms, cause };
            return self.decide(now, key, id, Outcome::Missed(Missed { why, several: None }), out);
        }
        let group = policy.group().cloned();
        let slot = self.insert_run(Run::new(id.clone(), Some(key), body, policy, start));
        if let Some(group) = group {
            self.replace_in_group(now, slot, &id, &group, out);
        } else {
            self.end_earlier_runs(now, &earlier, occurrence, &decision, slot, out);
        }
        if self.runs.of_job(key).nth(1).is_some() {
            self.save_run(slot, out);
        }
        self.await_step(now, slot);
    }

    /// Returns what held up an occurrence that has passed.
    pub(super) fn cause_of(&self, occurrence: Instant, planned_late: bool) -> Cause {
        if planned_late {
            Cause::PlannedLate
        } else if self.agenda.was_skipped_by_clock(occurrence) {
            Cause::ClockSet
        } else {
            Cause::HostAway
        }
    }

    /// Records the outcome of an occurrence that does not become a run (I13).
    pub(super) fn decide(&mut self, now: Instant, key: JobKey, id: RunId, outcome: Outcome, out: &mut Step) {
        let ended = RunEnded { key: None, id, outcome, body: None, started: None, ended: now, attempts: 0, note: None };
        out.changes.push(Change::RunEnded(ended));
        self.save_progress(key, out);
    }

    /// Saves a job's watermark. I2: the stored watermark does not pass an unsaved run.
    pub(super) fn save_progress(&self, key: JobKey, out: &mut Step) {
        let (Some((watermark, due)), Some(state)) = (self.progress(key), self.jobs.get(key)) else { return };
        out.changes.push(Change::JobAdvanced { key, watermark, due, decided: state.decided });
    }

    /// Returns the watermark and the next occurrence of a job, as they are to be stored.
    pub(super) fn progress(&self, key: JobKey) -> Option<(Instant, Option<Instant>)> {
        let state = self.jobs.get(key)?;
        let mut runs = self.runs.of_job(key).filter_map(|slot| self.runs.get(slot));
        let unsaved = runs.find(|run| run.key.is_none());
        Some(match unsaved {
            Some(run) => (run.id.occurrence.plus_ms(-1), Some(run.id.occurrence)),
            None => (state.watermark, state.next.due()),
        })
    }

    /// Returns what a job waits for after an occurrence.
    pub(super) fn next_after(&mut self, key: JobKey, after: Instant, site: &Site) -> Next {
        let Self { jobs, agenda, devices, plugins, .. } = self;
        let Some(state) = jobs.get(key) else { return Next::Never };
        let origin = agenda.origin();
        agenda.next(&state.job, after, site, |at| run_of(plugins, devices, &state.job, state.device, at, origin))
    }

    /// Returns what a job of a device waits for after an instant.
    pub(super) fn next_of(&mut self, job: &PackedJob, device: DeviceKey, after: Instant, site: &Site) -> Next {
        let Self { agenda, devices, plugins, .. } = self;
        let origin = agenda.origin();
        agenda.next(job, after, site, |at| run_of(plugins, devices, job, device, at, origin))
    }

    /// Returns the jitter of a run, in milliseconds.
    pub(super) fn jitter_of(&mut self, job: &PackedJob, device: DeviceKey, occurrence: Instant, site: &Site) -> u32 {
        let Self { agenda, devices, plugins, .. } = self;
        let origin = agenda.origin();
        agenda.jitter_of(job, occurrence, site, |at| run_of(plugins, devices, job, device, at, origin))
    }

    /// Continues the search for a job's next occurrence.
    pub(super) fn search(&mut self, key: JobKey, after: Instant, out: &mut Step) {
        let site = self.jobs.get(key).and_then(|state| self.devices.get(state.device)).map(|device| device.site);
        let Some(site) = site else { return };
        let next = self.next_after(key, after, &site);
        if let Some(state) = self.jobs.get_mut(key) {
            state.next = next;
        }
        self.arm_timer(key);
        if next.due().is_some() {
            self.save_progress(key, out);
        }
    }

    /// Arms a job's timer, unless its plan is not durable yet.
    pub(super) fn arm_timer(&mut self, key: JobKey) {
        let Some(state) = self.jobs.get(key).filter(|state| state.unconfirmed.is_none()) else { return };
        let Some(at) = state.next.timer() else { return };
        self.agenda.arm(at, Timer::Job(key));
        if state.grouped
            && state.next.due().is_some()
            && let Some(group) = self.group_of_job(key)
        {
            self.agenda.join_group(group, at, key);
        }
    }

    pub(super) fn disarm_timer(&mut self, key: JobKey) {
        let Some(state) = self.jobs.get(key) else { return };
        let (at, grouped) = (state.next.timer(), state.grouped);
        if let Some(at) = at {
            self.agenda.disarm(at, Timer::Job(key));
            if grouped {
                self.leave_group(key, at);
            }
        }
    }

    /// Removes a due time of a job from its group.
    pub(super) fn leave_group(&mut self, key: JobKey, at: Instant) {
        if let Some(group) = self.group_of_job(key) {
            self.agenda.leave_group(&group, at, key);
        }
    }

    pub(super) fn group_of_job(&self, key: JobKey) -> Option<GroupKey> {
        let state = self.jobs.get(key)?;
        let device = self.devices.get(state.device)?;
        let plugin = self.plugins.get(device.plugin)?;
        Some((plugin.name.clone(), device.name.clone(), state.job.body.policy().group()?.clone()))
    }

    /// Returns the id of the run of one occurrence of a job (I2).
    pub(super) fn run_id(&self, key: JobKey, occurrence: Instant) -> RunId {
        let state = self.jobs.get(key).expect("the caller has the job");
        run_of(&self.plugins, &self.devices, &state.job, state.device, occurrence, self.agenda.origin())
    }

    /// Finds a device's job by its id.
    pub(super) fn job_key(&self, device: DeviceKey, id: &str) -> Option<JobKey> {
        let id = id.as_bytes();
        let has_id = |key: &JobKey| self.jobs.get(*key).is_some_and(|state| state.job.body.id_bytes() == id);
        self.devices.get(device)?.jobs.find(self.hasher.hash_one(id), has_id).copied()
    }

    /// Adds a job to its device's index.
    pub(super) fn index_job(&mut self, device: DeviceKey, key: JobKey) {
        let (Some(device), Some(state)) = (self.devices.get_mut(device), self.jobs.get(key)) else { return };
        let hash = |body: &Body| self.hasher.hash_one(body.id_bytes());
        let hash_of = |key: &JobKey| self.jobs.get(*key).map_or(0, |state| hash(&state.job.body));
        device.jobs.insert_unique(hash(&state.job.body), key, hash_of);
    }

    /// Removes a job, also from its device's index.
    pub(super) fn remove_job(&mut self, key: JobKey) {
        let Some(state) = self.jobs.remove(key) else { return };
        let Some(device) = self.devices.get_mut(state.device) else { return };
        let hash = self.hasher.hash_one(state.job.body.id_bytes());
        if let Ok(entry) = device.jobs.find_entry(hash, |entry| *entry == key) {
            entry.remove();
        }
    }
}

impl JobState {
    /// Returns where the search for the next occurrence continues.
    pub(super) fn watermark_or_search(&self) -> Instant {
        match self.next {
            Next::Search(from) => from.max(self.watermark),
            Next::Due { .. } | Next::Never => self.watermark,
        }
    }
}

fn run_of(
    plugins: &Slab<Plugin>,
    devices: &Slab<Device>,
    job: &PackedJob,
    device: DeviceKey,
    occurrence: Instant,
    origin: Origin,
) -> RunId {
    let device = devices.get(device).expect("a job has a device");
    let plugin = plugins.get(device.plugin).expect("a device has a plugin");
    let (plugin, device) = (plugin.name.clone(), device.name.clone());
    RunId { plugin, device, job: job.body.job_id(), occurrence, origin }
}
