//! Descriptions of steps as text, for comparison in tests.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use roost_scheduler::model::{Confirm, Matches, Qos, Step};

use crate::milliseconds;

pub(super) fn step(step: &Step) -> String {
    let message = &step.message;
    let mut text = format!("{} {} {}", milliseconds(step.after_ms.into()), message.topic, payload(&message.payload));
    if message.qos != Qos::AtLeastOnce {
        text.push_str(&format!(", qos {}", message.qos as u8));
    }
    if message.retain {
        text.push_str(", retained");
    }
    if let Some(properties) = &message.properties {
        if let Some(expiry_ms) = properties.expiry_ms {
            text.push_str(&format!(", expires after {}", milliseconds(expiry_ms.into())));
        }
        if let Some(content_type) = &properties.content_type {
            text.push_str(&format!(", {content_type}"));
        }
        if let Some(topic) = &properties.response_topic {
            text.push_str(&format!(", answer to {topic}"));
        }
        for (name, value) in &properties.user {
            text.push_str(&format!(", {name}={value}"));
        }
    }
    if step.once {
        text.push_str(", once");
    }
    if let Some(confirm) = &step.confirm {
        text.push_str(&format!(", {}", self::confirm(confirm)));
    }
    text
}

/// Writes `confirmed by coop/north/state OPEN within 30s`.
fn confirm(confirm: &Confirm) -> String {
    let condition = match &confirm.matches {
        Matches::Any => String::new(),
        Matches::Bytes(bytes) => format!(" {}", payload(bytes)),
        Matches::Json { pointer, value } => format!(" {pointer}={value}"),
        Matches::JsonRange { pointer, min, max } => format!(" {pointer}={min}..={max}"),
    };
    let already = if confirm.already { " or before" } else { "" };
    format!("confirmed by {}{condition} within {}{already}", confirm.topic, milliseconds(confirm.within_ms.into()))
}

fn payload(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| format!("base64:{}", BASE64_STANDARD.encode(bytes)), Into::into)
}
