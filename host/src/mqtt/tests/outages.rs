//! Brokers that go away, come back, and refuse.

use std::collections::BTreeSet;

use roost_scheduler::{event::Event, model::Qos};

use super::{
    Probe, attempt,
    brokers::{Broker, Version, free_port},
    settings,
};
use crate::{
    mqtt::{End, LinkInfo, Links, Ports, Settings, addresses::Addresses, failure::Failure, start_built_in},
    report::Report,
};

/// Runs one link and returns how it ends.
pub(super) async fn end_of_first(settings: Settings) -> End {
    let addresses = Addresses::new(&settings).expect("good settings");
    let (_orders, orders) = tokio::sync::mpsc::unbounded_channel();
    let (events, _kept) = tokio::sync::mpsc::channel(64);
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    Links::new(settings, addresses, (orders, events, stopped), LinkInfo::default()).next().await
}

/// Returns why the first connection fails.
pub(super) async fn failure(settings: Settings) -> Failure {
    match end_of_first(settings).await {
        End::Failed(failure) => failure,
        End::Lost(failure, _) => panic!("it was connected, and then {failure}"),
        End::Stopped => panic!("it was stopped"),
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_twice_when_a_broker_is_killed_and_comes_back() {
    let port = free_port();
    let mut broker = Broker::another_at(port).await;
    let mut probe = Probe::connect(settings(port));
    let mut acked = BTreeSet::new();
    let mut next = 0;
    for round in 1..=3 {
        let (link, credit) = probe.up().await;
        assert_eq!(link, round);
        let mut down = false;
        let mut under_way = 0;
        let mut acked_on_link = 0;
        while !down {
            while under_way < credit {
                next += 1;
                under_way += 1;
                let qos = if next % 2 == 0 { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
                probe.link.publish(attempt(link, next, "coop/light", b"on", qos));
            }
            match probe.next().await {
                Event::Acked { link: of, attempt, .. } => {
                    assert_eq!(of, link);
                    assert!(acked.insert(attempt), "{attempt} is acknowledged twice");
                    under_way -= 1;
                    acked_on_link += 1;
                    if acked_on_link == 2_000 {
                        broker.kill().await;
                        broker = Broker::another_at(port).await;
                    }
                }
                // The broker was back so soon that the topic became a suspect.
                Event::Deferred { .. } => under_way -= 1,
                Event::LinkDown { link: of } => {
                    assert_eq!(of, link);
                    down = true;
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        assert!(acked_on_link >= 2_000);
    }
    probe.up().await;
    probe.link.stop().await;
}

#[tokio::test]
async fn a_message_that_the_broker_forbids_is_refused_with_its_reason() {
    let acl = "topic write coop/#\ntopic write roost/status\ntopic read #\n";
    let lines = "allow_anonymous true\nacl_file DIR/acl";
    let broker = Broker::mosquitto_with(free_port(), lines, &[("acl", acl)]).await;
    let mut probe = Probe::connect(settings(broker.roost));
    let (link, _) = probe.up().await;
    for (number, qos) in [(1, Qos::AtLeastOnce), (2, Qos::ExactlyOnce)] {
        probe.link.publish(attempt(link, number, "porch/light", b"on", qos));
        let (attempt, reason) = probe.refused().await;
        assert_eq!(attempt, number);
        assert_eq!(reason, "the user is not authorized (0x87)");
    }
    probe.link.publish(attempt(link, 3, "coop/light", b"on", Qos::ExactlyOnce));
    assert_eq!(probe.acked().await, 3);
}

#[tokio::test]
async fn a_broker_that_requires_a_login_gets_one() {
    // The password is `secret`, hashed with `mosquitto_passwd`.
    let lines = "allow_anonymous false\npassword_file DIR/passwords";
    let broker = Broker::mosquitto_with(free_port(), lines, &[("passwords", PASSWORDS)]).await;
    let wrong = Settings { user: Some("ada".into()), password: Some("wrong".into()), ..settings(broker.roost) };
    for settings in [settings(broker.roost), wrong] {
        let failure = failure(settings).await;
        assert!(matches!(failure, Failure::Login(_)) && failure.needs_operator(), "{failure}");
        assert!(failure.hint(false).is_some_and(|hint| hint.contains("`user` and `password`")));
    }
    let urls = vec![format!("mqtt://ada:secret@127.0.0.1:{}", broker.roost).parse().expect("a good URL")];
    Probe::connect(Settings { urls, ..settings(broker.roost) }).up().await;
    let urls = vec![format!("mqtt://unknown:nothing@127.0.0.1:{}", broker.roost).parse().expect("a good URL")];
    let login = Settings { user: Some("ada".into()), password: Some("secret".into()), ..settings(broker.roost) };
    Probe::connect(Settings { urls, ..login }).up().await;
}

const PASSWORDS: &str = "ada:$7$101$WaYynnm4QPE4csPF$D5r/BTrcEumSkX0Y0HdWnnIzHG5ZZ8+YxSQdIFuu03jQljHIYUDgUL+fVZXfZ6BuR2AMncAIWr4KuWV5RoSsZA==\n";

#[tokio::test]
async fn a_link_over_tls_carries_messages() {
    let files = [
        ("server.pem", include_str!("certificates/server.pem")),
        ("server.key", include_str!("certificates/server.key")),
        ("ca.pem", include_str!("certificates/ca.pem")),
    ];
    let lines = "allow_anonymous true\ncertfile DIR/server.pem\nkeyfile DIR/server.key";
    let broker = Broker::mosquitto_with(free_port(), lines, &files).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, files[2].1).expect("writable");
    let tls = |host: &str, ca_file| Settings {
        urls: vec![format!("mqtts://{host}:{}", broker.roost).parse().expect("a good URL")],
        ca_file,
        ..settings(broker.roost)
    };

    let untrusted = failure(tls("127.0.0.1", Some(unrelated_authority(folder.path())))).await;
    assert!(matches!(untrusted, Failure::Tls(_)), "{untrusted}");
    assert!(untrusted.hint(true).is_some_and(|hint| hint.contains("`ca_file`")));
    let plain = failure(settings(broker.roost)).await;
    assert!(matches!(plain, Failure::ClosedAtOnce | Failure::Malformed(_)), "{plain}");

    let mut probe = Probe::connect(tls("localhost", Some(ca_file)));
    let (link, _) = probe.up().await;
    let payload = vec![b'x'; 200_000];
    for (number, qos) in [(1, Qos::AtMostOnce), (2, Qos::AtLeastOnce), (3, Qos::ExactlyOnce)] {
        probe.link.publish(attempt(link, number, "coop/photo", &payload, qos));
        assert_eq!(probe.acked().await, number);
    }
    broker.kill().await;
    assert_eq!(probe.down().await, link);
}

/// Writes an authority that has not signed the server's certificate.
fn unrelated_authority(folder: &std::path::Path) -> std::path::PathBuf {
    let path = folder.join("unrelated.pem");
    std::fs::write(&path, include_str!("certificates/unrelated.pem")).expect("writable");
    path
}

#[tokio::test]
async fn an_unreadable_ca_file_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").expect("writable");
    for path in [folder.path().join("absent.pem"), empty] {
        let urls = vec!["mqtts://localhost".parse().expect("a good URL")];
        let settings = Settings { urls, ca_file: Some(path.clone()), ..settings(1) };
        let (events, _kept) = tokio::sync::mpsc::channel(1);
        let report: Report = crate::mqtt::connect(settings, events, LinkInfo::default()).err().expect("an error");
        assert!(report.to_string().contains(&format!("the certificates in `{}`", path.display())), "{report}");
    }
}

#[tokio::test]
async fn the_link_waits_for_an_absent_broker() {
    let port = free_port();
    let mut probe = Probe::connect(settings(port));
    let failure = failure(settings(port)).await;
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
    let broker = Broker::mosquitto_with(port, "allow_anonymous true", &[]).await;
    probe.up().await;
    drop(broker);
    probe.down().await;
    probe.link.stop().await;
}

#[test]
fn the_built_in_broker_reports_a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let folder = tempfile::tempdir().expect("a temporary folder");
    for ports in [Ports { devices: port, roost: None }, Ports { devices: free_port(), roost: Some(port) }] {
        let report = start_built_in(ports, folder.path(), "roost-test").expect_err("the port is taken").to_string();
        assert!(report.contains(&format!("`127.0.0.1:{port}`")), "{report}");
        assert!(report.contains("`--mqtt mqtt://127.0.0.1:1883`"), "{report}");
    }
}

#[tokio::test]
async fn the_built_in_broker_delivers_between_versions() {
    let broker = Broker::built_in();
    let mut probe = Probe::connect(settings(broker.roost));
    let (link, _) = probe.up().await;
    let mut reader = broker.reader(Version::Three).await;
    reader.next().await;
    for number in 1..=500 {
        let payload = number.to_string();
        probe.link.publish(attempt(link, number, &format!("coop/{number}"), payload.as_bytes(), Qos::AtLeastOnce));
    }
    for number in 1..=500 {
        assert_eq!(reader.next().await, format!("coop/{number}|1|0|{number}|||"));
    }
}
