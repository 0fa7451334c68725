//! Grants: the topics that a plugin may publish and read, as configured.

use roost_scheduler::{
    model::Qos,
    names::PluginName,
    topic::{Grant, HostTopic, Topic, TopicFilter},
};

use super::{document::Table, levels};
use crate::report::Report;

/// A plugin's access to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It sends messages to the topic.
    Publish,
    /// It receives the topic's messages.
    Read,
}

/// Returns the grant of a plugin without a configured one: everything below its own name, unless that belongs to
/// another product.
pub(crate) fn default_of(plugin: &PluginName) -> Grant {
    match levels::owner_of(plugin) {
        Some(_) => Grant::new(Vec::new(), Vec::new()),
        None => Grant::default_for(plugin),
    }
}

/// Returns a hint with the lines that would allow a topic outside a grant.
pub(super) fn how_to_allow(
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
    // The plugin's default filter, because otherwise each of its topics would have to be added one by one.
    let own = topic.as_str().strip_prefix(plugin.as_str()).is_some_and(|rest| rest.starts_with('/'));
    let owner = levels::owner_of(plugin).filter(|_| own);
    let is_its_own = own && owner.is_none();
    filters.push(if is_its_own { format!("\"{plugin}/#\"") } else { format!("{:?}", topic.as_str()) });
    let lines = in_table(plugin, by_operator || owner.is_some(), &format!("{key} = [{}]", filters.join(", ")));
    match owner {
        Some(product) => format!(
            "topics below `{plugin}/` belong to {product}, so a plugin of that name may use none of them by default: give its \
             file another name, or, if it is meant to do that,\n{lines}"
        ),
        None => format!("to allow it, {lines}"),
    }
}

/// Returns a hint with the line that would raise a ceiling of a grant, such as `retain = true`.
pub(super) fn how_to_raise(plugin: &PluginName, line: &str, by_operator: bool) -> String {
    format!("to allow it, {}", in_table(plugin, by_operator, line))
}

/// Returns a hint for topics that are the host's own.
pub(super) fn how_to_move(host: &HostTopic) -> String {
    format!(
        "use another topic; or, if devices have topics below `{host}`, give the host one of its own: put such a line into \
         `roost.toml`, and start Roost again:\n[mqtt]\ntopic = \"{}\"",
        host.below("host")
    )
}

/// Returns the instruction to add a line to a grant.
fn in_table(plugin: &PluginName, by_operator: bool, line: &str) -> String {
    let (file, table) = match () {
        () if *plugin == PluginName::host() => ("roost.toml".into(), "[grants.api]".into()),
        () if by_operator => ("roost.toml".into(), format!("[grants.{plugin}]")),
        () => (format!("plugins/{plugin}.toml"), "[grants]".into()),
    };
    format!("put this into `{file}`:\n{table}\n{line}")
}

/// Filters of a grant that are listed; of more, only the number is.
const FILTERS: usize = 8;

/// `it may publish to coop-door/#, and read coop-door/#`
pub(crate) fn in_words(grant: &Grant) -> String {
    let list = |filters: &[TopicFilter]| {
        let mut named: Vec<&str> = filters.iter().take(FILTERS).map(TopicFilter::as_str).collect();
        let more = filters.len().saturating_sub(FILTERS).to_string() + " more";
        if filters.len() > FILTERS {
            named.push(&more);
        }
        if named.is_empty() { "nothing".to_owned() } else { named.join(" ") }
    };
    let qos = grant.max_qos as u8;
    let ceilings = match (grant.max_qos < Qos::ExactlyOnce, grant.retain) {
        (false, true) => String::new(),
        (true, true) => format!(" (QoS {qos} at most)"),
        (false, false) => " (not retained)".to_owned(),
        (true, false) => format!(" (QoS {qos} at most, not retained)"),
    };
    format!("it may publish to {}{ceilings}, and read {}", list(&grant.publish), list(&grant.subscribe))
}

/// Returns the filters by which a plugin may publish to topics of other products, with these products.
pub(crate) fn of_others(grant: &Grant) -> Option<String> {
    let reach = |filter: &TopicFilter| {
        let level = filter.as_str().split('/').next().unwrap_or_default();
        match level {
            "#" | "+" => Some(format!("`{filter}` is every product's")),
            level => levels::product_of(level).map(|product| format!("`{filter}` is {product}'s")),
        }
    };
    let reached: Vec<String> = grant.publish.iter().filter_map(reach).take(FILTERS).collect();
    (!reached.is_empty()).then(|| reached.join(", "))
}

/// Describes a grant, with a warning if it reaches topics of other products.
pub(crate) fn notes(grant: &Grant) -> Vec<String> {
    let others = of_others(grant).map(|others| format!("beware, it may publish to topics of others: {others}"));
    [Some(in_words(grant)), others].into_iter().flatten().collect()
}

/// Returns a hint for the broker's operator to allow Roost access to a topic.
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
pub(crate) const GRANT_KEYS: [&str; 4] = ["publish", "subscribe", "max_qos", "retain"];

/// Reads lists of topic filters, and ceilings. Missing keys have their defaults; an empty list grants nothing. A filter of
/// the host's own topics would grant nothing either, so it is refused.
pub(crate) fn read_grant(table: &Table<'_>, plugin: &PluginName, host: &HostTopic) -> Result<Grant, Report> {
    let filters = |key, default| match table.get(key) {
        None => Ok(default),
        Some(list) => list.list()?.iter().map(|item| item.parsed(TopicFilter::parse)).collect(),
    };
    let publish = table.get("publish").map(|value| value.list()).transpose()?;
    if let Some(item) = publish.iter().flatten().find(|item| item.text().is_ok_and(|text| host.covers(text))) {
        let what = format!("no job may publish to `{}`: what is at or below `{host}` is the host's own", item.text()?);
        return Err(item.error(what).hint(how_to_move(host)));
    }
    let default = default_of(plugin);
    let max_qos = table.get("max_qos").map(|value| value.integer_in(0..=2)).transpose()?;
    let max_qos = max_qos.and_then(|number| Qos::from_number(number as u8)).unwrap_or(default.max_qos);
    Ok(Grant {
        publish: filters("publish", default.publish)?,
        subscribe: filters("subscribe", default.subscribe)?,
        max_qos,
        retain: table.get("retain").map_or(Ok(default.retain), |value| value.flag())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PluginName {
        PluginName::parse(text).unwrap()
    }

    #[test]
    fn a_plugin_named_like_another_product_is_granted_nothing_by_default() {
        let grant = default_of(&name("zigbee2mqtt"));
        assert!(grant.publish.is_empty() && grant.subscribe.is_empty());
        assert_eq!(default_of(&name("porch")), Grant::default_for(&name("porch")));
        let topic = Topic::parse("zigbee2mqtt/bridge/request/restart").unwrap();
        let hint = how_to_allow(&name("zigbee2mqtt"), &topic, Access::Publish, &grant, false);
        assert_eq!(
            hint,
            "topics below `zigbee2mqtt/` belong to Zigbee2MQTT, so a plugin of that name may use none of them by default: give \
             its file another name, or, if it is meant to do that,\nput this into `roost.toml`:\n[grants.zigbee2mqtt]\n\
             publish = [\"zigbee2mqtt/bridge/request/restart\"]"
        );
    }

    #[test]
    fn a_grant_is_described() {
        let own = default_of(&name("porch"));
        assert_eq!(in_words(&own), "it may publish to porch/#, and read porch/#");
        assert_eq!(of_others(&own), None);
        let filters = ["zigbee2mqtt/lamp/set", "#", "porch/#"].map(|text| TopicFilter::parse(text).unwrap());
        let wide = Grant { max_qos: Qos::AtLeastOnce, retain: false, ..Grant::new(filters.to_vec(), Vec::new()) };
        assert_eq!(
            in_words(&wide),
            "it may publish to zigbee2mqtt/lamp/set # porch/# (QoS 1 at most, not retained), and read nothing"
        );
        let others = "`zigbee2mqtt/lamp/set` is Zigbee2MQTT's, `#` is every product's";
        assert_eq!(of_others(&wide).as_deref(), Some(others));
    }
}
