//! The tasks of plugins, asked for once for each version.

use std::{collections::HashMap, sync::Arc};

use roost_scheduler::names::PluginName;

use crate::http::{ApiState, TaskDescriptionRecord, plugin_tasks};

/// The tasks of the plugins that were asked.
#[derive(Default)]
pub(super) struct Tasks(HashMap<PluginName, Arc<[TaskDescriptionRecord]>>);

impl Tasks {
    /// Returns the tasks of a plugin. None while it cannot be asked.
    pub(super) async fn of(&mut self, plugin: &PluginName, state: &ApiState) -> Arc<[TaskDescriptionRecord]> {
        if let Some(tasks) = self.0.get(plugin) {
            return tasks.clone();
        }
        let Some(tasks) = plugin_tasks(state, plugin.clone()).await else { return Arc::default() };
        self.0.entry(plugin.clone()).insert_entry(tasks.into()).get().clone()
    }

    /// Asks a plugin again, because it may have another version.
    pub(super) fn forget(&mut self, plugin: &PluginName) {
        self.0.remove(plugin);
    }

    pub(super) fn forget_all(&mut self) {
        self.0.clear();
    }
}
