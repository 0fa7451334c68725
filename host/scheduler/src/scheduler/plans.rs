//! From a plan to jobs: what is new, changed, gone, unchanged. One queue of work, done in order and in bounded pieces
//! (I10): a device's plan is compared piece by piece, and takes effect, and is committed, as a whole.

use std::{collections::HashSet, mem, sync::Arc, vec};

use super::{Device, DeviceKey, Instant, JobKey, JobState, Plugin, PluginKey, Scheduler, Ticket, Timer, jobs::Next};
use crate::{
    calendar,
    event::{Announcement, Change, Effect, Generation, Loaded, Plan, Step, Tombstone, Version},
    limits,
    model::Job,
    names::{DeviceName, PluginName},
    outcome::{Cancelled, Outcome},
    time::Site,
    trigger::Trigger,
};

/// Something to be done to the jobs.
#[derive(Debug)]
pub(super) enum Work {
    Load(Box<Loaded>),
    Remove(PluginName),
    /// One device's answer to a question for its plan.
    Replan {
        plugin: PluginName,
        device: DeviceName,
        generation: Generation,
        plan: Result<Plan, String>,
    },
    Compare(Box<Comparison>),
    DropDevice(DeviceKey, Cancelled),
    /// All devices of a plugin are done, of a new version if there is one.
    Finish(PluginKey, Option<Version>),
}

/// A device's plan, being compared with the jobs that it has.
#[derive(Debug)]
pub(super) struct Comparison {
    device: DeviceKey,
    asked: Instant,
    /// Where the device is from this plan on.
    site: Site,
    left: vec::IntoIter<Job>,
    unchanged: HashSet<JobKey>,
    staged: Vec<Staged>,
}

/// A job that is new or changed, and what it waits for.
#[derive(Debug)]
struct Staged {
    job: Arc<Job>,
    existing: Option<JobKey>,
    /// Up to where everything was decided when it was compared.
    watermark: Instant,
    next: Next,
    planned_late: bool,
}

impl Scheduler {
    pub(super) fn loaded(&mut self, loaded: Loaded) {
        self.work.push_back(Work::Load(Box::new(loaded)));
    }

    pub(super) fn removed(&mut self, plugin: PluginName) {
        self.work.push_back(Work::Remove(plugin));
    }

    /// A plan's commit is durable: its jobs may be due (I3).
    pub(super) fn confirmed(&mut self, ticket: Ticket) {
        for key in self.unconfirmed.remove(&ticket).unwrap_or_default() {
            if let Some(state) = self.jobs.get_mut(key)
                && state.unconfirmed == Some(ticket)
            {
                state.unconfirmed = None;
                self.arm_timer(key);
            }
        }
    }

    /// Asks for a device's plan.
    pub(super) fn ask_for_plan(&mut self, key: DeviceKey, out: &mut Step) {
        let Some(device) = self.devices.get_mut(key) else { return };
        let Some(plugin) = self.plugins.get(device.plugin) else { return };
        if !mem::replace(&mut device.asked, true) {
            let (plugin, generation) = (plugin.name.clone(), plugin.generation);
            out.effects.push(Effect::Plan { plugin, device: device.name.clone(), generation });
        }
    }

    /// Does a piece of what is to be done to the jobs.
    pub(super) fn work_on_plans(&mut self, now: Instant, out: &mut Step) {
        match self.work.pop_front() {
            None => {}
            Some(Work::Load(loaded)) => self.load(now, *loaded, out),
            Some(Work::Remove(plugin)) => self.remove_plugin(now, &plugin, out),
            Some(Work::Replan { plugin, device, generation, plan }) => {
                self.replan(now, &plugin, &device, generation, plan, out);
            }
            Some(Work::Compare(comparison)) => self.compare(now, *comparison, out),
            Some(Work::DropDevice(device, reason)) => self.drop_device(now, device, reason, out),
            Some(Work::Finish(plugin, version)) => self.finish(now, plugin, version, out),
        }
    }

    /// Puts work before all other work, in this order.
    fn put_in_front(&mut self, work: Vec<Work>) {
        for work in work.into_iter().rev() {
            self.work.push_front(work);
        }
    }

    fn load(&mut self, now: Instant, loaded: Loaded, out: &mut Step) {
        let key = self.plugin_key(&loaded.plugin, &loaded, out);
        self.generation += 1;
        let Some(plugin) = self.plugins.get_mut(key) else { return };
        plugin.generation = self.generation;
        plugin.grant = loaded.grant;
        plugin.announcement = Announcement { loaded: true, ..Announcement::new(loaded.plugin) };
        let mut gone = mem::take(&mut plugin.devices);
        let mut work = Vec::new();
        for device in loaded.devices {
            let known = gone.remove(&device.name);
            let device_key = known.unwrap_or_else(|| self.devices.insert(Device::new(key, &device.name, device.site)));
            if let Some(plugin) = self.plugins.get_mut(key) {
                plugin.devices.insert(device.name, device_key);
            }
            let Some(state) = self.devices.get_mut(device_key) else { continue };
            state.asked = false;
            state.next_site = device.site;
            match device.plan {
                Ok(plan) => work.push(Work::Compare(Box::new(Comparison::new(device_key, plan, device.site)))),
                Err(error) => self.plan_failed(now, device_key, error, out),
            }
        }
        let dropped = gone.into_values().map(|device| Work::DropDevice(device, Cancelled::DeviceRemoved));
        work.splice(0..0, dropped);
        work.push(Work::Finish(key, Some(loaded.version)));
        self.put_in_front(work);
    }

    fn plugin_key(&mut self, name: &PluginName, loaded: &Loaded, out: &mut Step) -> PluginKey {
        if let Some(key) = self.plugin_keys.get(name) {
            return *key;
        }
        let plugin = Plugin {
            name: name.clone(),
            version: Version::NONE,
            generation: 0,
            grant: loaded.grant.clone(),
            devices: Default::default(),
            announcement: Announcement::new(name.clone()),
        };
        let key = self.plugins.insert(plugin);
        self.plugin_keys.insert(name.clone(), key);
        out.changes.push(Change::PluginSaved { key, name: name.clone(), version: Version::NONE });
        key
    }

    fn replan(
        &mut self,
        now: Instant,
        plugin: &PluginName,
        device: &DeviceName,
        generation: Generation,
        plan: Result<Plan, String>,
        out: &mut Step,
    ) {
        let Some(key) = self.plugin_keys.get(plugin).copied() else { return };
        let Some(state) = self.plugins.get(key) else { return };
        let Some(device) = state.devices.get(device).copied() else { return };
        if state.generation != generation {
            return;
        }
        match plan {
            Ok(plan) => {
                let Some(site) = self.devices.get(device).map(|device| device.next_site) else { return };
                let comparison = Work::Compare(Box::new(Comparison::new(device, plan, site)));
                self.put_in_front(vec![comparison, Work::Finish(key, None)]);
            }
            Err(error) => self.plan_failed(now, device, error, out),
        }
    }

    /// The device keeps the plan it has, and is asked again after a pause.
    fn plan_failed(&mut self, now: Instant, key: DeviceKey, error: String, out: &mut Step) {
        let Some(device) = self.devices.get_mut(key) else { return };
        let doubled = limits::REPLAN_PAUSE_MS << device.failures.min(16);
        device.failures += 1;
        device.error = Some(error);
        self.replan_at(key, now.plus_ms(doubled.min(limits::REPLAN_PAUSE_CAP_MS)), out);
    }

    fn replan_at(&mut self, key: DeviceKey, at: Instant, out: &mut Step) {
        let Some(device) = self.devices.get_mut(key) else { return };
        self.timers.remove(&(device.replan_at, Timer::Replan(key)));
        self.timers.insert((at, Timer::Replan(key)));
        device.replan_at = at;
        device.asked = false;
        out.changes.push(Change::DeviceSaved {
            key,
            plugin: device.plugin,
            name: device.name.clone(),
            site: device.site,
            replan_at: at,
            error: device.error.clone(),
        });
    }

    /// Compares a piece of a plan, and lets the plan take effect after the last one.
    fn compare(&mut self, now: Instant, mut comparison: Comparison, out: &mut Step) {
        for _ in 0..limits::JOBS_PER_STEP {
            let Some(job) = comparison.left.next() else { return self.adopt(now, comparison, out) };
            self.compare_job(&mut comparison, job);
        }
        self.work.push_front(Work::Compare(Box::new(comparison)));
    }

    fn compare_job(&mut self, comparison: &mut Comparison, job: Job) {
        let Some(device) = self.devices.get(comparison.device) else { return };
        let existing = device.jobs.get(&job.id).copied();
        let state = existing.and_then(|key| self.jobs.get(key));
        let by_site = matches!(job.trigger, Trigger::Cron(_) | Trigger::Sun(_));
        let moved = by_site && device.site != comparison.site;
        if let (Some(key), Some(state)) = (existing, state)
            && *state.job == job
            && !moved
        {
            comparison.unchanged.insert(key);
            return;
        }
        let known = state.map(|state| state.watermark).or_else(|| self.tombstone(comparison.device, &job));
        let watermark = known.unwrap_or_else(|| first_watermark(&job.trigger, comparison.asked));
        let planned_late = known.is_none() && matches!(job.trigger, Trigger::At(at) if at < comparison.asked);
        let after = earliest(&job.trigger, watermark, comparison.asked);
        let next = self.next_of(&job, comparison.device, after, &comparison.site);
        comparison.staged.push(Staged { job: Arc::new(job), existing, watermark, next, planned_late });
    }

    /// I2: what is known of a job that was here before.
    fn tombstone(&self, device: DeviceKey, job: &Job) -> Option<Instant> {
        let device = self.devices.get(device)?;
        let plugin = self.plugins.get(device.plugin)?;
        self.tombstones.get(&(plugin.name.clone(), device.name.clone(), job.id.clone())).copied()
    }

    /// A plan takes effect.
    fn adopt(&mut self, now: Instant, comparison: Comparison, out: &mut Step) {
        let Comparison { device: key, asked, site, staged, unchanged, .. } = comparison;
        let mut counts = self.counts_of(key);
        counts.unchanged += unchanged.len();
        let mut kept = unchanged;
        kept.extend(staged.iter().filter_map(|staged| staged.existing));
        let jobs = self.devices.get(key).into_iter().flat_map(|device| device.jobs.values().copied());
        let mut gone: Vec<JobKey> = jobs.filter(|job| !kept.contains(job)).collect();
        gone.sort_unstable();
        counts.gone += gone.len();
        for job in gone {
            self.admit_past(now, job, asked, out);
            self.save_run_of(job, out);
            self.drop_job(job, out);
        }
        let changed = staged.iter().filter_map(|staged| staged.existing);
        for job in changed {
            // By the old plan, on the old site.
            self.admit_past(now, job, asked, out);
        }
        let Some(device) = self.devices.get_mut(key) else { return };
        device.site = site;
        device.failures = 0;
        device.error = None;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let mut unconfirmed = Vec::with_capacity(staged.len());
        for staged in staged {
            *(if staged.existing.is_some() { &mut counts.changed } else { &mut counts.new }) += 1;
            unconfirmed.push(self.adopt_job(key, staged, asked, ticket, out));
        }
        if !unconfirmed.is_empty() {
            self.unconfirmed.insert(ticket, unconfirmed);
            out.effects.push(Effect::Confirm(ticket));
        }
        let plugin = self.devices.get(key).and_then(|device| self.plugins.get_mut(device.plugin));
        plugin.expect("a device has a plugin").announcement = counts;
        // The window that was asked for ends with the day after `asked`, whenever the answer came.
        self.replan_at(key, calendar::next_midnight(asked, site.zone), out);
    }

    /// An occurrence from before a plan belongs to the plan before: one that waits for its jitter, or for its turn.
    fn admit_past(&mut self, now: Instant, job: JobKey, asked: Instant, out: &mut Step) {
        if let Some(state) = self.jobs.get(job)
            && state.unconfirmed.is_none()
            && state.next.due().is_some_and(|occurrence| occurrence < asked)
        {
            self.disarm_timer(job);
            self.job_timer(now, job, out);
        }
    }

    /// What the plugin's new plans have changed so far.
    fn counts_of(&self, device: DeviceKey) -> Announcement {
        let plugin = self.devices.get(device).and_then(|device| self.plugins.get(device.plugin));
        plugin.expect("a device has a plugin").announcement.clone()
    }

    fn adopt_job(
        &mut self,
        device: DeviceKey,
        staged: Staged,
        asked: Instant,
        ticket: Ticket,
        out: &mut Step,
    ) -> JobKey {
        let Staged { job, existing, watermark, mut next, planned_late } = staged;
        let key = match existing {
            Some(key) => {
                // An admitted run keeps its copy of the action.
                self.save_run_of(key, out);
                self.disarm_timer(key);
                if let (Some(state), Some(owner)) = (self.jobs.get(key), self.devices.get(device))
                    && state.watermark > watermark
                {
                    // An occurrence was admitted since it was compared.
                    let after = earliest(&job.trigger, state.watermark, asked);
                    let site = owner.site;
                    next = self.next_of(&job, device, after, &site);
                }
                key
            }
            None => self.new_job(device, &job, watermark),
        };
        let Some(state) = self.jobs.get_mut(key) else { return key };
        state.job = job.clone();
        state.next = next;
        state.planned_late = planned_late;
        state.unconfirmed = Some(ticket);
        if let Some((watermark, due)) = self.progress(key) {
            out.changes.push(Change::JobSaved { key, device, job, watermark, due });
        }
        key
    }

    /// A place for a job; a run of it that outlived its job before is its run again.
    fn new_job(&mut self, device: DeviceKey, job: &Arc<Job>, watermark: Instant) -> JobKey {
        let (job, id) = (job.clone(), job.id.clone());
        let next = Next::Never;
        let state = JobState { device, job, watermark, next, planned_late: false, unconfirmed: None, run: None };
        let key = self.jobs.insert(state);
        if let Some(device) = self.devices.get_mut(device) {
            device.jobs.insert(id, key);
        }
        let name = self.run_id(key, watermark).of_job();
        if let Some(slot) = self.orphans.remove(&name)
            && let (Some(run), Some(state)) = (self.runs.get_mut(slot), self.jobs.get_mut(key))
        {
            run.job = Some(key);
            state.run = Some(slot);
        }
        key
    }

    /// A run that is under way outlives what its job becomes.
    fn save_run_of(&mut self, job: JobKey, out: &mut Step) {
        let run = self.jobs.get(job).and_then(|state| state.run);
        if let Some(slot) = run
            && self.runs.get(slot).is_some_and(|run| run.key.is_none())
        {
            self.save_run(slot, out);
        }
    }

    /// A job is gone; what was decided about it stays (I2).
    fn drop_job(&mut self, key: JobKey, out: &mut Step) {
        let Some(state) = self.jobs.get(key) else { return };
        let id = self.run_id(key, state.watermark);
        if let Some((slot, run)) = state.run.and_then(|slot| Some((slot, self.runs.get_mut(slot)?))) {
            run.job = None;
            self.orphans.insert(id.clone().of_job(), slot);
        }
        let tombstone = Tombstone { plugin: id.plugin, device: id.device, job: id.job, watermark: id.occurrence };
        self.disarm_timer(key);
        if let Some(state) = self.jobs.remove(key)
            && let Some(device) = self.devices.get_mut(state.device)
        {
            device.jobs.remove(&tombstone.job);
        }
        let name = (tombstone.plugin.clone(), tombstone.device.clone(), tombstone.job.clone());
        self.tombstones.insert(name, tombstone.watermark);
        out.changes.push(Change::JobRemoved { key, tombstone });
    }

    /// A device is gone: runs that have not started go with it, owed steps stay (I5).
    fn drop_device(&mut self, now: Instant, key: DeviceKey, reason: Cancelled, out: &mut Step) {
        let jobs = self.devices.get(key).map(|device| device.jobs.values().copied().collect());
        let mut jobs: Vec<JobKey> = jobs.unwrap_or_default();
        jobs.sort_unstable();
        let plugin = self.devices.get(key).and_then(|device| self.plugins.get_mut(device.plugin));
        plugin.expect("a device has a plugin").announcement.gone += jobs.len();
        for job in jobs {
            // What is due at this very moment is decided as well.
            self.admit_past(now, job, now.plus_ms(1), out);
            let run = self.jobs.get(job).and_then(|state| state.run);
            if let Some(slot) = run
                && self.runs.get(slot).is_some_and(|run| run.has_not_started())
            {
                self.end(now, slot, Outcome::Cancelled(reason), out);
            }
            self.save_run_of(job, out);
            self.drop_job(job, out);
        }
        if let Some(device) = self.devices.remove(key) {
            self.timers.remove(&(device.replan_at, Timer::Replan(key)));
            out.changes.push(Change::DeviceRemoved { key });
        }
    }

    fn remove_plugin(&mut self, now: Instant, name: &PluginName, out: &mut Step) {
        let Some(key) = self.plugin_keys.get(name).copied() else { return };
        let Some(plugin) = self.plugins.get_mut(key) else { return };
        let devices = mem::take(&mut plugin.devices);
        if plugin.version != Version::NONE {
            // First of all: whatever comes back after a crash half way is loaded anew, all of it.
            plugin.version = Version::NONE;
            out.changes.push(Change::PluginSaved { key, name: name.clone(), version: Version::NONE });
        }
        if devices.is_empty() {
            self.cancel_orphans(now, key, Cancelled::PluginRemoved, out);
            self.plugin_keys.remove(name);
            self.plugins.remove(key);
            out.changes.push(Change::PluginRemoved { key });
            return;
        }
        let drop = |device| Work::DropDevice(device, Cancelled::PluginRemoved);
        self.put_in_front(devices.into_values().map(drop).chain([Work::Remove(name.clone())]).collect());
    }

    /// All devices are done.
    fn finish(&mut self, now: Instant, key: PluginKey, version: Option<Version>, out: &mut Step) {
        if version.is_some() {
            self.cancel_orphans(now, key, Cancelled::DeviceRemoved, out);
        }
        let Some(plugin) = self.plugins.get_mut(key) else { return };
        if let Some(version) = version {
            plugin.version = version;
            out.changes.push(Change::PluginSaved { key, name: plugin.name.clone(), version });
        }
        let said = mem::replace(&mut plugin.announcement, Announcement::new(plugin.name.clone()));
        if version.is_some() || said.new + said.changed + said.gone > 0 {
            out.effects.push(Effect::Announce(said));
        }
    }

    /// Runs that have not started, and whose device is gone.
    fn cancel_orphans(&mut self, now: Instant, key: PluginKey, reason: Cancelled, out: &mut Step) {
        let Some(plugin) = self.plugins.get(key) else { return };
        let orphans = self.runs.iter().filter(|(_, run)| {
            let of_plugin = run.job.is_none() && run.has_not_started() && run.id.plugin == plugin.name;
            of_plugin && !plugin.devices.contains_key(&run.id.device)
        });
        let orphans: Vec<_> = orphans.map(|(slot, _)| slot).collect();
        for slot in orphans {
            self.end(now, slot, Outcome::Cancelled(reason), out);
        }
    }
}

impl Device {
    fn new(plugin: PluginKey, name: &DeviceName, site: Site) -> Self {
        Self {
            plugin,
            name: name.clone(),
            site,
            next_site: site,
            replan_at: Instant::MAX,
            failures: 0,
            error: None,
            asked: false,
            jobs: Default::default(),
        }
    }
}

impl Comparison {
    fn new(device: DeviceKey, plan: Plan, site: Site) -> Self {
        let (asked, left) = (plan.asked, plan.jobs.into_iter());
        Self { device, asked, site, left, unchanged: HashSet::new(), staged: Vec::new() }
    }
}

/// Recurring triggers reach back to no time before the plan was asked for.
fn earliest(trigger: &Trigger, watermark: Instant, asked: Instant) -> Instant {
    match trigger {
        Trigger::At(_) => watermark,
        _ => watermark.max(asked.plus_ms(-1)),
    }
}

/// Nothing reaches back before a job's first acceptance, but an `at` that says itself when it was.
fn first_watermark(trigger: &Trigger, asked: Instant) -> Instant {
    let before = asked.plus_ms(-1);
    match trigger {
        Trigger::At(at) => before.min(at.plus_ms(-1)),
        _ => before,
    }
}
