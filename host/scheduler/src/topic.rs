//! Topics, topic filters, and the grants of plugins (I8).

use std::{fmt, sync::Arc};

use crate::{limits, names::PluginName, qos::Qos, text::excerpt};

/// A topic that can be published to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic(Arc<str>);

/// A filter that topics are matched against: `coop/+/door/#`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter(Arc<str>);

/// The topic at and below which the host itself publishes and listens: `roost`, unless the operator has chosen another.
/// No job may publish there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTopic(Topic);

/// A text that is not a topic or a topic filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {rule}")]
pub struct TopicError {
    text: String,
    what: &'static str,
    rule: &'static str,
}

impl TopicError {
    fn new(text: &str, what: &'static str, rule: &'static str) -> Self {
        Self { text: excerpt(text), what, rule }
    }
}

/// Returns whether brokers end the connection over a text with this character, for all plugins alike (I7): control
/// characters, and Unicode's noncharacters. MQTT 5.0, section 1.5.4.
#[must_use]
pub fn is_forbidden(char: char) -> bool {
    let code = u32::from(char);
    char.is_control() || matches!(code, 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

/// Returns the rule that a topic or a filter breaks, of those that both have.
fn fault(text: &str) -> Option<&'static str> {
    if text.contains(is_forbidden) {
        Some("it contains a character that MQTT does not allow")
    } else if text.matches('/').count() > limits::TOPIC_SEPARATORS {
        Some("it has more than 99 `/`")
    } else if text.starts_with('$') {
        Some("topics that start with `$` belong to the broker")
    } else {
        None
    }
}

impl Topic {
    /// Parses a topic: 1 to 1,024 bytes, at most 99 `/`, no wildcards, no control characters, not starting with `$`.
    ///
    /// # Errors
    /// Returns the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let rule = if text.is_empty() || text.len() > limits::TOPIC_BYTES {
            "it must have 1 to 1,024 bytes"
        } else if text.contains(['+', '#']) {
            "a message goes to one topic, so `+` and `#` cannot be in it"
        } else if let Some(rule) = fault(text) {
            rule
        } else {
            return Ok(Self(text.into()));
        };
        Err(TopicError::new(text, "topic", rule))
    }

    /// Returns the topic for a text that was checked before.
    pub(crate) fn unchecked(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns it as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostTopic {
    /// Parses a topic of at most 64 bytes without empty levels.
    ///
    /// # Errors
    /// Returns the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let topic = Topic::parse(text)?;
        let rule = if text.len() > limits::HOST_TOPIC_BYTES {
            "it may have 64 bytes, because names follow it"
        } else if text.ends_with('/') {
            "it must not end with `/`, because one follows it"
        } else if text.split('/').any(str::is_empty) {
            "no level of it may be empty"
        } else {
            return Ok(Self(topic));
        };
        Err(TopicError::new(text, "topic for the host's own messages", rule))
    }

    /// Returns the topic at these levels below it, which have no wildcards.
    #[must_use]
    pub fn below(&self, levels: &str) -> Topic {
        Topic::unchecked(&format!("{}/{levels}", self.0))
    }

    /// Returns whether a topic is at or below it, or whether a filter matches such topics only.
    #[must_use]
    pub fn covers(&self, text: &str) -> bool {
        text.strip_prefix(self.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns it as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Default for HostTopic {
    fn default() -> Self {
        Self(Topic::unchecked(PluginName::host().as_str()))
    }
}

impl TopicFilter {
    /// Parses a filter by MQTT's rules: `+` fills a level, `#` is the last level.
    ///
    /// # Errors
    /// Returns the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let levels = text.split('/').count();
        let wildcard_inside = text.split('/').any(|level| level.len() > 1 && level.contains(['+', '#']));
        let early_hash = text.split('/').take(levels - 1).any(|level| level == "#");
        let rule = if text.is_empty() || text.len() > limits::TOPIC_BYTES {
            "it must have 1 to 1,024 bytes"
        } else if wildcard_inside {
            "`+` and `#` must fill a level of their own, as in `coop/+/door`"
        } else if early_hash {
            "`#` can only be the last level"
        } else if let Some(rule) = fault(text) {
            rule
        } else {
            return Ok(Self(text.into()));
        };
        Err(TopicError::new(text, "topic filter", rule))
    }

    /// Returns whether it matches a topic. MQTT 5.0, section 4.7.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        // As bytes, because levels are short, and this is called for each message.
        let mut levels = topic.as_bytes().split(|byte| *byte == b'/');
        for filter in self.0.as_bytes().split(|byte| *byte == b'/') {
            match (filter, levels.next()) {
                (b"#", _) => return true,
                (b"+", Some(_)) => {}
                (name, Some(level)) if name == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Returns it as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A grant: what a plugin may publish and subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Filters of the topics it may publish to.
    pub publish: Vec<TopicFilter>,
    /// Filters of the topics it may subscribe to.
    pub subscribe: Vec<TopicFilter>,
    /// The highest QoS of a message.
    pub max_qos: Qos,
    /// Whether it may publish retained messages.
    pub retain: bool,
}

/// Why a message may not be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Its topic is one of the host's own, which no grant includes.
    HostTopic,
    /// Its topic is outside the filters.
    Topic,
    /// Its QoS is too high.
    Qos,
    /// It is retained.
    Retain,
}

impl Grant {
    /// Returns a grant for these topics, with any QoS, retained or not.
    #[must_use]
    pub const fn new(publish: Vec<TopicFilter>, subscribe: Vec<TopicFilter>) -> Self {
        Self { publish, subscribe, max_qos: Qos::ExactlyOnce, retain: true }
    }

    /// Returns the default grant: for a plugin everything below its own name, for ad-hoc jobs of the host everything.
    #[must_use]
    pub fn default_for(plugin: &PluginName) -> Self {
        let own = if *plugin == PluginName::host() { "#".into() } else { format!("{plugin}/#") };
        let own = TopicFilter(own.into());
        Self::new(vec![own.clone()], vec![own])
    }

    /// Returns whether it allows to publish to a topic.
    #[must_use]
    pub fn allows_publish(&self, topic: &str) -> bool {
        self.publish.iter().any(|filter| filter.matches(topic))
    }

    /// Returns whether it allows to subscribe to a topic.
    #[must_use]
    pub fn allows_subscribe(&self, topic: &str) -> bool {
        self.subscribe.iter().any(|filter| filter.matches(topic))
    }

    /// Returns why it does not allow a message, if so (I8).
    #[must_use]
    pub fn excess(&self, host: &HostTopic, topic: &str, qos: Qos, retain: bool) -> Option<Excess> {
        if host.covers(topic) {
            return Some(Excess::HostTopic);
        }
        if !self.allows_publish(topic) {
            return Some(Excess::Topic);
        }
        if qos > self.max_qos {
            return Some(Excess::Qos);
        }
        (retain && !self.retain).then_some(Excess::Retain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_by_the_rules_of_mqtt() {
        let cases = [
            ("coop/#", "coop/north/door", true),
            ("coop/#", "coop", true),
            ("coop/#", "coopx", false),
            ("coop/+/door", "coop/north/door", true),
            ("coop/+/door", "coop/north/door/open", false),
            ("coop/+", "coop", false),
            ("+/+", "/x", true),
            ("#", "a/b", true),
            ("a/b", "a/b", true),
            ("a/b", "a/b/", false),
        ];
        for (filter, topic, expected) in cases {
            let filter = TopicFilter::parse(filter).expect("valid");
            assert_eq!(filter.matches(topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn a_grant_has_ceilings_beside_its_topics() {
        let host = HostTopic::parse("home/roost").expect("valid");
        let own = Grant::default_for(&PluginName::parse("porch").expect("valid"));
        assert_eq!(own.excess(&host, "porch/light", Qos::ExactlyOnce, true), None);
        let low = Grant { max_qos: Qos::AtMostOnce, retain: false, ..own };
        assert_eq!(low.excess(&host, "porch/light", Qos::AtMostOnce, false), None);
        assert_eq!(low.excess(&host, "porch/light", Qos::AtLeastOnce, true), Some(Excess::Qos));
        assert_eq!(low.excess(&host, "porch/light", Qos::AtMostOnce, true), Some(Excess::Retain));
        assert_eq!(low.excess(&host, "barn/light", Qos::ExactlyOnce, true), Some(Excess::Topic));
        let all = Grant::default_for(&PluginName::host());
        for (topic, excess) in [
            ("home/roost", Some(Excess::HostTopic)),
            ("home/roost/set/porch/porch/enabled", Some(Excess::HostTopic)),
            ("home/rooster", None),
            ("home", None),
            ("Home/roost", None),
            ("/home/roost", None),
        ] {
            assert_eq!(all.excess(&host, topic, Qos::AtMostOnce, false), excess, "{topic}");
        }
        let only = |filter| host.covers(TopicFilter::parse(filter).expect("valid").as_str());
        assert!(["home/roost", "home/roost/#", "home/roost/+/x"].into_iter().all(only));
        assert!(!["#", "home/#", "home/+/x", "+/roost/#"].into_iter().any(only));
    }

    #[test]
    fn the_hosts_topic_leaves_room_for_names_below_it() {
        let longest = "x".repeat(64);
        for good in ["roost", "house/roost", "grüße", &longest] {
            let topic = HostTopic::parse(good).expect("valid");
            assert_eq!(topic.below("status").as_str(), format!("{good}/status"));
        }
        assert_eq!(HostTopic::default().as_str(), "roost");
        let too_long = "x".repeat(65);
        for bad in ["", "/", "roost/", "/roost", "house//roost", "roost/#", "+/roost", "$roost", "a\0", &too_long] {
            assert!(HostTopic::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bad_topics_and_filters_are_refused() {
        assert!(Topic::parse(&"/".repeat(99)).is_ok() && Topic::parse("grüße/🐓").is_ok());
        let deep = "/".repeat(100);
        for bad in ["", "a/+", "#", "$SYS/x", "a\0b", "a\u{1}", "a\u{1FFFF}", &deep, &"x".repeat(1025)] {
            assert!(Topic::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "a/#/b", "a+", "a/b#", "$share/g/a", "a\u{7}/#", &deep] {
            assert!(TopicFilter::parse(bad).is_err(), "{bad}");
        }
        let error = Topic::parse("a\u{1b}[2J").expect_err("a control character").to_string();
        assert_eq!(error, "`a\\u{1b}[2J` is not a topic: it contains a character that MQTT does not allow");
    }
}
