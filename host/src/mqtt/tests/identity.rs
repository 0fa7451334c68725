//! Brokers that require a client certificate, and several broker addresses.

use std::{path::Path, time::Duration};

use roost_scheduler::model::Qos;

use super::{
    Probe, attempt,
    brokers::{Broker, free_port},
    false_broker::FalseBroker,
    outages::failure,
    settings,
};
use crate::mqtt::{Settings, Timeouts, addresses::Addresses, failure::Failure};

const FILES: [(&str, &str); 9] = [
    ("server.pem", include_str!("certificates/server.pem")),
    ("server.key", include_str!("certificates/server.key")),
    ("ca.pem", include_str!("certificates/ca.pem")),
    ("client-ca.pem", include_str!("certificates/client-ca.pem")),
    ("client.pem", include_str!("certificates/client.pem")),
    ("client.key", include_str!("certificates/client.key")),
    ("encrypted.key", include_str!("certificates/encrypted.key")),
    ("other.key", include_str!("certificates/other.key")),
    ("unrelated.pem", include_str!("certificates/unrelated.pem")),
];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in FILES {
        std::fs::write(folder.path().join(name), text).expect("writable");
    }
    std::fs::write(folder.path().join("empty.pem"), "nothing").expect("writable");
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n-----END RSA PRIVATE KEY-----\n";
    std::fs::write(folder.path().join("old.key"), old).expect("writable");
    folder
}

fn with(folder: &Path, port: u16, identity: Option<(&str, &str)>) -> Settings {
    Settings {
        urls: vec![format!("mqtts://localhost:{port}").parse().expect("a good URL")],
        ca_file: Some(folder.join("ca.pem")),
        identity: identity.map(|(certificate, key)| (folder.join(certificate), folder.join(key))),
        ..settings(port)
    }
}

#[tokio::test]
async fn a_broker_that_requires_a_certificate_gets_one() {
    let folder = folder();
    let lines = "certfile DIR/server.pem\nkeyfile DIR/server.key\ncafile DIR/client-ca.pem\nrequire_certificate true\n\
                 use_identity_as_username true\nacl_file DIR/acl";
    let acl = ("acl", "user roost\ntopic write #\n");
    let broker = Broker::mosquitto_with(free_port(), lines, &[&FILES[..], &[acl]].concat()).await;

    let without = failure(with(folder.path(), broker.roost, None)).await;
    assert!(matches!(without, Failure::Tls(_)), "{without}");
    assert!(without.hint(true).is_some_and(|hint| hint.contains("`cert_file` and `key_file`")), "{without}");
    // The server's own certificate is signed by another authority.
    let untrusted = failure(with(folder.path(), broker.roost, Some(("server.pem", "server.key")))).await;
    assert!(matches!(untrusted, Failure::Tls(_)), "{untrusted}");
    assert!(
        untrusted.hint(true).is_some_and(|hint| hint.contains("does not accept Roost's certificate")),
        "{untrusted}"
    );

    let mut probe = Probe::connect(with(folder.path(), broker.roost, Some(("client.pem", "client.key"))));
    let (link, _) = probe.up().await;
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 1, "the certificate identifies the user");
}

#[tokio::test]
async fn an_unusable_certificate_or_key_is_an_error_at_the_start() {
    let folder = folder();
    for (identity, what, hint) in [
        (("absent.pem", "client.key"), "the certificate file `", "relative to that file"),
        (("client.pem", "absent.key"), "the key file `", "relative to that file"),
        (("empty.pem", "client.key"), "does not contain a certificate", "`BEGIN CERTIFICATE`"),
        (("client.key", "client.key"), "does not contain a certificate", "`BEGIN CERTIFICATE`"),
        (("client.pem", "empty.pem"), "does not contain a private key", "`BEGIN PRIVATE KEY`"),
        (("client.pem", "client.pem"), "does not contain a private key", "`BEGIN PRIVATE KEY`"),
        (("client.pem", "other.key"), "does not belong to the certificate in", "must belong together"),
        (("client.pem", "encrypted.key"), "has a password", "`openssl pkey -in "),
        (("client.pem", "old.key"), "has a password", "`openssl pkey -in "),
    ] {
        let report = Addresses::new(&with(folder.path(), 1, Some(identity))).err().expect("an error").to_string();
        assert!(report.contains(what) && report.contains(hint), "{identity:?}: {report}");
    }
    let plain = Settings { urls: settings(1).urls, ..with(folder.path(), 1, Some(("client.pem", "client.key"))) };
    let report = Addresses::new(&plain).err().expect("an error").to_string();
    assert!(report.contains("no address in `url` uses it") && report.contains("`mqtts://`"), "{report}");
}

#[tokio::test]
async fn addresses_are_tried_in_turn_without_a_pause() {
    let broker = Broker::mosquitto().await;
    // It listens but never answers.
    let dead = FalseBroker::new().await;
    let url = |port: u16| format!("mqtt://127.0.0.1:{port}").parse().expect("a good URL");
    let urls = vec![url(free_port()), dead.settings().urls[0].clone(), url(broker.roost)];
    let timeouts = Timeouts {
        connect: Duration::from_millis(100),
        first_pause: Duration::from_secs(3_600),
        longest_pause: Duration::from_secs(3_600),
        ..settings(1).timeouts
    };
    let mut probe = Probe::connect(Settings { urls, timeouts, ..settings(1) });
    // The pause would be an hour.
    let (link, _) = probe.up().await;
    assert_eq!(probe.info.get().broker, Some(format!("mqtt://127.0.0.1:{}", broker.roost)));
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 1);
    probe.link.stop().await;
}

#[tokio::test]
async fn when_one_broker_is_lost_the_other_takes_over() {
    let (one, two) = (Broker::mosquitto().await, Broker::mosquitto().await);
    let url = |port: u16| format!("mqtt://127.0.0.1:{port}").parse().expect("a good URL");
    let urls = vec![url(one.roost), url(two.roost)];
    let mut probe = Probe::connect(Settings { urls, ..settings(1) });
    let (link, _) = probe.up().await;
    assert_eq!(probe.info.get().broker, Some(format!("mqtt://127.0.0.1:{}", one.roost)));
    one.kill().await;
    assert_eq!(probe.down().await, link);
    let (link, _) = probe.up().await;
    assert_eq!(probe.info.get().broker, Some(format!("mqtt://127.0.0.1:{}", two.roost)));
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 1);
    probe.link.stop().await;
}
