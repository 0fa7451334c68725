//! Steps: messages, and the reports by which devices confirm them.

use std::sync::Arc;

use roost_scheduler::{
    limits as bounds,
    model::{Confirm, Matches, Message, MessageProperties, Qos, Step},
    topic::{Topic, is_forbidden},
};

use super::{Invalid, Terms, wit};

/// However many there are.
pub(super) fn steps(list: Vec<wit::Step>, terms: &Terms<'_>) -> Result<Vec<Step>, Invalid> {
    let mut earlier = 0;
    let mut steps = Vec::with_capacity(list.len());
    for (index, proposed) in list.into_iter().enumerate() {
        let numbered = |invalid| Invalid { step: Some(index + 1), ..invalid };
        let after_ms = proposed.after_ms;
        if after_ms < earlier {
            let rule = format!("it must not be less than the step before, {earlier}");
            return Err(numbered(Invalid::value("after-ms", after_ms, &rule)));
        }
        earlier = after_ms;
        steps.push(step(proposed, terms).map_err(numbered)?);
    }
    Ok(steps)
}

fn step(step: wit::Step, terms: &Terms<'_>) -> Result<Step, Invalid> {
    Ok(Step {
        after_ms: step.after_ms,
        message: message(step.message, terms)?,
        once: step.once,
        confirm: step.confirm.map(|confirm| self::confirm(confirm, terms)).transpose()?.map(Arc::new),
    })
}

fn confirm(confirm: wit::Confirm, terms: &Terms<'_>) -> Result<Confirm, Invalid> {
    let topic = topic("confirm.topic", &confirm.topic)?;
    if !terms.grant.allows_subscribe(topic.as_str()) {
        return Err(outside_grant("confirm.topic", &topic, terms));
    }
    if confirm.within_ms == 0 {
        return Err(Invalid::value("confirm.within-ms", 0, "it must be 1 or more"));
    }
    let matches = matches(confirm.matches)?;
    Ok(Confirm { topic, matches, within_ms: confirm.within_ms, already: confirm.already })
}

fn matches(matches: wit::Matches) -> Result<Matches, Invalid> {
    let short = |field: &str, length: usize| {
        let value = format!("of {length} bytes");
        let rule = "it may have 4,096 (4 KiB)";
        if length > bounds::CONDITION_BYTES { Err(Invalid::value(field, value, rule)) } else { Ok(()) }
    };
    let pointer = |field: &str, text: String| {
        short(field, text.len())?;
        if text.is_empty() || text.starts_with('/') {
            return Ok(text);
        }
        Err(Invalid::value(field, format!("`{text}`"), "it must be empty or begin with `/` (RFC 6901)"))
    };
    Ok(match matches {
        wit::Matches::Any => Matches::Any,
        wit::Matches::Bytes(bytes) => {
            short("confirm.matches.bytes", bytes.len())?;
            Matches::Bytes(bytes.into())
        }
        wit::Matches::Json(wit::JsonValue { pointer: place, value }) => {
            let field = "confirm.matches.json.value";
            short(field, value.len())?;
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&value) {
                let rule = format!("it is not JSON: {error}; a text needs its quotes, as in `\"open\"`");
                return Err(Invalid::value(field, format!("`{value}`"), &rule));
            }
            Matches::Json { pointer: pointer("confirm.matches.json.pointer", place)?, value }
        }
        wit::Matches::JsonRange(wit::JsonRange { pointer: place, min, max }) => {
            if !(min.is_finite() && max.is_finite() && min <= max) {
                let rule = "both must be finite, and `min` at most `max`";
                return Err(Invalid::value("confirm.matches.json-range", format!("{min} to {max}"), rule));
            }
            Matches::JsonRange { pointer: pointer("confirm.matches.json-range.pointer", place)?, min, max }
        }
    })
}

fn message(message: wit::Message, terms: &Terms<'_>) -> Result<Message, Invalid> {
    let topic = topic("topic", &message.topic)?;
    if !terms.grant.allows_publish(topic.as_str()) {
        return Err(outside_grant("topic", &topic, terms));
    }
    if message.payload.len() > bounds::PAYLOAD_BYTES {
        let value = format!("of {} bytes", message.payload.len());
        return Err(Invalid::value("payload", value, "it may have 262,144 (256 KiB)"));
    }
    let qos =
        Qos::from_number(message.qos).ok_or_else(|| Invalid::value("qos", message.qos, "it must be 0, 1 or 2"))?;
    let properties = message.properties.map(properties).transpose()?;
    let properties = properties.filter(|properties| *properties != MessageProperties::default()).map(Arc::new);
    Ok(Message { topic, payload: message.payload.into(), qos, retain: message.retain, properties })
}

fn topic(field: &str, text: &str) -> Result<Topic, Invalid> {
    Topic::parse(text).map_err(|error| Invalid::new(format!("`{field}`: {error}")))
}

/// I8. The hint is the text that would allow it.
fn outside_grant(field: &str, topic: &Topic, terms: &Terms<'_>) -> Invalid {
    let plugin = terms.plugin;
    let (verb, key, granted) = match field {
        "topic" => ("publish to", "publish", &terms.grant.publish),
        _ => ("read", "subscribe", &terms.grant.subscribe),
    };
    let mut filters: Vec<_> = granted.iter().map(|filter| format!("{:?}", filter.as_str())).collect();
    // All that a plugin has by default, or each of its topics would have to be added one by one.
    let own = topic.as_str().strip_prefix(plugin.as_str()).is_some_and(|rest| rest.starts_with('/'));
    filters.push(if own { format!("\"{plugin}/#\"") } else { format!("{:?}", topic.as_str()) });
    let (file, table) = if terms.granted_by_operator {
        ("roost.toml".into(), format!("[grants.{plugin}]"))
    } else {
        (format!("plugins/{plugin}.toml"), "[grants]".into())
    };
    Invalid::new(format!("`{field}` `{topic}` is outside what `{plugin}` may {verb}"))
        .hint(format!("to allow it, put this into `{file}`:\n{table}\n{key} = [{}]", filters.join(", ")))
}

fn properties(properties: wit::MessageProperties) -> Result<MessageProperties, Invalid> {
    if properties.expiry_ms == Some(0) {
        return Err(Invalid::value("properties.expiry-ms", 0, "it must be 1 or more"));
    }
    let response_topic = properties.response_topic.map(|text| topic("properties.response-topic", &text)).transpose()?;
    let user = properties.user.unwrap_or_default();
    if user.len() > bounds::USER_PROPERTIES {
        return Err(Invalid::value("properties.user", user.len(), "there may be 16"));
    }
    if let Some((name, _)) = user.iter().find(|(name, _)| name.starts_with("roost-")) {
        let rule = "names that start with `roost-` are the host's";
        return Err(Invalid::value("properties.user", format!("`{name}`"), rule));
    }
    let texts = || user.iter().flat_map(|(name, value)| [name, value]).chain(&properties.content_type);
    let bytes: usize = texts().map(String::len).sum();
    if bytes > bounds::PROPERTIES_BYTES {
        let rule = "the content type and the user properties may have 32,768 (32 KiB) together";
        return Err(Invalid::value("properties", format!("of {bytes} bytes"), rule));
    }
    if let Some(char) = texts().flat_map(|text| text.chars()).find(|char| is_forbidden(*char)) {
        let value = format!("with the character U+{:04X}", u32::from(char));
        return Err(Invalid::value("properties", value, "MQTT does not allow it"));
    }
    Ok(MessageProperties {
        expiry_ms: properties.expiry_ms,
        content_type: properties.content_type,
        response_topic,
        user,
    })
}
