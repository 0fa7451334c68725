//! Converts an attempt into an MQTT message.

use bytes::Bytes;
use roost_scheduler::{body::StepRef, event, model::Qos, topic::is_forbidden};
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{Publish, PublishProperties},
};

/// The user property with the id of the run that a message belongs to. It distinguishes the link's own messages from
/// devices' reports, because not every broker supports the no-local option.
pub(super) const RUN: &str = "roost-run";

/// Builds the message of an attempt, without a packet id. It is never marked as a duplicate: on a new connection each
/// attempt is a new message, and a device recognizes a run that it has seen before by `roost-run` (I4).
pub(super) fn message(attempt: &event::Publish) -> Publish {
    let message = attempt.message();
    let qos = match message.qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    };
    let payload = Bytes::copy_from_slice(message.payload);
    let mut publish = Publish::new(message.topic(), qos, payload, Some(properties(attempt, message)));
    publish.retain = message.retain;
    publish
}

fn properties(attempt: &event::Publish, message: StepRef<'_>) -> PublishProperties {
    let run = attempt.run.to_string();
    let own = message.properties();
    let own = own.as_ref();
    let expiry_ms = own.and_then(|own| own.expiry_ms).or(attempt.expiry_ms);
    let content_type = own.and_then(|own| own.content_type.clone());
    let response_topic = own.and_then(|own| own.response_topic.as_ref()).map(|topic| topic.as_str().to_owned());
    let is_text = content_type.as_deref().is_some_and(names_text) && std::str::from_utf8(message.payload).is_ok();
    let mut user_properties = own.map(|own| own.user.clone()).unwrap_or_default();
    user_properties.push(("roost-due".to_owned(), attempt.due.to_string()));
    user_properties.push(("roost-attempt".to_owned(), attempt.number.to_string()));
    user_properties.push((RUN.to_owned(), run.clone()));
    PublishProperties {
        payload_format_indicator: is_text.then_some(1),
        // At least 1: a broker may treat 0 as already expired.
        message_expiry_interval: expiry_ms.map(|expiry_ms| expiry_ms.div_ceil(1_000).max(1)),
        correlation_data: response_topic.is_some().then(|| Bytes::from(run)),
        response_topic,
        content_type,
        user_properties,
        ..PublishProperties::default()
    }
}

/// Returns why a message must not be sent: brokers answer such texts by ending the connection, which affects all
/// plugins (I7). Plans with such texts are refused already; this check is the last line of defence.
pub(super) fn fault(message: StepRef<'_>) -> Option<String> {
    let own = message.properties();
    let own = own.iter().flat_map(|own| {
        let content_type = own.content_type.iter().map(|text| ("content type", text.as_str()));
        let user = own.user.iter().flat_map(|(key, value)| [key, value]).map(|text| ("user property", text.as_str()));
        content_type.chain(user)
    });
    own.into_iter().find_map(|(what, text)| {
        if text.len() > usize::from(u16::MAX) {
            return Some(format!("a {what} is longer than 65535 bytes"));
        }
        text.chars()
            .find(|char| is_forbidden(*char))
            .map(|char| format!("a {what} contains the character U+{:04X}, which MQTT does not allow", u32::from(char)))
    })
}

fn names_text(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.starts_with("text/") || media_type == "application/json"
}

#[cfg(test)]
mod tests {
    use roost_scheduler::{model::MessageProperties, topic::Topic};

    use expect_test::expect;

    use super::*;
    use crate::mqtt::tests::{attempt, edit};

    fn with(payload: &[u8], own: MessageProperties) -> PublishProperties {
        let mut attempt = attempt(1, 1, "coop/door", payload, Qos::AtLeastOnce);
        edit(&mut attempt, |message| message.properties = Some(own.into()));
        attempt.expiry_ms = Some(1_001);
        message(&attempt).properties.expect("always some")
    }

    #[test]
    fn a_message_carries_the_id_of_its_run() {
        let publish = message(&attempt(1, 5, "coop/door", b"open", Qos::ExactlyOnce));
        assert_eq!((publish.dup, publish.qos, publish.retain), (false, QoS::ExactlyOnce, false));
        let properties = publish.properties.expect("always some");
        let expected = [
            ("roost-due", "2027-03-01T06:30:00.250Z"),
            ("roost-attempt", "2"),
            ("roost-run", "coop-door/north/open/2027-03-01T06:30:00Z"),
        ];
        assert_eq!(properties.user_properties, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(properties.message_expiry_interval, None);
        assert_eq!(properties.correlation_data, None);
    }

    #[test]
    fn a_text_that_would_end_the_connection_is_a_fault() {
        let fault_of = |user: &str| {
            let mut attempt = attempt(1, 1, "coop/door", b"on", Qos::AtLeastOnce);
            let user = vec![("key".to_owned(), user.to_owned())];
            let own = MessageProperties { user, ..MessageProperties::default() };
            edit(&mut attempt, |message| message.properties = Some(own.into()));
            fault(attempt.message()).unwrap_or_default()
        };
        assert_eq!(fault_of("grüße 🐓"), "");
        let faults = ["a\u{0}", "\u{1FFFF}", &"x".repeat(65_536)].map(fault_of);
        expect![[r#"
            a user property contains the character U+0000, which MQTT does not allow
            a user property contains the character U+1FFFF, which MQTT does not allow
            a user property is longer than 65535 bytes"#]]
        .assert_eq(&faults.join("\n"));
    }

    #[test]
    fn a_message_keeps_its_own_properties() {
        let own = MessageProperties {
            expiry_ms: None,
            content_type: Some("application/json; charset=utf-8".to_owned()),
            response_topic: Some(Topic::parse("coop/answers").expect("valid")),
            user: vec![("colour".to_owned(), "red".to_owned())],
        };
        let properties = with(b"{}", own.clone());
        assert_eq!(properties.payload_format_indicator, Some(1));
        assert_eq!(properties.message_expiry_interval, Some(2), "rounded up");
        assert_eq!(properties.response_topic.as_deref(), Some("coop/answers"));
        assert_eq!(properties.correlation_data.as_deref(), Some(&b"coop-door/north/open/2027-03-01T06:30:00Z"[..]));
        assert_eq!(properties.user_properties[0], ("colour".to_owned(), "red".to_owned()));
        assert_eq!(with(b"\xFF", own.clone()).payload_format_indicator, None, "not UTF-8");
        let image = MessageProperties { content_type: Some("image/png".to_owned()), ..own.clone() };
        assert_eq!(with(b"{}", image).payload_format_indicator, None);
        let brief = MessageProperties { expiry_ms: Some(10), ..own };
        assert_eq!(with(b"{}", brief).message_expiry_interval, Some(1));
    }
}
