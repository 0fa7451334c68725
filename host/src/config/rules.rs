//! What the operator says that plugins have to keep to.

use std::collections::{BTreeMap, HashMap};

use roost_scheduler::{
    names::{PluginName, ResourceName},
    scheduler::Operator,
    time::Site,
    topic::Grant,
};

use super::{
    document::Value,
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
}

impl Rules {
    /// What the scheduler has to know of them, and where the host is.
    pub(crate) fn operator(&self, site: Site) -> Operator {
        let own = PluginName::of_host();
        let grant = self.grants.get(&own).cloned().unwrap_or_else(|| Grant::default_of(&own));
        Operator { resources: self.resources.clone().into_iter().collect(), grant, site }
    }
}

const RESOURCE_KEYS: [&str; 2] = ["name", "capacity"];
/// More than any place has pumps.
const MOST: u32 = 10_000;

/// `[grants.<plugin>]`, and `[grants.api]` for what is done by hand.
pub(super) fn read_grants(value: &Value<'_>) -> Result<HashMap<PluginName, Grant>, Report> {
    let mut grants = HashMap::new();
    for (name, value) in value.any_table()?.entries() {
        let plugin = if name == "api" { Ok(PluginName::of_host()) } else { PluginName::parse(name) };
        let plugin = plugin.map_err(|error| {
            value.error(error.to_string()).hint("grants are given to plugins, each below a line `[grants.<plugin>]`")
        })?;
        let grant = read_grant(&value.table(&GRANT_KEYS)?, &plugin)?;
        grants.insert(plugin, grant);
    }
    Ok(grants)
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
