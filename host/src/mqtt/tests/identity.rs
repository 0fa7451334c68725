//! Brokers that require a client certificate, and several broker addresses.

use std::{path::Path, time::Duration};

use expect_test::expect;
use roost_scheduler::model::Qos;
use roost_tests::redact;

use super::{
    Probe, attempt,
    brokers::{Broker, free_port},
    ends::{failure, in_full},
    false_broker::FalseBroker,
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
    expect![[r#"
        TLS: received fatal alert: CertificateRequired
        hint: the broker requires a client certificate: set `cert_file` and `key_file` in `[mqtt]` to a certificate that its authority has signed and to the certificate's key"#]].assert_eq(&in_full(&without, true));
    // The server's own certificate is signed by another authority.
    let untrusted = failure(with(folder.path(), broker.roost, Some(("server.pem", "server.key")))).await;
    assert!(matches!(untrusted, Failure::Tls(_)), "{untrusted}");
    expect![[r#"
        TLS: received fatal alert: UnknownCA
        hint: the broker does not accept Roost's certificate: check that an authority that the broker trusts has signed `cert_file`, and that it is valid today"#]].assert_eq(&in_full(&untrusted, true));

    let mut probe = Probe::connect(with(folder.path(), broker.roost, Some(("client.pem", "client.key"))));
    let (link, _) = probe.up().await;
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 1, "the certificate identifies the user");
}

#[tokio::test]
async fn an_unusable_certificate_or_key_is_an_error_at_the_start() {
    let folder = folder();
    let refused = |identity| {
        let report = Addresses::new(&with(folder.path(), 1, Some(identity))).err().expect("an error");
        redact(&format!("{identity:?}:\n{report}\n"))
    };
    let reports = [
        ("absent.pem", "client.key"),
        ("client.pem", "absent.key"),
        ("empty.pem", "client.key"),
        ("client.key", "client.key"),
        ("client.pem", "empty.pem"),
        ("client.pem", "client.pem"),
        ("client.pem", "other.key"),
        ("client.pem", "encrypted.key"),
        ("client.pem", "old.key"),
    ]
    .map(refused);
    expect![[r#"
        ("absent.pem", "client.key"):
        the certificate file `[FOLDER]/absent.pem` cannot be read
          caused by: No such file or directory (os error 2)
        hint: the user that runs Roost must be able to read it; a path in `roost.toml` is relative to that file's folder
        ("client.pem", "absent.key"):
        the key file `[FOLDER]/absent.key` cannot be read
          caused by: No such file or directory (os error 2)
        hint: the user that runs Roost must be able to read it; a path in `roost.toml` is relative to that file's folder
        ("empty.pem", "client.key"):
        `[FOLDER]/empty.pem` does not contain a certificate
        hint: `cert_file` in `[mqtt]` must be a PEM file with a `BEGIN CERTIFICATE` line
        ("client.key", "client.key"):
        `[FOLDER]/client.key` does not contain a certificate
        hint: `cert_file` in `[mqtt]` must be a PEM file with a `BEGIN CERTIFICATE` line
        ("client.pem", "empty.pem"):
        `[FOLDER]/empty.pem` does not contain a private key
        hint: `key_file` in `[mqtt]` must be a PEM file with a `BEGIN PRIVATE KEY` line or a similar one
        ("client.pem", "client.pem"):
        `[FOLDER]/client.pem` does not contain a private key
        hint: `key_file` in `[mqtt]` must be a PEM file with a `BEGIN PRIVATE KEY` line or a similar one
        ("client.pem", "other.key"):
        the key in `[FOLDER]/other.key` does not belong to the certificate in `[FOLDER]/client.pem`
        hint: `cert_file` and `key_file` in `[mqtt]` must belong together; if `cert_file` has several certificates, Roost's own must be the first
        ("client.pem", "encrypted.key"):
        the key in `[FOLDER]/encrypted.key` has a password
        hint: Roost starts unattended and cannot prompt for a password: remove it with `openssl pkey -in [FOLDER]/encrypted.key -out [FOLDER]/encrypted.plain.pem`, and make the new file readable only for the user that runs Roost
        ("client.pem", "old.key"):
        the key in `[FOLDER]/old.key` has a password
        hint: Roost starts unattended and cannot prompt for a password: remove it with `openssl pkey -in [FOLDER]/old.key -out [FOLDER]/old.plain.pem`, and make the new file readable only for the user that runs Roost
    "#]].assert_eq(&reports.concat());
    let plain = Settings { urls: settings(1).urls, ..with(folder.path(), 1, Some(("client.pem", "client.key"))) };
    let report = Addresses::new(&plain).err().expect("an error").to_string();
    expect![[r#"
        `cert_file` requires TLS, but no address in `url` uses it
        hint: an address with TLS starts with `mqtts://`"#]]
    .assert_eq(&redact(&report));
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
