//! Converts steps: messages, and the reports by which devices confirm them.

use std::sync::Arc;

use roost_scheduler::{
    model::{Confirm, Matches, Message, MessageProperties, Qos, Step},
    text::excerpt,
    topic::{Excess, Topic},
};

use super::{Invalid, Terms, wit};
use crate::config::grant::{self, Access, how_to_allow, how_to_raise};

/// Converts a list of steps. The scheduler's rules check its length.
pub(super) fn steps(list: Vec<wit::Step>, terms: &Terms<'_>) -> Result<Vec<Step>, Invalid> {
    let mut steps = Vec::with_capacity(list.len());
    for (index, proposed) in list.into_iter().enumerate() {
        let numbered = |invalid| Invalid { step: Some(index + 1), ..invalid };
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
    let matches = matches(confirm.matches)?;
    Ok(Confirm { topic, matches, within_ms: confirm.within_ms, already: confirm.already })
}

fn matches(matches: wit::Matches) -> Result<Matches, Invalid> {
    Ok(match matches {
        wit::Matches::Any => Matches::Any,
        wit::Matches::Bytes(bytes) => Matches::Bytes(bytes.into()),
        wit::Matches::Json(wit::JsonValue { pointer, value }) => {
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&value) {
                let rule = format!("it is not JSON: {error}; a string must be in quotes, as in `\"open\"`");
                return Err(Invalid::value("confirm.matches.json.value", format!("`{}`", excerpt(&value)), &rule));
            }
            Matches::Json { pointer, value }
        }
        wit::Matches::JsonRange(wit::JsonRange { pointer, min, max }) => Matches::JsonRange { pointer, min, max },
    })
}

fn message(message: wit::Message, terms: &Terms<'_>) -> Result<Message, Invalid> {
    let topic = topic("topic", &message.topic)?;
    let qos =
        Qos::from_number(message.qos).ok_or_else(|| Invalid::value("qos", message.qos, "it must be 0, 1 or 2"))?;
    if let Some(excess) = terms.grant.excess(topic.as_str(), qos, message.retain) {
        return Err(above_ceiling(excess, &topic, qos, terms));
    }
    let properties = message.properties.map(properties).transpose()?;
    let properties = properties.filter(|properties| *properties != MessageProperties::default()).map(Arc::new);
    Ok(Message { topic, payload: message.payload.into(), qos, retain: message.retain, properties })
}

fn topic(field: &str, text: &str) -> Result<Topic, Invalid> {
    Topic::parse(text).map_err(|error| Invalid::new(format!("`{field}`: {error}")))
}

/// Returns the error for a topic outside of the grant (I8). The hint contains the lines that allow it.
fn outside_grant(field: &str, topic: &Topic, terms: &Terms<'_>) -> Invalid {
    let Terms { plugin, grant, granted_by_operator, .. } = *terms;
    let (verb, access) = if field == "topic" { ("publish to", Access::Publish) } else { ("read", Access::Read) };
    Invalid::new(format!("`{field}` `{topic}` is outside what `{plugin}` may {verb}")).hint(how_to_allow(
        plugin,
        topic,
        access,
        grant,
        granted_by_operator,
    ))
}

/// Returns the error for a QoS or a retained message that exceeds the grant (I8). The hint contains the line that
/// allows it.
fn above_ceiling(excess: Excess, topic: &Topic, qos: Qos, terms: &Terms<'_>) -> Invalid {
    let Terms { plugin, grant, granted_by_operator, .. } = *terms;
    let above = grant::above(excess, &format!("`{plugin}`"), qos, grant);
    let hint = how_to_raise(plugin, excess, qos, granted_by_operator);
    match (above, hint) {
        (Some(what), Some(hint)) => Invalid::new(format!("{what}, in the message to `{topic}`")).hint(hint),
        _ => outside_grant("topic", topic, terms),
    }
}

fn properties(properties: wit::MessageProperties) -> Result<MessageProperties, Invalid> {
    let wit::MessageProperties { expiry_ms, content_type, response_topic, user } = properties;
    let response_topic = response_topic.map(|text| topic("properties.response-topic", &text)).transpose()?;
    Ok(MessageProperties { expiry_ms, content_type, response_topic, user: user.unwrap_or_default() })
}
