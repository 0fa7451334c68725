//! From a job to a run: occurrences, misfires, overlap.

use std::hash::BuildHasher;

use super::{DeviceKey, JobKey, JobState, NextRun, Scheduler, Timer, runs::Run};
use crate::{
    body::{Body, PackedJob},
    event::{Change, RunEnded, Step},
    jitter, limits,
    names::RunId,
    outcome::{Cause, Missed, Outcome},
    time::{Instant, Site},
    trigger::{Search, Sky, Trigger},
};

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The occurrence, and how much later its run starts.
    Due { occurrence: Instant, jitter_ms: u32 },
    /// Nothing up to then; then the search goes on.
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

    /// When the job's timer is to go off.
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

/// Occurrences that were missed, the newest one apart.
struct Older {
    newest: Instant,
    before_newest: Instant,
    count: u32,
    more: bool,
}

impl Scheduler {
    /// A job's timer went off.
    pub(super) fn job_timer(&mut self, now: Instant, key: JobKey, out: &mut Step) {
        let Some(state) = self.jobs.get(key) else { return };
        let Next::Due { occurrence, jitter_ms } = state.next else {
            return self.search(key, state.watermark_or_search(), out);
        };
        let Some(device) = self.devices.get(state.device) else { return };
        let site = device.site;
        let following = self.following(key, occurrence, &site);
        match following {
            Next::Due { .. } if following.timer().is_some_and(|start| start <= now) => {
                self.misfired(now, key, occurrence, &site, out);
            }
            _ => self.admit(now, key, occurrence, jitter_ms, following, out),
        }
    }

    /// Several occurrences have passed: the newest one is made up for, the older ones are recorded.
    fn misfired(&mut self, now: Instant, key: JobKey, oldest: Instant, site: &Site, out: &mut Step) {
        let Some(state) = self.jobs.get(key) else { return };
        let (job, device) = (state.job.clone(), state.device);
        let older = older_than_newest(&job.trigger, oldest, now, site, &mut self.sky);
        let missed = Missed::Superseded { by: older.newest, since: oldest, count: older.count, more: older.more };
        let id = self.run_id(key, older.before_newest);
        self.decide(now, key, id, Outcome::Missed(missed), out);
        let jitter_ms = self.jitter_of(&job, device, older.newest, site);
        let following = self.following(key, older.newest, site);
        self.admit(now, key, older.newest, jitter_ms, following, out);
    }

    /// An occurrence is due: make a run of it, or record why not.
    fn admit(
        &mut self,
        now: Instant,
        key: JobKey,
        occurrence: Instant,
        jitter_ms: u32,
        following: Next,
        out: &mut Step,
    ) {
        // Before the watermark moves: what is written down then must not pass this occurrence (I2).
        if let Some(earlier) = self.jobs.get(key).and_then(|state| state.run) {
            self.end_if_given_up(now, earlier, out);
        }
        let id = self.run_id(key, occurrence);
        let Some(state) = self.jobs.get_mut(key) else { return };
        state.watermark = occurrence;
        state.next = following;
        let (body, planned_late) = (state.job.body.clone(), state.planned_late);
        let earlier = state.run;
        self.arm_timer(key);

        if let Some(slot) = earlier
            && let Some(run) = self.runs.get(slot)
            && !run.has_not_started()
        {
            let outcome = Outcome::Skipped { earlier: run.id.occurrence };
            return self.decide(now, key, id, outcome, out);
        }
        let start = occurrence.plus_ms(jitter_ms.into());
        let late_ms = now.ms_since(start);
        let policy = body.policy();
        if late_ms > i64::from(policy.grace_ms) {
            let cause = if planned_late { Cause::PlannedLate } else { Cause::HostAway };
            let missed = Missed::TooLate { late_ms, grace_ms: policy.grace_ms, cause };
            return self.decide(now, key, id, Outcome::Missed(missed), out);
        }
        let slot = self.runs.insert(Run::new(id, key, body, policy, start));
        if let Some(state) = self.jobs.get_mut(key) {
            state.run = Some(slot);
        }
        if let Some(earlier) = earlier {
            // Neither has started: the newer one takes the older one's place.
            let since = self.runs.get(earlier).map_or(occurrence, |run| run.id.occurrence);
            let missed = Missed::Superseded { by: occurrence, since, count: 1, more: false };
            self.end(now, earlier, Outcome::Missed(missed), out);
        }
        self.await_step(now, slot);
    }

    /// Decides an occurrence that no run is made of (I13).
    fn decide(&mut self, now: Instant, key: JobKey, id: RunId, outcome: Outcome, out: &mut Step) {
        out.changes.push(Change::RunEnded(RunEnded { key: None, id, outcome, started: None, ended: now, attempts: 0 }));
        self.save_progress(key, out);
    }

    /// Writes down up to where a job is decided. I2: what is on disk does not pass a run that only the memory knows.
    pub(super) fn save_progress(&self, key: JobKey, out: &mut Step) {
        let Some((watermark, due)) = self.progress(key) else { return };
        out.changes.push(Change::JobAdvanced { key, watermark, due });
    }

    /// Up to where a job is decided, and what comes then, as the disk has to know it.
    pub(super) fn progress(&self, key: JobKey) -> Option<(Instant, Option<Instant>)> {
        let state = self.jobs.get(key)?;
        let unsaved = state.run.and_then(|slot| self.runs.get(slot)).filter(|run| run.key.is_none());
        Some(match unsaved {
            Some(run) => (run.id.occurrence.plus_ms(-1), Some(run.id.occurrence)),
            None => (state.watermark, state.next.due()),
        })
    }

    /// What a job waits for after an occurrence.
    pub(super) fn following(&mut self, key: JobKey, after: Instant, site: &Site) -> Next {
        let Some(state) = self.jobs.get(key) else { return Next::Never };
        let (found, most) = look(&state.job, after, site, &mut self.sky);
        self.next(&state.job.body, state.device, found, most)
    }

    /// What a job of a device waits for after an instant.
    pub(super) fn next_of(&mut self, job: &PackedJob, device: DeviceKey, after: Instant, site: &Site) -> Next {
        let (found, most) = look(job, after, site, &mut self.sky);
        self.next(&job.body, device, found, most)
    }

    fn next(&self, body: &Body, device: DeviceKey, found: Search, most: u32) -> Next {
        match found {
            Search::Found(occurrence) => Next::Due { occurrence, jitter_ms: self.draw(body, device, occurrence, most) },
            Search::NotUntil(until) => Next::Search(until),
            Search::Never(_) => Next::Never,
        }
    }

    /// How much later than its occurrence a run starts.
    pub(super) fn jitter_of(&mut self, job: &PackedJob, device: DeviceKey, occurrence: Instant, site: &Site) -> u32 {
        let most = most_jitter(job, occurrence, site, &mut self.sky);
        self.draw(&job.body, device, occurrence, most)
    }

    fn draw(&self, body: &Body, device: DeviceKey, occurrence: Instant, most: u32) -> u32 {
        if most == 0 { 0 } else { jitter::draw(&self.run_of(body, device, occurrence), most) }
    }

    /// Goes on with a search that found nothing yet.
    fn search(&mut self, key: JobKey, after: Instant, out: &mut Step) {
        let site = self.jobs.get(key).and_then(|state| self.devices.get(state.device)).map(|device| device.site);
        let Some(site) = site else { return };
        let next = self.following(key, after, &site);
        if let Some(state) = self.jobs.get_mut(key) {
            state.next = next;
        }
        self.arm_timer(key);
        if next.due().is_some() {
            self.save_progress(key, out);
        }
    }

    /// Sets the timer for what a job waits for, unless its plan is not durable yet.
    pub(super) fn arm_timer(&mut self, key: JobKey) {
        if let Some(state) = self.jobs.get(key)
            && state.unconfirmed.is_none()
            && let Some(at) = state.next.timer()
        {
            self.timers.insert((at, Timer::Job(key)));
        }
    }

    pub(super) fn disarm_timer(&mut self, key: JobKey) {
        if let Some(at) = self.jobs.get(key).and_then(|state| state.next.timer()) {
            self.timers.remove(&(at, Timer::Job(key)));
        }
    }

    /// I2: one occurrence of one job.
    pub(super) fn run_id(&self, key: JobKey, occurrence: Instant) -> RunId {
        let state = self.jobs.get(key).expect("the caller has the job");
        self.run_of(&state.job.body, state.device, occurrence)
    }

    fn run_of(&self, body: &Body, device: DeviceKey, occurrence: Instant) -> RunId {
        let device = self.devices.get(device).expect("a job has a device");
        let plugin = self.plugins.get(device.plugin).expect("a device has a plugin");
        RunId { plugin: plugin.name.clone(), device: device.name.clone(), job: body.job_id(), occurrence }
    }

    /// A device's job.
    pub(super) fn job_key(&self, device: DeviceKey, id: &str) -> Option<JobKey> {
        let id = id.as_bytes();
        let has_id = |key: &JobKey| self.jobs.get(*key).is_some_and(|state| state.job.body.id_bytes() == id);
        self.devices.get(device)?.jobs.find(self.hasher.hash_one(id), has_id).copied()
    }

    /// A device has one more job.
    pub(super) fn index_job(&mut self, device: DeviceKey, key: JobKey) {
        let (Some(device), Some(state)) = (self.devices.get_mut(device), self.jobs.get(key)) else { return };
        let hash = |body: &Body| self.hasher.hash_one(body.id_bytes());
        let hash_of = |key: &JobKey| self.jobs.get(*key).map_or(0, |state| hash(&state.job.body));
        device.jobs.insert_unique(hash(&state.job.body), key, hash_of);
    }

    /// A job is gone.
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
    /// Where a search goes on.
    fn watermark_or_search(&self) -> Instant {
        match self.next {
            Next::Search(from) => from.max(self.watermark),
            Next::Due { .. } | Next::Never => self.watermark,
        }
    }
}

/// A job's first occurrence after an instant, and how much later its run starts at most.
fn look(job: &PackedJob, after: Instant, site: &Site, sky: &mut Sky) -> (Search, u32) {
    let found = job.trigger.next(after, site, sky);
    let most = if let Search::Found(occurrence) = found { most_jitter(job, occurrence, site, sky) } else { 0 };
    (found, most)
}

/// Less than to the next occurrence, so that the runs of a job start in their order.
fn most_jitter(job: &PackedJob, occurrence: Instant, site: &Site, sky: &mut Sky) -> u32 {
    let most = job.body.policy().jitter_ms;
    if most > 0
        && let Search::Found(next) = job.trigger.next(occurrence, site, sky)
    {
        let room = next.ms_since(occurrence) - 1;
        return most.min(u32::try_from(room).unwrap_or(u32::MAX));
    }
    most
}

/// Finds the newest of several occurrences that have passed, and counts the others.
fn older_than_newest(trigger: &Trigger, oldest: Instant, now: Instant, site: &Site, sky: &mut Sky) -> Older {
    let mut older = Older { newest: oldest, before_newest: oldest, count: 0, more: false };
    if let Trigger::Every(every) = trigger {
        let passed = now.ms_since(oldest) / i64::from(every.period_ms);
        older.newest = oldest.plus_ms(passed * i64::from(every.period_ms));
        older.before_newest = older.newest.plus_ms(-i64::from(every.period_ms));
        older.count = u32::try_from(passed).unwrap_or(u32::MAX);
        return older;
    }
    while let Search::Found(next) = trigger.next(older.newest, site, sky)
        && next <= now
    {
        if older.count == limits::LOOK_BACK {
            older.more = true;
            break;
        }
        older.before_newest = older.newest;
        older.newest = next;
        older.count += 1;
    }
    let mut until = now;
    while older.more {
        match trigger.last(older.newest, until, site, sky) {
            Search::Found(newest) => {
                older.before_newest = older.newest;
                older.newest = newest;
                break;
            }
            Search::NotUntil(earlier) if earlier > older.newest => until = earlier,
            Search::NotUntil(_) | Search::Never(_) => break,
        }
    }
    older
}
