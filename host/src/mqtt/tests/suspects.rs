//! Brokers that close the connection without a reason when their rules deny a packet.

use std::collections::BTreeSet;

use expect_test::expect;
use roost_scheduler::{event::Event, model::Qos, topic::Topic};
use rumqttc::v5::mqttbytes::v5::Packet;

use super::{
    Probe, attempt,
    brokers::{Broker, Version, free_port},
    ends::{end_of_first, in_full},
    false_broker::{FalseBroker, PINGRESP},
    settings,
};
use crate::mqtt::Settings;

/// Starts a broker with access rules. Mosquitto 2.0.11 closes the connection at each denied message if the number of
/// queued messages is unlimited.
async fn strict(acl: &str) -> Broker {
    let lines = "allow_anonymous true\nacl_file DIR/acl\nmax_queued_messages 0";
    Broker::mosquitto_with(free_port(), lines, &[("acl", acl)]).await
}

/// The events so far, with the attempts that they are about.
#[derive(Debug, Default)]
struct Seen {
    acked: BTreeSet<u64>,
    refused: Vec<(u64, String)>,
    ended_at: Vec<(u64, String)>,
    deferred: Vec<(u64, i64)>,
    links: u64,
}

impl Seen {
    /// Records an event. Returns the number of a new link.
    fn take(&mut self, event: Event) -> Option<u64> {
        match event {
            Event::Acked { attempt, .. } => drop(self.acked.insert(attempt)),
            Event::Refused { attempt, reason, .. } => self.refused.push((attempt, reason)),
            Event::EndedLink { attempt, how, .. } => self.ended_at.push((attempt, how)),
            Event::Deferred { attempt, wait_ms, .. } => self.deferred.push((attempt, wait_ms)),
            Event::LinkUp { link, .. } => {
                self.links += 1;
                return Some(link);
            }
            Event::LinkDown { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
        None
    }
}

impl Probe {
    /// Records events until a condition holds. Returns the number of the newest link.
    async fn until(&mut self, seen: &mut Seen, is_done: impl Fn(&Seen) -> bool) -> Option<u64> {
        let mut link = None;
        while !is_done(seen) {
            let event = self.next().await;
            link = seen.take(event).or(link);
        }
        link
    }
}

#[tokio::test]
async fn a_denied_status_topic_does_not_affect_other_topics() {
    let broker = strict("topic write coop/#\ntopic read #\n").await;
    let mut reader = broker.reader(Version::Five).await;
    let mut probe = Probe::connect(settings(broker.roost));
    let mut seen = Seen::default();
    // The first ends at `online`, and the third at its trial.
    let link = probe.until(&mut seen, |seen| seen.links == 3).await.expect("the third");
    for number in 1..=100 {
        probe.link.publish(attempt(link, number, "coop/light", b"on", Qos::AtLeastOnce));
    }
    probe.until(&mut seen, |seen| seen.acked.len() == 100).await;
    assert_eq!(seen.links, 3, "the status topic is not retried yet");
    assert!(reader.next().await.starts_with("coop/light|"));
    probe.link.stop().await;
}

#[tokio::test]
async fn the_status_topic_can_be_changed_or_turned_off() {
    let broker = strict("topic write coop/#\ntopic read #\n").await;
    let mut reader = broker.reader(Version::Five).await;
    let chosen = Settings { status_topic: Some(Topic::parse("coop/roost").expect("valid")), ..settings(broker.roost) };
    let mut probe = Probe::connect(chosen);
    let (link, _) = probe.up().await;
    let online = reader.next().await;
    assert!(online.starts_with("coop/roost|0|") && online.contains("|online|"), "{online}");
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 1);
    assert!(reader.next().await.starts_with("coop/light|"));
    // As if the process had been killed.
    probe.link.task.abort();
    assert!(reader.next().await.starts_with("coop/roost|0|0|offline|"));

    let mut probe = Probe::connect(Settings { status_topic: None, ..settings(broker.roost) });
    let (link, _) = probe.up().await;
    probe.link.publish(attempt(link, 1, "coop/light", b"off", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 1);
    probe.link.stop().await;
    assert!(reader.next().await.contains("|off|"), "no status is published");
}

#[tokio::test]
async fn a_denied_topic_is_found_and_others_are_sent() {
    let broker = strict("topic write coop/#\ntopic write roost/status\ntopic read #\n").await;
    for (run, qos) in [(0, Qos::AtMostOnce), (1, Qos::AtLeastOnce), (2, Qos::ExactlyOnce)] {
        let mut probe = Probe::connect(Settings { client_id: format!("roost-{run}"), ..settings(broker.roost) });
        let (link, _) = probe.up().await;
        let mut seen = Seen::default();
        for number in 1..=20 {
            let topic = if number == 10 { "porch/light".to_owned() } else { format!("coop/{number}") };
            probe.link.publish(attempt(link, number, &topic, b"on", qos));
        }
        let link = probe.until(&mut seen, |seen| seen.links == 1).await.expect("the link is up again");
        // Suspects are tried, others are sent at once.
        let mut left: BTreeSet<u64> = (101..=120).collect();
        while left != BTreeSet::from([110]) {
            for number in &left {
                let topic = if *number == 110 { "porch/light".to_owned() } else { format!("coop/{}", number - 100) };
                if *number != 110 {
                    probe.link.publish(attempt(link, *number, &topic, b"on", qos));
                }
            }
            let answers = seen.acked.len() + seen.deferred.len() + left.len() - 1;
            probe.until(&mut seen, |seen| seen.acked.len() + seen.deferred.len() == answers).await;
            left.retain(|number| !seen.acked.contains(number));
        }
        assert_eq!(seen.links, 1, "QoS {qos:?}: none of them ends the connection");
        let link = loop {
            probe.link.publish(attempt(link, 110, "porch/light", b"on", qos));
            let answers = seen.deferred.len();
            let again = probe.until(&mut seen, |seen| seen.links == 2 || seen.deferred.len() > answers).await;
            if let Some(link) = again {
                break link;
            }
        };
        // In MQTT 5 the broker may refuse the message before it ends the connection, but that answer may be lost.
        let answers =
            [seen.refused.iter(), seen.ended_at.iter()].into_iter().flatten().filter(|(number, _)| *number == 110);
        let answers: Vec<&(u64, String)> = answers.collect();
        assert_eq!(answers.len(), 1, "{seen:?}");
        seen.deferred.clear();
        probe.link.publish(attempt(link, 210, "porch/light", b"on", qos));
        probe.link.publish(attempt(link, 211, "coop/1", b"on", qos));
        probe.until(&mut seen, |seen| seen.acked.contains(&211) && !seen.deferred.is_empty()).await;
        assert!(matches!(seen.deferred[..], [(210, 5_000..=10_500)]), "it is not retried yet: {seen:?}");
        assert_eq!(seen.links, 2);
        probe.link.stop().await;
    }
}

#[tokio::test]
async fn a_broker_that_goes_away_makes_nothing_a_suspect() {
    let port = free_port();
    let broker = Broker::mosquitto_with(port, "allow_anonymous true", &[]).await;
    let mut probe = Probe::connect(settings(port));
    let (link, credit) = probe.up().await;
    for number in 1..=u64::from(credit) {
        probe.link.publish(attempt(link, number, &format!("coop/{number}"), b"on", Qos::AtLeastOnce));
    }
    let mut seen = Seen::default();
    broker.kill().await;
    // The broker is away for longer than the first pause.
    tokio::time::sleep(settings(port).timeouts.first_pause * 2).await;
    let _broker = Broker::mosquitto_with(port, "allow_anonymous true", &[]).await;
    let link = probe.until(&mut seen, |seen| seen.links == 1).await.expect("it is back");
    seen.acked.clear();
    for number in 1..=u64::from(credit) {
        probe.link.publish(attempt(link, number, &format!("coop/{number}"), b"on", Qos::AtLeastOnce));
    }
    probe.until(&mut seen, |seen| seen.acked.len() == credit as usize).await;
    assert!(seen.deferred.is_empty(), "{seen:?}");
}

#[tokio::test]
async fn a_subscription_that_ends_the_connection_is_found() {
    let broker = FalseBroker::new().await;
    let mut probe = Probe::connect(Settings { status_topic: None, ..broker.settings() });
    let (mut client, (link, _)) = tokio::join!(broker.accept_and_connack(), probe.up());
    probe.watch(link, 1, "porch/state", "on");
    assert_eq!(client.subscribe().await.1, "porch/state");
    drop(client);
    assert_eq!(probe.down().await, link);

    let (mut client, (link, _)) = tokio::join!(broker.accept_and_connack(), probe.up());
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    probe.watch(link, 2, "porch/state", "on");
    probe.watch(link, 3, "coop/state", "on");
    let id = client.publish().await.pkid;
    let (other, topic) = client.subscribe().await;
    assert_eq!(topic, "coop/state");
    client.suback(other, 1).await;
    assert_eq!(probe.watching().await, (3, None));
    assert!(client.read.is_empty(), "it waits until it is alone");
    client.puback(id).await;
    assert_eq!(probe.acked().await, 1);
    assert_eq!(client.subscribe().await.1, "porch/state");
    probe.link.publish(attempt(link, 2, "coop/light", b"on", Qos::AtLeastOnce));
    assert!(matches!(client.next().await, Packet::PingReq(_)), "nothing else is sent meanwhile");
    drop(client);
    let (watch, refused) = probe.watching().await;
    let expected =
        "the broker ended the connection at the subscription to `porch/state`: the broker closed the connection";
    assert_eq!((watch, refused.as_deref()), (2, Some(expected)));
    assert_eq!(probe.down().await, link);

    let (_client, (link, _)) = tokio::join!(broker.accept_and_connack(), probe.up());
    probe.watch(link, 4, "porch/state", "on");
    let expected = "the broker ended an earlier connection at the subscription to `porch/state`";
    assert_eq!(probe.watching().await, (4, Some(expected.to_owned())), "it is not retried yet");
}

#[tokio::test]
async fn a_slow_answer_to_a_suspect_does_not_delay_other_topics() {
    let broker = FalseBroker::new().await;
    let mut probe = Probe::connect(Settings { status_topic: None, ..broker.settings() });
    let (mut client, (link, _)) = tokio::join!(broker.accept_and_connack(), probe.up());
    probe.link.publish(attempt(link, 1, "porch/light", b"on", Qos::AtLeastOnce));
    client.publish().await;
    drop(client);
    probe.down().await;

    let (mut client, (link, _)) = tokio::join!(broker.accept_and_connack(), probe.up());
    probe.link.publish(attempt(link, 2, "porch/light", b"on", Qos::AtLeastOnce));
    let suspect = client.publish().await.pkid;
    assert!(matches!(client.next().await, Packet::PingReq(_)));
    client.send(PINGRESP).await;
    probe.link.publish(attempt(link, 3, "coop/light", b"on", Qos::AtLeastOnce));
    let id = client.publish().await.pkid;
    client.puback(id).await;
    assert_eq!(probe.acked().await, 3);
    client.puback(suspect).await;
    assert_eq!(probe.acked().await, 2);
    tokio::join!(client.read_to_end(), probe.link.stop());
}

#[tokio::test]
async fn a_topic_that_one_broker_denies_is_tried_at_once_at_another() {
    let strict = strict("topic write coop/#\ntopic read #\n").await;
    let open = Broker::mosquitto().await;
    let urls = [&strict, &open].iter().flat_map(|broker| settings(broker.roost).urls).collect();
    let mut probe = Probe::connect(Settings { urls, status_topic: None, ..settings(1) });
    let (link, _) = probe.up().await;
    let mut seen = Seen::default();
    probe.link.publish(attempt(link, 1, "porch/light", b"on", Qos::AtLeastOnce));
    let link = probe.until(&mut seen, |seen| seen.links == 1).await.expect("the second");
    probe.link.publish(attempt(link, 2, "porch/light", b"on", Qos::AtLeastOnce));
    let link = probe.until(&mut seen, |seen| seen.links == 2).await.expect("the third");
    assert_eq!(seen.refused.len(), 2, "{seen:?}");
    probe.link.publish(attempt(link, 3, "porch/light", b"on", Qos::AtLeastOnce));
    probe.until(&mut seen, |seen| !seen.deferred.is_empty()).await;
    strict.kill().await;
    let mut link = probe.until(&mut seen, |seen| seen.links == 3).await.expect("the fourth");
    for number in 4.. {
        let deferred = seen.deferred.len();
        probe.link.publish(attempt(link, number, "porch/light", b"on", Qos::AtLeastOnce));
        let after = probe.until(&mut seen, |seen| !seen.acked.is_empty() || seen.deferred.len() > deferred).await;
        link = after.unwrap_or(link);
        if !seen.acked.is_empty() {
            break;
        }
        let wait_ms = seen.deferred[deferred].1;
        assert!(wait_ms < 5_000, "the pause after a trial, and not the strict broker's: {wait_ms} ms");
        tokio::time::sleep(std::time::Duration::from_millis(wait_ms.unsigned_abs())).await;
    }
    assert_eq!(probe.info.get().held_back_count, 0);
}

#[tokio::test]
async fn a_broker_that_accepts_and_closes_makes_the_link_try_the_next_address() {
    let (closing, open) = (FalseBroker::new().await, Broker::mosquitto().await);
    let urls = [closing.settings().urls, settings(open.roost).urls].concat();
    let mut probe = Probe::connect(Settings { urls, status_topic: None, ..settings(1) });
    let closes = async {
        loop {
            closing.accept_and_connack().await;
        }
    };
    let open_url = format!("mqtt://127.0.0.1:{}", open.roost);
    let connected = async {
        probe.up().await;
        probe.down().await;
        probe.up().await;
        probe.info.get().broker
    };
    tokio::select! {
        broker = connected => assert_eq!(broker, Some(open_url)),
        () = closes => {}
    }
}

#[tokio::test]
async fn a_broker_that_accepts_and_closes_is_reported_as_such() {
    let broker = FalseBroker::new().await;
    let settings = Settings { status_topic: None, ..broker.settings() };
    let (end, ()) = tokio::join!(end_of_first(settings), async {
        broker.accept_and_connack().await;
    });
    let crate::mqtt::End::Lost(failure, _) = end else { panic!("it was accepted") };
    expect![[r#"
        the broker accepted the connection and closed it at once
        hint: check the broker's log; the broker may reject this user, or the client id in the data folder (`client-id`)"#]].assert_eq(&in_full(&failure, false));
}
