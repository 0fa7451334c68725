//! What a plugin may publish and read, as an operator writes it.

use roost_scheduler::{
    names::PluginName,
    topic::{Grant, TopicFilter},
};

use super::document::Table;
use crate::report::Report;

/// The keys of a table of grants.
pub(crate) const GRANT_KEYS: [&str; 2] = ["publish", "subscribe"];

/// Lists of topic filters; what is left out is as by default, an empty list grants nothing.
pub(crate) fn read_grant(table: &Table<'_>, plugin: &PluginName) -> Result<Grant, Report> {
    let filters = |key, default| match table.get(key) {
        None => Ok(default),
        Some(list) => list.list()?.iter().map(|item| item.parsed(TopicFilter::parse)).collect(),
    };
    let default = Grant::default_of(plugin);
    Ok(Grant { publish: filters("publish", default.publish)?, subscribe: filters("subscribe", default.subscribe)? })
}
