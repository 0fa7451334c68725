//! Requests for plans, and what follows a failed one.

use std::{mem, vec};

use crate::{
    agenda::Timer,
    budget::Budget,
    event::{CommitToken, DeviceKey, Effect, JobKey, Version},
    limits,
    scheduler::state::Scheduler,
    time::Instant,
    work_queue::Work,
};

impl Scheduler {
    /// Requests a device's plan, unless a request is pending.
    pub(crate) fn request_plan(&mut self, key: DeviceKey) {
        let Some(plugin) = self.catalog.plugin_of(key).filter(|plugin| plugin.version != Version::BUILT_IN) else {
            return;
        };
        let (plugin, generation) = (plugin.name.clone(), plugin.generation);
        let Some(device) = self.catalog.device_mut(key) else { return };
        if !mem::replace(&mut device.plan_requested, true) {
            self.out.effects.push(Effect::Plan { plugin, device: device.name.clone(), generation });
        }
    }

    pub(crate) fn request_plans(&mut self, mut devices: vec::IntoIter<DeviceKey>, budget: &mut Budget) -> Option<Work> {
        while budget.spend(limits::DEVICE_COST) {
            self.request_plan(devices.next()?);
        }
        Some(Work::RequestPlans(devices))
    }

    pub(crate) fn replan_at(&mut self, key: DeviceKey, at: Instant) {
        let Some(device) = self.catalog.device_mut(key) else { return };
        self.agenda.disarm(device.replan_at, Timer::Replan(key));
        self.agenda.arm(at, Timer::Replan(key));
        device.replan_at = at;
        device.plan_requested = false;
        self.save_device(key);
    }

    /// Records a failed plan: the device keeps its current plan, and the next one is requested after a pause.
    pub(crate) fn plan_failed(&mut self, key: DeviceKey, error: String) {
        let Some(device) = self.catalog.device_mut(key) else { return };
        let doubled = limits::REPLAN_PAUSE_MS << device.failures.min(16);
        device.failures += 1;
        device.error = Some(error);
        self.replan_at(key, self.now.plus_ms(doubled.min(limits::REPLAN_PAUSE_CAP_MS)));
    }

    /// Arms the jobs of a durable plan (I3).
    pub(crate) fn arm_plan(&mut self, token: CommitToken, mut jobs: Vec<JobKey>, budget: &mut Budget) -> Option<Work> {
        while budget.spend(limits::JOB_COST) {
            let key = jobs.pop()?;
            if let Some(state) = self.catalog.job_mut(key)
                && state.unconfirmed == Some(token)
            {
                state.unconfirmed = None;
                self.arm_timer(key);
            }
        }
        Some(Work::Arm(token, jobs))
    }
}
