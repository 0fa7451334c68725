//! The terms that drafts must respect.

use std::collections::BTreeMap;

use crate::{
    calendar::ZoneError,
    model::Resource,
    names::{CalendarName, PluginName, ResourceName, TaskName},
    time::Site,
    topic::{Grant, HostTopic},
    trigger::{Context, Cron, CronError, Days, Trigger, TriggerError},
    zone::Zone,
};

/// The terms that drafts must respect.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The site of the device.
    pub site: &'a Site,
    /// The owner of the jobs. Without one, topics and resources are not checked.
    pub owner: Option<Owner<'a>>,
    /// The tasks that jobs may call. Without a list, any name is accepted.
    pub tasks: Option<&'a [TaskDescription]>,
    /// Returns whether the host has a calendar. Without it, any name is accepted.
    pub calendars: Option<fn(&CalendarName) -> bool>,
    /// The largest number of jobs in a plan.
    pub jobs: usize,
    /// The parsers of texts in other languages.
    pub syntax: &'a dyn Syntax,
}

/// The plugin that owns jobs, and its permissions (I8).
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    /// Its name; the host's own for ad-hoc jobs.
    pub plugin: &'a PluginName,
    /// Its grant.
    pub grant: &'a Grant,
    /// The resources of the host.
    pub resources: &'a BTreeMap<ResourceName, Resource>,
    /// The topic of the host itself, where no job may publish.
    pub host_topic: &'a HostTopic,
}

/// Parsers of the texts in drafts that this crate leaves to its caller: it has no JSON parser, and no files of zones.
pub trait Syntax: Sync {
    /// Finds a time zone by its IANA name.
    ///
    /// # Errors
    /// Returns an error if there is no such zone.
    fn zone(&self, name: &str) -> Result<Zone, ZoneError>;

    /// Parses a cron expression.
    ///
    /// # Errors
    /// Returns what is wrong with it.
    fn cron(&self, expression: &str, zone: Option<Zone>, days: Days) -> Result<Cron, CronError>;

    /// Parses the text of a trigger.
    ///
    /// # Errors
    /// Returns what is wrong with it.
    fn trigger(&self, text: &str, context: &Context<'_>) -> Result<Trigger, TriggerError>;

    /// Checks that a text is JSON.
    ///
    /// # Errors
    /// Returns what is wrong with it, and where.
    fn json(&self, text: &str) -> Result<(), String>;
}

/// The description of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDescription {
    /// The task's name, unique within the plugin.
    pub name: TaskName,
    /// The plugin's summary of the task.
    pub summary: String,
    /// The JSON Schema of the arguments, as JSON text: an object or a boolean. Its contents are not checked.
    pub args_schema: Option<String>,
}
