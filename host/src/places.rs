//! The cells that plugins are in, where several hosts share the work.
//!
//! Plugins that share a resource are in one place, because one scheduler counts who holds it; every other plugin is a
//! place of its own. A place is never divided.

use std::collections::{BTreeMap, HashMap};

use roost_scheduler::{
    model::Resource,
    names::{PluginName, ResourceName},
};
use sha2::{Digest as _, Sha256};

/// The places of plugins, and the number of cells that they are spread over.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    cells: u32,
    /// The first plugin, by name, of the place of each plugin that shares a resource.
    first: HashMap<PluginName, PluginName>,
}

impl Places {
    pub(crate) fn new(cells: u32, resources: &BTreeMap<ResourceName, Resource>) -> Self {
        let mut first: HashMap<PluginName, PluginName> = HashMap::new();
        for resource in resources.values() {
            let known = |plugin: &PluginName| first.get(plugin).unwrap_or(plugin).clone();
            let joined: Vec<PluginName> = resource.plugins.iter().map(known).collect();
            let Some(least) = joined.iter().min().cloned() else { continue };
            // Places that were apart until now are one.
            first.values_mut().filter(|place| joined.contains(place)).for_each(|place| *place = least.clone());
            for plugin in resource.plugins.iter().chain(&joined) {
                first.insert(plugin.clone(), least.clone());
            }
        }
        Self { cells: cells.max(1), first }
    }

    /// Returns the cell that a plugin is in.
    pub(crate) fn cell(&self, plugin: &PluginName) -> i64 {
        let place = self.first.get(plugin).unwrap_or(plugin);
        let digest = Sha256::digest(place.as_str());
        let number = digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        i64::try_from(number % u64::from(self.cells)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PluginName {
        PluginName::parse(text).unwrap()
    }

    #[test]
    fn plugins_that_share_resources_are_in_one_cell() {
        let shared =
            [("pump", vec!["soil", "sprinkler"]), ("tank", vec!["barrel", "hose"]), ("mains", vec!["hose", "soil"])];
        let resources = shared.map(|(resource, plugins)| {
            let plugins = plugins.into_iter().map(name).collect();
            (ResourceName::parse(resource).unwrap(), Resource { plugins, ..Resource::new(1) })
        });
        let places = Places::new(1_000, &resources.into_iter().collect());
        for other in ["sprinkler", "barrel", "hose"] {
            assert_eq!(places.cell(&name("soil")), places.cell(&name(other)), "{other}");
        }
        let alone = Places::new(1_000, &BTreeMap::new());
        assert_ne!(alone.cell(&name("soil")), alone.cell(&name("sprinkler")));
        // All of them are in that of the first one by name.
        assert_eq!(places.cell(&name("soil")), alone.cell(&name("barrel")));
    }

    #[test]
    fn plugins_are_spread_over_all_cells() {
        let places = Places::new(16, &BTreeMap::new());
        let mut counts = [0; 16];
        for number in 0..16_000 {
            counts[usize::try_from(places.cell(&name(&format!("plugin-{number}")))).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
        let one = Places::new(1, &BTreeMap::new());
        assert_eq!(one.cell(&name("soil")), 0);
    }
}
