//! Brokers that go away, come back, and refuse.

use std::collections::BTreeSet;

use expect_test::expect;
use roost_scheduler::{event::Event, model::Qos};
use roost_tests::redact;

use super::{
    Probe, attempt,
    brokers::{Broker, Version, free_port},
    ends::{failure, in_full},
    settings,
};
use crate::{
    mqtt::{LinkInfo, Ports, Settings, failure::Failure, start_built_in},
    report::Report,
};

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
    let mut failures = Vec::new();
    for settings in [settings(broker.roost), wrong] {
        let failure = failure(settings).await;
        assert!(matches!(failure, Failure::Login(_)) && failure.needs_operator(), "{failure}");
        failures.push(in_full(&failure, false));
    }
    expect![[r#"
        the broker rejected the login: the user is not authorized (0x87)
        hint: set `user` and `password` in `[mqtt]`, and allow that user to publish to `status_topic` and the plugins' topics, and to read the topics on which devices report
        the broker rejected the login: the user is not authorized (0x87)
        hint: set `user` and `password` in `[mqtt]`, and allow that user to publish to `status_topic` and the plugins' topics, and to read the topics on which devices report"#]].assert_eq(&failures.join("\n"));
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
    expect![[r#"
        TLS: invalid peer certificate: UnknownIssuer
        hint: check that the broker speaks TLS at this port and that its certificate is valid for the host in `url`; if no public authority signed the certificate, set `ca_file` in `[mqtt]` to the authority's certificate"#]].assert_eq(&in_full(&untrusted, true));
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
    let reports = [folder.path().join("absent.pem"), empty].map(|path| {
        let urls = vec!["mqtts://localhost".parse().expect("a good URL")];
        let settings = Settings { urls, ca_file: Some(path), ..settings(1) };
        let (events, _kept) = tokio::sync::mpsc::channel(1);
        let report: Report = crate::mqtt::connect(settings, events, LinkInfo::default()).err().expect("an error");
        redact(&format!("{report}\n"))
    });
    expect![[r#"
        no TLS connection to the broker `mqtts://localhost:8883` is possible
          caused by: the certificates in `[FOLDER]/absent.pem`: No such file or directory (os error 2)
        hint: `ca_file` in `[mqtt]` must be a PEM file with a `BEGIN CERTIFICATE` line, which the user that runs Roost can read
        no TLS connection to the broker `mqtts://localhost:8883` is possible
          caused by: the certificates in `[FOLDER]/empty.pem`: the file has no certificates in PEM format
        hint: `ca_file` in `[mqtt]` must be a PEM file with a `BEGIN CERTIFICATE` line, which the user that runs Roost can read
    "#]]
    .assert_eq(&reports.concat());
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
    let reports =
        [Ports { devices: port, roost: None }, Ports { devices: free_port(), roost: Some(port) }].map(|ports| {
            let report = start_built_in(ports, folder.path(), "roost-test").expect_err("the port is taken");
            redact(&report.to_string().replace(&format!(":{port}"), ":[TAKEN]"))
        });
    expect![[r#"
        the built-in broker was not started at `127.0.0.1:[TAKEN]`
          caused by: Address already in use (os error 98)
        hint: to use the broker that already listens there, pass `--mqtt mqtt://127.0.0.1:1883`, or set `ROOST_MQTT=mqtt://127.0.0.1:1883` in the environment
        the built-in broker was not started at `127.0.0.1:[TAKEN]`
          caused by: Address already in use (os error 98)
        hint: to use the broker that already listens there, pass `--mqtt mqtt://127.0.0.1:1883`, or set `ROOST_MQTT=mqtt://127.0.0.1:1883` in the environment"#]].assert_eq(&reports.join("\n"));
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
