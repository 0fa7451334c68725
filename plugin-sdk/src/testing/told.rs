//! What a job does, in words that a test can be compared with.

use crate::{
    bindings::{
        exports::roost::device::schedule::{Misfire, Overlap},
        roost::device::types::{Confirm, Matches, Step},
    },
    milliseconds,
};

pub(super) fn step(step: &Step) -> String {
    let message = &step.message;
    let mut text = format!("{} {} {}", milliseconds(step.after_ms.into()), message.topic, payload(&message.payload));
    if message.qos != 1 {
        text.push_str(&format!(", qos {}", message.qos));
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
        for (name, value) in properties.user.iter().flatten() {
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

/// `confirmed by coop/north/state OPEN within 30s`
fn confirm(confirm: &Confirm) -> String {
    let condition = match &confirm.matches {
        Matches::Any => String::new(),
        Matches::Bytes(bytes) => format!(" {}", payload(bytes)),
        Matches::Json(json) => format!(" {}={}", json.pointer, json.value),
        Matches::JsonRange(range) => format!(" {}={}..={}", range.pointer, range.min, range.max),
    };
    let already = if confirm.already { " or before" } else { "" };
    format!("confirmed by {}{condition} within {}{already}", confirm.topic, milliseconds(confirm.within_ms.into()))
}

fn payload(bytes: &[u8]) -> String {
    let digits = |_| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    std::str::from_utf8(bytes).map_or_else(digits, Into::into)
}

pub(super) fn misfire(misfire: Option<&Misfire>) -> String {
    match misfire {
        None | Some(Misfire::RunOnce) => "run-once".into(),
        Some(Misfire::RunAll) => "run-all".into(),
        Some(Misfire::LatestOfGroup(group)) => format!("latest-of-group {group}"),
    }
}

pub(super) fn overlap(overlap: Option<&Overlap>) -> String {
    match overlap {
        None | Some(Overlap::Skip) => "skip".into(),
        Some(Overlap::Queue(runs)) => format!("queue {runs}"),
        Some(Overlap::Allow(runs)) => format!("allow {runs}"),
        Some(Overlap::Replace) => "replace".into(),
    }
}
