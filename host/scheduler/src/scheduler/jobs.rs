//! From jobs to runs: due occurrences, and how they are admitted.

use std::hash::BuildHasher;

use super::{
    DeviceKey, JobKey, JobState, NextRun, RunSlot, Scheduler, Timer, groups::GroupKey, overlap::OverlapDecision,
    run::Run,
};
use crate::{
    body::{Body, PackedJob},
    event::{Change, RunEnded, Step},
    jitter,
    mutation::{Mutation, mutated},
    names::{Origin, RunId},
    outcome::{Cause, Missed, MissedReason, Outcome},
    time::{Instant, Site},
    trigger::{Search, SunCache},
};

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next occurrence, and the jitter of its run in milliseconds.
    Due { occurrence: Instant, jitter_ms: u32 },
    /// No occurrence up to then, when the search continues.
    Search(Instant),
    /// It is never due again.
    Never,
}

impl Next {
    pub(super) fn due(self) -> Option<Instant> {
        match self {
            Self::Due { occurrence, .. } => Some(occurrence),
            Self::Search(_) | Self::Never => None,
        }
    }

    /// Returns when the job's timer fires.
    pub(super) fn timer(self) -> Option<Instant> {
        match self {
            Self::Due { occurrence, jitter_ms } => Some(occurrence.plus_ms(jitter_ms.into())),
            Self::Search(from) => Some(from),
            Self::Never => None,
        }
    }
}

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
        for earlier in self.run_slots(key).collect::<Vec<_>>() {
            self.end_if_given_up(now, earlier, out);
            // The end of the earlier run may have armed it for this occurrence.
            self.disarm_timer(key);
        }
        let earlier: Vec<RunSlot> = self.run_slots(key).collect();
        let decision =
            if earlier.is_empty() { OverlapDecision::Join } else { self.overlap_decision(now, &earlier, &body, start) };
        if !matches!(decision, OverlapDecision::TakePlace) {
            // I2: the stored watermark does not pass an unsaved run, so only the last run may be unsaved.
            self.save_runs_of(key, out);
        }
        let Some(state) = self.jobs.get_mut(key) else { return };
        if !mutated(Mutation::AdmittedOccurrenceIsUndecided) {
            state.watermark = occurrence;
        }
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
        if self.run_slots(key).nth(1).is_some() {
            self.save_run(slot, out);
        }
        self.await_step(now, slot);
    }

    /// Returns what held up an occurrence that has passed.
    pub(super) fn cause_of(&self, occurrence: Instant, planned_late: bool) -> Cause {
        if planned_late {
            Cause::PlannedLate
        } else if self.was_skipped_by_clock(occurrence) {
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
        let mut runs = self.run_slots(key).filter_map(|slot| self.runs.get(slot));
        let unsaved = runs.find(|run| run.key.is_none() && !mutated(Mutation::WatermarkPassesUnsavedRun));
        Some(match unsaved {
            Some(run) => (run.id.occurrence.plus_ms(-1), Some(run.id.occurrence)),
            None => (state.watermark, state.next.due()),
        })
    }

    /// Returns what a job waits for after an occurrence.
    pub(super) fn next_after(&mut self, key: JobKey, after: Instant, site: &Site) -> Next {
        let Some(state) = self.jobs.get(key) else { return Next::Never };
        let (found, most) = next_with_jitter(&state.job, after, site, &mut self.sun_cache);
        self.next(&state.job, state.device, found, most)
    }

    /// Returns what a job of a device waits for after an instant.
    pub(super) fn next_of(&mut self, job: &PackedJob, device: DeviceKey, after: Instant, site: &Site) -> Next {
        let (found, most) = next_with_jitter(job, after, site, &mut self.sun_cache);
        self.next(job, device, found, most)
    }

    fn next(&self, job: &PackedJob, device: DeviceKey, found: Search, most: u32) -> Next {
        match found {
            Search::Found(occurrence) => {
                Next::Due { occurrence, jitter_ms: self.draw_jitter(job, device, occurrence, most) }
            }
            Search::NotUntil(until) => Next::Search(until),
            Search::Never(_) => Next::Never,
        }
    }

    /// Returns the jitter of a run, in milliseconds.
    pub(super) fn jitter_of(&mut self, job: &PackedJob, device: DeviceKey, occurrence: Instant, site: &Site) -> u32 {
        let most = most_jitter(job, occurrence, site, &mut self.sun_cache);
        self.draw_jitter(job, device, occurrence, most)
    }

    fn draw_jitter(&self, job: &PackedJob, device: DeviceKey, occurrence: Instant, most: u32) -> u32 {
        if most == 0 { 0 } else { jitter::draw(&self.run_of(job, device, occurrence), most) }
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
        let may_be_due =
            |state: &&JobState| state.unconfirmed.is_none() || mutated(Mutation::JobIsDueBeforePlanIsDurable);
        let Some(state) = self.jobs.get(key).filter(may_be_due) else { return };
        let Some(at) = state.next.timer() else { return };
        self.timers.insert((at, Timer::Job(key)));
        if state.grouped
            && state.next.due().is_some()
            && let Some(group) = self.group_of_job(key)
        {
            self.groups.entry(group).or_default().due.insert((at, key));
        }
    }

    pub(super) fn disarm_timer(&mut self, key: JobKey) {
        let Some(state) = self.jobs.get(key) else { return };
        let (at, grouped) = (state.next.timer(), state.grouped);
        if let Some(at) = at {
            self.timers.remove(&(at, Timer::Job(key)));
            if grouped {
                self.leave_group(key, at);
            }
        }
    }

    /// Removes a due time of a job from its group.
    pub(super) fn leave_group(&mut self, key: JobKey, at: Instant) {
        let Some(name) = self.group_of_job(key) else { return };
        if let Some(group) = self.groups.get_mut(&name) {
            group.due.remove(&(at, key));
            self.drop_empty_group(&name);
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
        self.run_of(&state.job, state.device, occurrence)
    }

    fn run_of(&self, job: &PackedJob, device: DeviceKey, occurrence: Instant) -> RunId {
        let device = self.devices.get(device).expect("a job has a device");
        let plugin = self.plugins.get(device.plugin).expect("a device has a plugin");
        let (plugin, device) = (plugin.name.clone(), device.name.clone());
        // Triggers that count elapsed time go back with the clock, and a plan may give any job such a trigger.
        let origin = if self.series == 0 { Origin::Trigger } else { Origin::Series(self.series) };
        RunId { plugin, device, job: job.body.job_id(), occurrence, origin }
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

/// Returns a job's first occurrence after an instant, and the largest jitter of its run.
fn next_with_jitter(job: &PackedJob, after: Instant, site: &Site, sun_cache: &mut SunCache) -> (Search, u32) {
    let found = job.trigger.next(after, site, sun_cache);
    let most = if let Search::Found(occurrence) = found { most_jitter(job, occurrence, site, sun_cache) } else { 0 };
    (found, most)
}

/// Returns when a run starts: its occurrence plus its jitter.
#[must_use]
pub fn start_of(job: &PackedJob, run: &RunId, site: &Site, sun_cache: &mut SunCache) -> Instant {
    let most = most_jitter(job, run.occurrence, site, sun_cache);
    let jitter_ms = if most == 0 { 0 } else { jitter::draw(run, most) };
    run.occurrence.plus_ms(jitter_ms.into())
}

/// Returns the largest jitter of an occurrence: less than the time to the next occurrence, so that the runs of a job
/// start in order.
fn most_jitter(job: &PackedJob, occurrence: Instant, site: &Site, sun_cache: &mut SunCache) -> u32 {
    let most = job.body.policy().jitter_ms;
    if most > 0
        && let Search::Found(next) = job.trigger.next(occurrence, site, sun_cache)
    {
        let room = next.ms_since(occurrence) - 1;
        return most.min(u32::try_from(room).unwrap_or(u32::MAX));
    }
    most
}
