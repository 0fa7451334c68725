//! Brokers that do not support MQTT 5, QoS 2 or the last will.

use std::time::Duration;

use expect_test::expect;
use roost_scheduler::{event::Event, model::Qos};
use tokio::time::Instant;

use super::{
    Probe, attempt,
    brokers::{Broker, Version, refuse_5},
    confirm,
    false_broker::FalseBroker,
    settings,
};
use crate::mqtt::{connection::too_late, message::message};

#[tokio::test]
async fn a_broker_that_refuses_5_in_any_way_is_used_with_3_1_1() {
    let broker = Broker::mosquitto().await;
    let answers: [&[u8]; 5] = [&[0x20, 2, 0, 1], &[0x20, 3, 0, 0x84, 0], &[0x20, 2, 0, 0], b"", b"what?"];
    for answer in answers {
        let port = refuse_5(broker.roost, answer).await;
        let mut probe = Probe::connect(settings(port));
        let (link, _) = probe.up().await;
        assert_eq!(probe.info.get().protocol, Some("3.1.1"), "{answer:02x?}");
        assert_eq!(probe.info.get().broker, Some(format!("mqtt://127.0.0.1:{port}")));
        let mut reader = broker.reader(Version::Five).await;
        assert_eq!(reader.status().await.0, "online");
        for (number, qos) in [(1, Qos::AtMostOnce), (2, Qos::AtLeastOnce), (3, Qos::ExactlyOnce)] {
            probe.link.publish(attempt(link, number, "coop/light", b"on", qos));
            assert_eq!(probe.acked().await, number);
            assert_eq!(reader.next().await, format!("coop/light|{}|0|on|||", qos as u8));
        }
        probe.link.stop().await;
        assert_eq!(reader.status().await.0, "offline");
    }
}

#[tokio::test]
async fn own_messages_are_not_reports_in_3_1_1() {
    let broker = Broker::old().await;
    let mut probe = Probe::connect(settings(broker.roost));
    let (link, _) = probe.up().await;
    probe.link.watch(link, 1, confirm("door/state", "open").into());
    assert_eq!(probe.watching().await, (1, None));
    probe.link.publish(attempt(link, 1, "door/state", b"open", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 1);
    probe.link.publish(attempt(link, 2, "door/state", b"shut", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 2);
    // The device reports the same.
    let mut device = Probe::connect(crate::mqtt::Settings { client_id: "device".into(), ..settings(broker.roost) });
    let (of_device, _) = device.up().await;
    device.link.publish(attempt(of_device, 1, "door/state", b"open", Qos::AtLeastOnce));
    assert_eq!(device.acked().await, 1);
    let received = probe.received().await;
    assert!(received.matches && received.excerpt == "open", "{received:?}");
}

#[tokio::test]
async fn a_broker_without_qos_2_accepts_such_messages_at_qos_1() {
    let broker = FalseBroker::new().await;
    let mut probe = Probe::connect(broker.settings());
    let refused = async {
        broker.accept_any().await.send(&[0x20, 2, 0, 1]).await;
        let mut client = broker.accept_any().await;
        client.send(&[0x20, 2, 0, 0]).await;
        client
    };
    let (mut client, (link, _)) = tokio::join!(refused, probe.up());
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::ExactlyOnce));
    client.puback(1).await;
    assert_eq!(probe.acked().await, 1);
}

#[tokio::test]
async fn a_denied_last_will_is_left_out() {
    let broker = FalseBroker::new().await;
    let mut probe = Probe::connect(broker.settings());
    let first = async {
        broker.accept_any().await.send(&[0x20, 3, 0, 0x87, 0]).await;
        broker.accept_and_connack().await
    };
    let (mut client, _) = tokio::join!(first, probe.up());
    assert_eq!(&client.publish().await.payload[..], b"online");
    tokio::join!(client.read_to_end(), probe.link.stop());
}

#[test]
fn a_message_that_expires_in_the_host_is_not_sent() {
    let mut attempt = attempt(1, 1, "coop/light", b"on", Qos::AtLeastOnce);
    let now = Instant::now();
    let since = |seconds| now.checked_sub(Duration::from_secs(seconds)).expect("the machine runs for longer");
    assert_eq!(too_late(&message(&attempt), since(60)), None, "it does not expire");
    attempt.expiry_ms = Some(5_000);
    assert_eq!(too_late(&message(&attempt), since(1)), None);
    let reason = too_late(&message(&attempt), since(6)).expect("too late");
    expect!["it waited 6 s for the connection and expired after 5 s"].assert_eq(&reason);
}

#[tokio::test]
async fn a_message_without_a_subscriber_is_acknowledged_as_such() {
    let broker = Broker::mosquitto().await;
    let mut probe = Probe::connect(crate::mqtt::Settings { status_topic: None, ..settings(broker.roost) });
    let (link, _) = probe.up().await;
    // Mosquitto does not report that at QoS 2.
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    let event = probe.next().await;
    assert!(matches!(event, Event::Acked { attempt: 1, no_subscriber: true, .. }), "{event:?}");
    probe.link.watch(link, 1, confirm("coop/light", "off").into());
    assert_eq!(probe.watching().await, (1, None));
    probe.link.publish(attempt(link, 3, "coop/light", b"on", Qos::AtLeastOnce));
    let event = probe.next().await;
    assert!(matches!(event, Event::Acked { attempt: 3, no_subscriber: false, .. }), "{event:?}");
}
