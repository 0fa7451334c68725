//! What a plugin may publish and read, as an operator writes it.

use roost_scheduler::{
    names::PluginName,
    topic::{Grant, Topic, TopicFilter},
};

use super::document::Table;
use crate::report::Report;

/// What a plugin does with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It sends messages there.
    Publish,
    /// It hears what is sent there.
    Read,
}

/// The lines by which an operator would allow a topic that is outside a grant.
pub(crate) fn how_to_allow(
    plugin: &PluginName,
    topic: &Topic,
    access: Access,
    grant: &Grant,
    by_operator: bool,
) -> String {
    let (key, granted) = match access {
        Access::Publish => ("publish", &grant.publish),
        Access::Read => ("subscribe", &grant.subscribe),
    };
    let mut filters: Vec<_> = granted.iter().map(|filter| format!("{:?}", filter.as_str())).collect();
    // All that a plugin has by default, or each of its topics would have to be added one by one.
    let own = topic.as_str().strip_prefix(plugin.as_str()).is_some_and(|rest| rest.starts_with('/'));
    filters.push(if own { format!("\"{plugin}/#\"") } else { format!("{:?}", topic.as_str()) });
    let (file, table) = match () {
        () if *plugin == PluginName::of_host() => ("roost.toml".into(), "[grants.api]".into()),
        () if by_operator => ("roost.toml".into(), format!("[grants.{plugin}]")),
        () => (format!("plugins/{plugin}.toml"), "[grants]".into()),
    };
    format!("to allow it, put this into `{file}`:\n{table}\n{key} = [{}]", filters.join(", "))
}

/// What an operator of the broker does, so that it takes messages to a topic, or lets Roost read it.
pub(crate) fn how_broker_allows(topic: &str, access: Access) -> String {
    let (verb, word) = match access {
        Access::Publish => ("publish to", "write"),
        Access::Read => ("read", "read"),
    };
    format!(
        "let Roost's user of the broker {verb} `{topic}`: in Mosquitto's `acl_file`, the line `topic {word} {topic}` below \
         the user's line"
    )
}

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
