//! The work queue for plugin versions, removals and plans, which is processed in order and in bounded pieces (I10). A
//! device's plan is compared piece by piece, and is adopted and committed as a whole.

use std::{mem, vec};

use crate::{
    budget::Budget,
    event::{Announcement, Effect, Generation, Loaded, LoadedDevice, Plan, PluginKey, Version},
    limits,
    mutants::{Mutation, mutated},
    names::{DeviceName, PluginName},
    outcome::Cancelled,
    scheduler::state::Scheduler,
    work_queue::{Loading, Work},
};

impl Scheduler {
    /// Works on the queue.
    pub(crate) fn work_on_plans(&mut self) {
        let mut budget = Budget::of_step();
        while budget.spend(limits::JOB_COST) {
            let Some(work) = self.work.pop() else { return };
            let was_adopting = self.work.is_adopting();
            if let Some(rest) = self.work_on(work, &mut budget) {
                self.work.push_front(rest);
            }
            // What is committed with a plan of several pieces ends with its last one.
            if was_adopting || self.work.is_adopting() {
                return;
            }
        }
    }

    /// Works on one item of the queue. Returns the rest of it, if the budget is spent before its end.
    fn work_on(&mut self, work: Work, budget: &mut Budget) -> Option<Work> {
        match work {
            Work::Load(loaded) => self.load(*loaded),
            Work::LoadDevices(loading) => self.load_devices(*loading, budget),
            Work::Remove(plugin) => self.remove_plugin(&plugin),
            Work::Replan { plugin, device, generation, plan } => {
                self.replan(&plugin, &device, generation, plan);
            }
            Work::Compare(comparison) => return self.compare(comparison, budget),
            Work::Adopt(adoption) => return self.adopt(adoption, budget),
            Work::Schedule(request, new) => self.schedule(request, *new),
            Work::Cancel(request, job) => self.cancel(request, &job),
            Work::Arm(token, jobs) => return self.arm_plan(token, jobs, budget),
            Work::ZonesChanged(changed) => self.after_zones_changed(changed, budget),
            Work::CalendarsChanged { names, job } => self.after_calendars_changed(names, job, budget),
            Work::ClockSet { device, job } => self.after_clock_set(device, job, budget),
            Work::DropDevice(device, reason) => return self.drop_device(device, reason, budget),
            Work::RequestPlans(devices) => return self.request_plans(devices, budget),
            Work::Finish(plugin, version) => self.finish(plugin, version),
        }
        None
    }

    fn load(&mut self, loaded: Loaded) {
        let key = self.plugin_or_new(&loaded.plugin, Version::NONE, &loaded.grant);
        let generation = self.work.new_generation();
        let Some(plugin) = self.catalog.plugin_mut(key) else { return };
        plugin.generation = generation;
        plugin.grant = loaded.grant;
        plugin.announcement = Announcement { loaded: true, ..Announcement::new(loaded.plugin) };
        let gone = plugin.devices.clone();
        let Loaded { version, devices, .. } = loaded;
        self.work.push_front(Work::LoadDevices(Box::new(Loading {
            plugin: key,
            version,
            left: devices.into_iter(),
            gone,
        })));
    }

    /// Sets up some devices of a new version. Devices that it does not have are removed last.
    fn load_devices(&mut self, mut loading: Loading, budget: &mut Budget) {
        let plugin = loading.plugin;
        let mut work = Vec::new();
        while budget.spend(limits::DEVICE_COST) {
            let Some(LoadedDevice { name, site, plan }) = loading.left.next() else { break };
            let known = loading.gone.remove(&name);
            let key = known.unwrap_or_else(|| self.catalog.insert_device(plugin, name, site));
            let Some(device) = self.catalog.device_mut(key) else { continue };
            device.plan_requested = false;
            device.next_site = site;
            match plan {
                Ok(plan) => work.push(Work::Compare(Box::new(self.comparison(key, plan, site)))),
                Err(error) => self.plan_failed(key, error),
            }
        }
        if loading.left.len() > 0 {
            work.push(Work::LoadDevices(Box::new(loading)));
        } else {
            work.extend(loading.gone.into_values().map(|key| Work::DropDevice(key, Cancelled::DeviceRemoved)));
            work.push(Work::Finish(plugin, Some(loading.version)));
        }
        self.work.put_in_front(work);
    }

    fn replan(&mut self, plugin: &PluginName, device: &DeviceName, generation: Generation, plan: Result<Plan, String>) {
        let Some(key) = self.catalog.plugin_key(plugin) else { return };
        let Some(state) = self.catalog.plugin(key) else { return };
        let Some(device) = state.devices.get(device).copied() else { return };
        if state.generation != generation && !mutated(Mutation::StalePlanIsAdopted) {
            return;
        }
        match plan {
            Ok(plan) => {
                let Some(site) = self.catalog.device(device).map(|device| device.next_site) else { return };
                let comparison = Work::Compare(Box::new(self.comparison(device, plan, site)));
                self.work.put_in_front(vec![comparison, Work::Finish(key, None)]);
            }
            Err(error) => self.plan_failed(device, error),
        }
    }

    /// Completes a load, a removal or a plan of a plugin.
    fn finish(&mut self, key: PluginKey, version: Option<Version>) {
        if version.is_some() {
            self.end_without_device(key, &Cancelled::DeviceRemoved);
        }
        let Some(plugin) = self.catalog.plugin_mut(key) else { return };
        if let Some(version) = version {
            plugin.version = version;
            self.save_plugin(key);
        }
        let Some(plugin) = self.catalog.plugin_mut(key) else { return };
        let announcement = mem::replace(&mut plugin.announcement, Announcement::new(plugin.name.clone()));
        if version.is_some() || announcement.new + announcement.changed + announcement.gone > 0 {
            self.out.effects.push(Effect::Announce(announcement));
        }
    }
}
