//! Messages as text. Default values are omitted.

use std::fmt::{self, Write as _};

use roost_scheduler::{
    body::StepRef,
    model::{Confirm, Matches, Qos},
    trigger::Duration,
};

use crate::{job_json::text_or_base64, report::in_one_line};

/// Bytes of a payload that are shown: a multiple of three, so that base64 ends without padding where it is cut off.
const PAYLOAD_BYTES: usize = 198;

/// Appends a plugin's text. It is escaped if it could move the cursor or forge another line.
fn put_text(line: &mut String, text: &str) {
    if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        line.push_str(text);
    } else {
        line.push_str(&in_one_line(text));
    }
}

/// Appends the topic, the payload and all values that are not defaults.
pub(super) fn put_message(line: &mut String, message: &StepRef<'_>) -> fmt::Result {
    put_text(line, message.topic());
    line.push_str("  ");
    put_payload(line, message.payload)?;
    if message.qos != Qos::AtLeastOnce {
        write!(line, "  qos {}", message.qos as u8)?;
    }
    if message.retain {
        line.push_str("  retained");
    }
    if let Some(properties) = message.properties() {
        if let Some(expiry_ms) = properties.expiry_ms {
            write!(line, "  expires after {}", Duration(expiry_ms.into()))?;
        }
        if let Some(content_type) = &properties.content_type {
            line.push_str("  as ");
            put_text(line, content_type);
        }
        if let Some(topic) = &properties.response_topic {
            line.push_str("  response to ");
            put_text(line, topic.as_str());
        }
        for (name, value) in &properties.user {
            line.push_str("  with ");
            put_text(line, &format!("{name}={value}"));
        }
    }
    if message.once {
        line.push_str("  once");
    }
    message.confirm().map_or(Ok(()), |confirm| put_confirm(line, &confirm))
}

fn put_payload(line: &mut String, payload: &[u8]) -> fmt::Result {
    match text_or_base64(payload) {
        Ok(text) => put_text(line, &text[..text.floor_char_boundary(PAYLOAD_BYTES)]),
        Err(base64) => {
            line.push_str("base64:");
            line.push_str(&base64[..base64.len().min(PAYLOAD_BYTES / 3 * 4)]);
        }
    }
    if payload.len() > PAYLOAD_BYTES {
        write!(line, "\u{2026} ({} bytes)", payload.len())?;
    }
    Ok(())
}

fn put_confirm(line: &mut String, confirm: &Confirm) -> fmt::Result {
    let Confirm { topic, matches, within_ms, already } = confirm;
    let already = if *already { "already or " } else { "" };
    line.push_str("  confirmed by ");
    put_text(line, topic.as_str());
    match matches {
        Matches::Any => {}
        Matches::Bytes(bytes) => {
            line.push_str(" = ");
            put_payload(line, bytes)?;
        }
        Matches::Json { pointer, value } => {
            line.push_str(" with ");
            put_text(line, &format!("{pointer} = {value}"));
        }
        Matches::JsonRange { pointer, min, max } => {
            line.push_str(" with ");
            put_text(line, &format!("{pointer} from {min} to {max}"));
        }
    }
    write!(line, " {already}within {}", Duration((*within_ms).into()))
}

#[cfg(test)]
mod tests {
    use roost_scheduler::{
        body::Body,
        model::{Message, Policy, Step},
        names::JobId,
        topic::Topic,
    };

    use super::*;

    fn shown(payload: &[u8], once: bool, confirm: Option<Confirm>) -> String {
        let topic = Topic::parse("feeder/go").unwrap();
        let message =
            Message { topic, payload: payload.into(), qos: Qos::AtLeastOnce, retain: false, properties: None };
        let step = Step { after_ms: 0, message, once, confirm: confirm.map(Into::into) };
        let body = Body::new(&JobId::parse("feed").unwrap(), None, &Policy::default(), &[step]);
        let mut line = String::new();
        put_message(&mut line, &body.step(0).unwrap()).unwrap();
        line
    }

    #[test]
    fn delivery_and_confirmation_are_shown() {
        let confirm = |matches, already| {
            let topic = Topic::parse("feeder/state").unwrap();
            Some(Confirm { topic, matches, within_ms: 30_000, already })
        };
        assert_eq!(shown(b"GO", false, None), "feeder/go  GO");
        assert_eq!(shown(b"GO", true, None), "feeder/go  GO  once");
        for (matches, already, expected) in [
            (Matches::Any, false, "within 30s"),
            (Matches::Bytes((*b"FED\n").into()), true, "= FED\\n already or within 30s"),
            (Matches::Json { pointer: "/fed".into(), value: "true".into() }, false, "with /fed = true within 30s"),
            (
                Matches::JsonRange { pointer: "/g".into(), min: 9.5, max: 11.0 },
                false,
                "with /g from 9.5 to 11 within 30s",
            ),
        ] {
            assert_eq!(
                shown(b"GO", false, confirm(matches, already)),
                format!("feeder/go  GO  confirmed by feeder/state {expected}")
            );
        }
    }

    #[test]
    fn a_long_payload_is_truncated() {
        let text = shown("\u{e9}".repeat(150).as_bytes(), false, None);
        assert!(text.ends_with("\u{2026} (300 bytes)"), "{text}");
        let bytes = shown(&[0xff; 199], false, None);
        assert_eq!(bytes, format!("feeder/go  base64:{}\u{2026} (199 bytes)", "/".repeat(264)));
    }
}
