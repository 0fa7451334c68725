//! What the operator says that plugins have to keep to.

use std::collections::{BTreeMap, HashMap};

use roost_scheduler::{
    names::{PluginName, ResourceName},
    rate::{Rate, Rates},
    scheduler::Operator,
    time::Site,
    topic::Grant,
};

use super::{
    document::{Table, Value},
    grant::{GRANT_KEYS, read_grant},
};
use crate::report::Report;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// They outrank what came with a plugin (I8).
    pub(crate) grants: HashMap<PluginName, Grant>,
    /// What jobs may need, and how many there are of each.
    pub(crate) resources: BTreeMap<ResourceName, u32>,
    /// How many messages each plugin may publish.
    pub(crate) rates: Rates,
}

impl Rules {
    /// What the scheduler has to know of them, and where the host is.
    pub(crate) fn operator(&self, site: Site) -> Operator {
        let own = PluginName::of_host();
        let grant = self.grants.get(&own).cloned().unwrap_or_else(|| Grant::default_of(&own));
        let resources = self.resources.clone().into_iter().collect();
        Operator { resources, grant, site, rates: self.rates.clone() }
    }
}

const RESOURCE_KEYS: [&str; 2] = ["name", "capacity"];
/// More than any place has pumps.
const MOST: u32 = 10_000;

/// `[grants.<plugin>]`, and `[grants.api]` for what is done by hand.
pub(super) fn read_grants(value: &Value<'_>) -> Result<HashMap<PluginName, Grant>, Report> {
    let mut grants = HashMap::new();
    for (name, value) in value.any_table()?.entries() {
        let plugin = plugin_or_api(name).map_err(|error| {
            value.error(error).hint("grants are given to plugins, each below a line `[grants.<plugin>]`")
        })?;
        let grant = read_grant(&value.table(&GRANT_KEYS)?, &plugin)?;
        grants.insert(plugin, grant);
    }
    Ok(grants)
}

const RATE_KEYS: [&str; 2] = ["per_second", "burst"];
/// What no broker takes, and no disk: as good as no rate at all.
const MOST_MESSAGES: u32 = 10_000_000;

/// `[rates]`, `[rates.plugins.<plugin>]`, and `[rates.plugins.api]` for what is done by hand. What is left out is as for all.
pub(super) fn read_rates(value: &Value<'_>) -> Result<Rates, Report> {
    let table = value.table(&[RATE_KEYS[0], RATE_KEYS[1], "plugins"])?;
    let usual = read_rate(&table, Rate::default())?;
    let mut of = BTreeMap::new();
    for (name, value) in
        table.get("plugins").map(|value| value.any_table()).transpose()?.iter().flat_map(Table::entries)
    {
        let plugin = plugin_or_api(name).map_err(|error| {
            value.error(error).hint("a plugin's own rate stands below a line `[rates.plugins.<plugin>]`")
        })?;
        of.insert(plugin, read_rate(&value.table(&RATE_KEYS)?, usual)?);
    }
    Ok(Rates { usual, of })
}

fn read_rate(table: &Table<'_>, usual: Rate) -> Result<Rate, Report> {
    let number = |key, usual| table.get(key).map_or(Ok(usual), |value| value.integer_in(1..=MOST_MESSAGES));
    Ok(Rate { per_second: number(RATE_KEYS[0], usual.per_second)?, burst: number(RATE_KEYS[1], usual.burst)? })
}

/// A plugin, or by `api` the host itself, as far as it does what people ask by hand.
fn plugin_or_api(name: &str) -> Result<PluginName, String> {
    if name == "api" { Ok(PluginName::of_host()) } else { PluginName::parse(name).map_err(|error| error.to_string()) }
}

/// `[[resource]]`
pub(super) fn read_resources(value: &Value<'_>) -> Result<BTreeMap<ResourceName, u32>, Report> {
    let how = "begin each one with a line `[[resource]]`, and below it `name = \"pump\"` and `capacity = 1`";
    let mut resources = BTreeMap::new();
    for value in value.list().map_err(|report| report.hint(how))? {
        let table = value.table(&RESOURCE_KEYS).map_err(|report| match value.any_table() {
            Ok(_) => report,
            Err(_) => report.hint(how),
        })?;
        let named = table.get("name").ok_or_else(|| table.error("a resource has no `name`").hint(how))?;
        let name = named.parsed(ResourceName::parse)?;
        let capacity = table.get("capacity").map_or(Ok(1), |value| value.integer_in(1..=MOST))?;
        if resources.insert(name.clone(), capacity).is_some() {
            return Err(named.error(format!("there are two resources `{name}`")).hint("leave one of them out"));
        }
    }
    Ok(resources)
}
