//! Topics, topic filters, and what a plugin is granted (I8).

use std::{fmt, sync::Arc};

use crate::{limits, names::PluginName};

/// A topic that can be published to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic(Arc<str>);

/// A filter that topics are matched against: `coop/+/door/#`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter(Arc<str>);

/// Text that is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {rule}")]
pub struct TopicError {
    text: String,
    what: &'static str,
    rule: &'static str,
}

impl Topic {
    /// Checks it: 1 to 1,024 bytes, no wildcards, no NUL, not starting with `$`.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let rule = if text.is_empty() || text.len() > limits::TOPIC_BYTES {
            "it must have 1 to 1,024 bytes"
        } else if text.contains(['+', '#']) {
            "a message goes to one topic, so `+` and `#` cannot be in it"
        } else if text.contains('\0') {
            "it contains a NUL character"
        } else if text.starts_with('$') {
            "topics that start with `$` belong to the broker"
        } else {
            return Ok(Self(text.into()));
        };
        Err(TopicError { text: text.chars().take(80).collect(), what: "topic", rule })
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TopicFilter {
    /// Checks it by MQTT's rules: `+` fills a level, `#` is the last level.
    ///
    /// # Errors
    /// Says which rule it breaks.
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
        } else if text.contains('\0') {
            "it contains a NUL character"
        } else if text.starts_with('$') {
            "topics that start with `$` belong to the broker"
        } else {
            return Ok(Self(text.into()));
        };
        Err(TopicError { text: text.chars().take(80).collect(), what: "topic filter", rule })
    }

    /// Whether a topic is among those it stands for. MQTT 5.0, section 4.7.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut levels = topic.0.split('/');
        for filter in self.0.split('/') {
            match (filter, levels.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (name, Some(level)) if name == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// As text.
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

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a plugin may publish to and subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Filters of the topics it may publish to.
    pub publish: Vec<TopicFilter>,
    /// Filters of the topics it may read.
    pub subscribe: Vec<TopicFilter>,
}

impl Grant {
    /// What a plugin has when nobody says otherwise: everything below its own name.
    #[must_use]
    pub fn default_of(plugin: &PluginName) -> Self {
        let own = TopicFilter(format!("{plugin}/#").into());
        Self { publish: vec![own.clone()], subscribe: vec![own] }
    }

    /// Whether it may publish there.
    #[must_use]
    pub fn allows_publish(&self, topic: &Topic) -> bool {
        self.publish.iter().any(|filter| filter.matches(topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_mqtt_says() {
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
            assert_eq!(filter.matches(&Topic::parse(topic).expect("valid")), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn bad_topics_and_filters_are_refused() {
        for bad in ["", "a/+", "#", "$SYS/x", "a\0b", &"x".repeat(1025)] {
            assert!(Topic::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "a/#/b", "a+", "a/b#", "$share/g/a"] {
            assert!(TopicFilter::parse(bad).is_err(), "{bad}");
        }
    }
}
