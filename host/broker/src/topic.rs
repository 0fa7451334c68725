//! Validates topic names and topic filters, and matches them.

use crate::limits;

/// Checks whether a text is a topic name.
pub(crate) fn is_name(text: &str) -> bool {
    is_text(text) && !text.contains(['+', '#'])
}

/// Checks whether a text is a topic filter: `+` and `#` must be whole levels, and `#` the last one.
pub(crate) fn is_filter(text: &str) -> bool {
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_valid = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            level => !level.contains(['+', '#']),
        };
        if !is_valid {
            return false;
        }
    }
    is_text(text)
}

/// Checks whether a filter has no wildcards.
pub(crate) fn is_exact(filter: &str) -> bool {
    !filter.contains(['+', '#'])
}

/// Checks whether a filter requests a shared subscription.
pub(crate) fn is_shared(filter: &str) -> bool {
    filter == "$share" || filter.starts_with("$share/")
}

/// Checks whether a filter matches a topic. Wildcards do not match a first level that begins with `$`.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(expected), Some(level)) if expected == level => {}
            _ => return false,
        }
    }
}

fn is_text(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::TOPIC_BYTES
        && text.bytes().filter(|byte| *byte == b'/').count() <= limits::TOPIC_SEPARATORS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_alone() {
        for good in ["a", "/", "a/b", "+", "#", "+/+", "a/+/b", "a/#", "+/#", "/#", "$SYS/#", " ", "a//b"] {
            assert!(is_filter(good), "{good}");
        }
        let (long, deep) = ("x".repeat(limits::TOPIC_BYTES + 1), "/".repeat(limits::TOPIC_SEPARATORS + 1));
        for bad in ["", "a+", "+a", "a/#/b", "#/a", "##", "a#", "a/b+/c", &long, &deep] {
            assert!(!is_filter(bad), "{bad}");
        }
        assert!(is_name("a/b") && !is_name("a/+") && !is_name("#") && !is_name(""));
    }

    #[test]
    fn the_examples_of_the_standard() {
        for (filter, topic) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("sport/tennis/+", "sport/tennis/player1"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/monitor"),
            ("$SYS/monitor/+", "$SYS/monitor/Clients"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/monitor"),
            ("+/monitor/Clients", "$SYS/monitor/Clients"),
            ("sport", "Sport"),
            ("a/b", "a"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }
}
