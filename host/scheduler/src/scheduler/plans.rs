//! What plugins' versions, removals and plans do to the jobs: one queue of work, done in order and in bounded pieces
//! (I10). A device's plan is compared piece by piece, and takes effect, and is committed, as a whole.

use std::mem;

use super::{Device, DeviceKey, Instant, JobKey, Plugin, PluginKey, Scheduler, Ticket, Timer, reconcile::Comparison};
use crate::{
    event::{Announcement, Change, Effect, Generation, Loaded, Plan, Step, Tombstone, Version},
    limits,
    names::{DeviceName, PluginName},
    outcome::{Cancelled, Outcome},
    time::Site,
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

    pub(super) fn replan_at(&mut self, key: DeviceKey, at: Instant, out: &mut Step) {
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

    /// A run that is under way outlives what its job becomes.
    pub(super) fn save_run_of(&mut self, job: JobKey, out: &mut Step) {
        let run = self.jobs.get(job).and_then(|state| state.run);
        if let Some(slot) = run
            && self.runs.get(slot).is_some_and(|run| run.key.is_none())
        {
            self.save_run(slot, out);
        }
    }

    /// A job is gone; what was decided about it stays (I2).
    pub(super) fn drop_job(&mut self, key: JobKey, out: &mut Step) {
        let Some(state) = self.jobs.get(key) else { return };
        let id = self.run_id(key, state.watermark);
        if let Some((slot, run)) = state.run.and_then(|slot| Some((slot, self.runs.get_mut(slot)?))) {
            run.job = None;
            self.orphans.insert(id.clone().of_job(), slot);
        }
        let tombstone = Tombstone { plugin: id.plugin, device: id.device, job: id.job, watermark: id.occurrence };
        self.disarm_timer(key);
        self.remove_job(key);
        let name = (tombstone.plugin.clone(), tombstone.device.clone(), tombstone.job.clone());
        self.tombstones.insert(name, tombstone.watermark);
        out.changes.push(Change::JobRemoved { key, tombstone });
    }

    /// A device is gone: runs that have not started go with it, owed steps stay (I5).
    fn drop_device(&mut self, now: Instant, key: DeviceKey, reason: Cancelled, out: &mut Step) {
        let jobs = self.devices.get(key).map(|device| device.jobs.iter().copied().collect());
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
