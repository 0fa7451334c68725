//! The operator's rules for plugins: grants, resources, rates, ceilings and memory.

use std::collections::{BTreeMap, HashMap};

use roost_scheduler::{
    accept::{Fault, FaultKind, Permission},
    limits::LONGEST_HOLD_MS,
    model::Resource,
    names::{CalendarName, PluginName, ResourceName},
    rate::{Rate, Rates},
    scheduler::Operator,
    suggest::{did_you_mean, nearest},
    time::Site,
    topic::{Grant, HostTopic},
    trigger::{Days, Duration, meant_days, parse_duration},
};

use super::{
    call_limits::CallLimits,
    document::{Table, Value},
    grant::{Access, GRANT_KEYS, default_of, how_to_allow, how_to_move, how_to_raise, read_grant},
    limits,
};
use crate::{
    calendars::{self, Source},
    report::Report,
};

/// The operator's rules for plugins.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The operator's grants, which outrank those in a plugin's own settings (I8).
    pub(crate) grants: HashMap<PluginName, Grant>,
    /// The resources that jobs may need, and the plugins that share them.
    pub(crate) resources: BTreeMap<ResourceName, Resource>,
    /// The calendars that jobs may name.
    pub(crate) calendars: BTreeMap<CalendarName, Source>,
    /// The rate of messages of each plugin.
    pub(crate) rates: Rates,
    /// The largest limits that a plugin's own settings may set.
    pub(crate) ceilings: CallLimits,
    /// What all plugins may have together, and the compile of each.
    pub(crate) guests: Guests,
    /// The topic at and below which the host itself publishes and listens.
    pub(crate) host_topic: HostTopic,
}

/// The most processor time in seconds that a compile can be given.
pub(crate) const MOST_COMPILE_S: u32 = *limits::COMPILE_S.end();

/// What all guests may have together, and the compile of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guests {
    /// The memory of all calls together.
    pub(crate) memory_mib: u32,
    /// The processor time of a compile.
    pub(crate) compile_cpu_s: u32,
}

impl Default for Guests {
    fn default() -> Self {
        Self { memory_mib: limits::GUESTS_MIB, compile_cpu_s: limits::COMPILE_CPU_S }
    }
}

impl Default for Rules {
    fn default() -> Self {
        let (grants, resources, calendars, rates, guests, host_topic) = Default::default();
        Self { grants, resources, calendars, rates, ceilings: CallLimits::MOST, guests, host_topic }
    }
}

impl Rules {
    /// Returns the scheduler's part of the rules, with the host's site.
    pub(crate) fn operator(&self, site: Site) -> Operator {
        let own = PluginName::host();
        let grant = self.grants.get(&own).cloned().unwrap_or_else(|| default_of(&own));
        let resources = self.resources.clone().into_iter().collect();
        let (topic, rates) = (self.host_topic.clone(), self.rates.clone());
        Operator { resources, grant, topic, site, rates, calendars: calendars::in_use() }
    }
}

const RESOURCE_KEYS: [&str; 4] = ["name", "capacity", "plugins", "longest_hold"];

impl Rules {
    /// Adds the operator's remedy to the fault of a plugin's job.
    pub(crate) fn with_hint(&self, fault: Fault, plugin: &PluginName, grant: &Grant) -> Fault {
        let FaultKind::NotPermitted(permission) = &fault.kind else { return fault };
        let hint = self.how_to_permit(permission, plugin, grant);
        Fault { hint: Some(hint.into()), ..fault }
    }

    /// Returns a hint with the lines of the settings that would permit something to a plugin's jobs.
    pub(crate) fn how_to_permit(&self, permission: &Permission, plugin: &PluginName, grant: &Grant) -> String {
        let by_operator = self.grants.contains_key(plugin);
        match permission {
            Permission::Publish(topic) => how_to_allow(plugin, topic, Access::Publish, grant, by_operator),
            Permission::HostTopic => how_to_move(&self.host_topic),
            Permission::Read(topic) => how_to_allow(plugin, topic, Access::Read, grant, by_operator),
            Permission::Qos(qos) => how_to_raise(plugin, &format!("max_qos = {}", *qos as u8), by_operator),
            Permission::Retain => how_to_raise(plugin, "retain = true", by_operator),
            Permission::Resource(name, hold_ms) => self.how_to_share(name, plugin, *hold_ms),
            Permission::Location => how_to_locate(plugin),
            Permission::Calendar(name) => self.how_to_name(name),
        }
    }

    /// Returns an error for days that name a calendar which is not in the settings.
    pub(crate) fn unknown_calendar(&self, days: &Days) -> Option<Report> {
        let name = days.calendars().find(|name| !self.calendars.contains_key(name))?;
        Some(Report::new(format!("there is no calendar `{name}`")).hint(self.how_to_name(name)))
    }

    /// Returns how jobs may name a calendar.
    fn how_to_name(&self, name: &CalendarName) -> String {
        if self.calendars.contains_key(name) {
            let state = calendars::states().into_iter().find(|state| state.name == *name);
            let why = state.and_then(|state| state.fault).map_or_else(String::new, |fault| fault.causes.join(": "));
            return format!(
                "correct the calendar's file, which has never been read; then try again, or start Roost again: {why}"
            );
        }
        let known = || self.calendars.keys().map(CalendarName::as_str);
        if let Some(days) = meant_days(name.as_str()) {
            return did_you_mean(days);
        }
        let names: Vec<String> = known().map(|name| format!("`{name}`")).collect();
        let known = match nearest(name.as_str(), known()) {
            Some(near) => did_you_mean(near) + " To add this one, ",
            None if names.is_empty() => String::new(),
            None => format!("the calendars are {}; to add this one, ", names.join(", ")),
        };
        format!(
            "{known}put it into `roost.toml`, and start Roost again:\n[[calendar]]\nname = \"{name}\"\nfile = \
             \"{name}.ics\""
        )
    }

    fn how_to_share(&self, name: &ResourceName, plugin: &PluginName, hold_ms: u32) -> String {
        let (how, rule) = match self.resources.get(name) {
            Some(rule) => ("make its entry in `roost.toml` this", rule.clone()),
            None => ("put this into `roost.toml`", Resource { plugins: Vec::new(), ..Resource::new(1) }),
        };
        format!("to allow it, {how}, and start Roost again:\n{}", entry(name, &with(&rule, plugin, hold_ms)))
    }
}

/// Returns how the operator gives the devices of a plugin a location.
pub(crate) fn how_to_locate(plugin: &PluginName) -> String {
    let lines = "latitude = 51.5\nlongitude = -0.1";
    if *plugin == PluginName::host() {
        return format!("set the location at the top of `roost.toml`:\n{lines}");
    }
    format!(
        "set its location below its `[[device]]` in `plugins/{plugin}.toml`, or for all devices at the top of \
         `roost.toml`:\n{lines}"
    )
}

/// Returns the resource, extended for such a job.
fn with(rule: &Resource, plugin: &PluginName, hold_ms: u32) -> Resource {
    let mut rule = rule.clone();
    if !rule.plugins.contains(plugin) {
        rule.plugins.push(plugin.clone());
    }
    rule.longest_hold_ms = rule.longest_hold_ms.max(hold_ms);
    rule
}

/// Formats a resource as in `roost.toml`.
fn entry(name: &ResourceName, rule: &Resource) -> String {
    let Resource { capacity, plugins, longest_hold_ms } = rule;
    let name_of = |plugin: &PluginName| if *plugin == PluginName::host() { "api".into() } else { plugin.to_string() };
    let plugins: Vec<String> = plugins.iter().map(|plugin| format!("\"{}\"", name_of(plugin))).collect();
    let mut entry =
        format!("[[resource]]\nname = \"{name}\"\ncapacity = {capacity}\nplugins = [{}]", plugins.join(", "));
    if *longest_hold_ms != LONGEST_HOLD_MS {
        entry.push_str(&format!("\nlongest_hold = \"{}\"", Duration((*longest_hold_ms).into())));
    }
    entry
}

/// Reads `[grants.<plugin>]`, and `[grants.api]` for ad-hoc jobs.
pub(super) fn read_grants(value: &Value<'_>, host: &HostTopic) -> Result<HashMap<PluginName, Grant>, Report> {
    let mut grants = HashMap::new();
    for (name, value) in value.any_table()?.entries() {
        let hint = "grants are given to plugins, each below a line `[grants.<plugin>]`";
        let plugin = plugin_or_api(name).map_err(|error| value.error(error).hint(hint))?;
        value.any_table().map_err(|report| report.hint(hint))?;
        let grant = read_grant(&value.table(&GRANT_KEYS)?, &plugin, host)?;
        grants.insert(plugin, grant);
    }
    Ok(grants)
}

/// Reads `[guests]`.
pub(super) fn read_guests(value: &Value<'_>) -> Result<Guests, Report> {
    let table = value.table(&["memory_mib", "compile_cpu_s"])?;
    let number = |key, range, default| table.get(key).map_or(Ok(default), |value| value.integer_in(range));
    Ok(Guests {
        memory_mib: number("memory_mib", limits::GUEST_MIB, limits::GUESTS_MIB)?,
        compile_cpu_s: number("compile_cpu_s", limits::COMPILE_S, limits::COMPILE_CPU_S)?,
    })
}

const RATE_KEYS: [&str; 2] = ["per_second", "burst"];

/// Reads `[rates]`, `[rates.plugins.<plugin>]`, and `[rates.plugins.api]` for ad-hoc jobs. A plugin's missing keys are
/// those of `[rates]`.
pub(super) fn read_rates(value: &Value<'_>) -> Result<Rates, Report> {
    let table = value.table(&[RATE_KEYS[0], RATE_KEYS[1], "plugins"])?;
    let default = read_rate(&table, Rate::default())?;
    let mut by_plugin = BTreeMap::new();
    for (name, value) in
        table.get("plugins").map(|value| value.any_table()).transpose()?.iter().flat_map(Table::entries)
    {
        let plugin = plugin_or_api(name).map_err(|error| {
            value.error(error).hint("a plugin's own rate stands below a line `[rates.plugins.<plugin>]`")
        })?;
        by_plugin.insert(plugin, read_rate(&value.table(&RATE_KEYS)?, default)?);
    }
    Ok(Rates { default, by_plugin })
}

fn read_rate(table: &Table<'_>, default: Rate) -> Result<Rate, Report> {
    let number = |key, default| table.get(key).map_or(Ok(default), |value| value.integer_in(1..=limits::MESSAGES));
    Ok(Rate { per_second: number(RATE_KEYS[0], default.per_second)?, burst: number(RATE_KEYS[1], default.burst)? })
}

/// Parses a plugin's name; `api` stands for the host itself, which owns ad-hoc jobs.
fn plugin_or_api(name: &str) -> Result<PluginName, String> {
    if name == "api" { Ok(PluginName::host()) } else { PluginName::parse(name).map_err(|error| error.to_string()) }
}

/// Reads `[[resource]]`.
pub(super) fn read_resources(value: &Value<'_>) -> Result<BTreeMap<ResourceName, Resource>, Report> {
    let how = "begin each one with a line `[[resource]]`, and below it `name = \"pump\"`, `capacity = 1` and \
               `plugins = [\"sprinkler\"]`";
    let mut resources = BTreeMap::new();
    for value in value.list().map_err(|report| report.hint(how))? {
        let table = value.table(&RESOURCE_KEYS).map_err(|report| match value.any_table() {
            Ok(_) => report,
            Err(_) => report.hint(how),
        })?;
        let named = table.get("name").ok_or_else(|| table.error("a resource has no `name`").hint(how))?;
        let name = named.parsed(ResourceName::parse)?;
        let mut rule =
            Resource::new(table.get("capacity").map_or(Ok(1), |value| value.integer_in(1..=limits::CAPACITY))?);
        if let Some(list) = table.get("plugins") {
            rule.plugins = list.list()?.iter().map(|item| item.parsed(plugin_or_api)).collect::<Result<_, _>>()?;
        }
        if let Some(value) = table.get("longest_hold") {
            rule.longest_hold_ms = longest_hold(&value)?;
        }
        if resources.insert(name.clone(), rule).is_some() {
            return Err(named.error(format!("there are two resources `{name}`")).hint("leave one of them out"));
        }
    }
    Ok(resources)
}

/// Reads a duration of 1 second to 49 days, in milliseconds.
fn longest_hold(value: &Value<'_>) -> Result<u32, Report> {
    let hold_ms = parse_duration(value.text()?).ok().and_then(|hold_ms| u32::try_from(hold_ms).ok());
    hold_ms.filter(|hold_ms| *hold_ms >= 1_000).ok_or_else(|| {
        let report = value.error("`longest_hold` must be a duration of 1 second to 49 days");
        report.hint("write it such as `longest_hold = \"4h\"` or `longest_hold = \"1h30m\"`")
    })
}
