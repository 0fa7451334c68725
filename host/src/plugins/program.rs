//! One version of a plugin: its component, its settings, and the state that its calls share.

use std::{collections::HashMap, sync::Arc};

use roost_scheduler::{
    accept::{Fault, Owner, TaskDescription, Terms},
    event::Version,
    names::{DeviceName, PluginName},
};
use tokio::sync::{OnceCell, Semaphore};

use super::{
    logs::Log,
    settings::{Device, Settings},
    statuses::UsageCounter,
    trigger_cache::TriggerCache,
};
use crate::{calendars, config::rules::Rules, event_log::EventLog};

pub(super) struct Program {
    pub(super) plugin: PluginName,
    pub(super) version: Version,
    pub(super) settings: Settings,
    /// The index of each device in the settings.
    indices: HashMap<DeviceName, usize>,
    rules: Arc<Rules>,
    /// The plugin's tasks, which are listed before any other call.
    pub(super) tasks: OnceCell<Vec<TaskDescription>>,
    /// The permit for a call: a version has one call under way.
    pub(super) call_permit: Semaphore,
    pub(super) log: Arc<Log>,
    pub(super) trigger_cache: Arc<TriggerCache>,
    /// The counter of its calls.
    pub(super) usage: Arc<UsageCounter>,
}

impl Program {
    pub(super) fn new(
        plugin: PluginName,
        version: Version,
        settings: Settings,
        rules: Arc<Rules>,
        event_log: EventLog,
    ) -> Self {
        let devices = settings.devices.iter().enumerate();
        let indices = devices.map(|(index, device)| (device.name.clone(), index)).collect();
        let log = Arc::new(Log::new(plugin.clone(), event_log));
        Self {
            plugin,
            version,
            settings,
            indices,
            rules,
            tasks: OnceCell::new(),
            call_permit: Semaphore::new(1),
            log,
            trigger_cache: Arc::default(),
            usage: Arc::default(),
        }
    }

    /// Sets the counter of its calls.
    pub(super) fn counted(self, usage: Arc<UsageCounter>) -> Self {
        Self { usage, ..self }
    }

    pub(super) fn device(&self, name: &DeviceName) -> Option<&Device> {
        self.settings.devices.get(*self.indices.get(name)?)
    }

    /// Returns the terms for the answers about a device.
    pub(super) fn terms<'a>(&'a self, device: &'a Device) -> Terms<'a> {
        let Self { plugin, settings, rules, tasks, trigger_cache, .. } = self;
        Terms {
            site: &device.site,
            owner: Some(Owner {
                plugin,
                grant: &settings.grant,
                resources: &rules.resources,
                host_topic: &rules.host_topic,
            }),
            calendars: Some(calendars::has),
            tasks: Some(tasks.get().map_or(&[], Vec::as_slice)),
            jobs: settings.limits.jobs,
            syntax: trigger_cache.as_ref(),
        }
    }

    /// Adds the operator's remedy to a fault.
    pub(super) fn with_hint(&self, fault: Fault) -> Fault {
        self.rules.with_hint(fault, &self.plugin, &self.settings.grant)
    }
}
