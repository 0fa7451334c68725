//! Brokers that require a certificate, and brokers with several addresses.

use std::{collections::HashSet, fs, path::Path, process::Command};

use roost_tests::{Broker, Listener, Site, free_port, guest, http::text, now_ms, retained};

use crate::job;

/// Makes a key and a certificate for a name, signed by an authority, or for an authority.
fn certificate(folder: &Path, file: &str, name: &str, authority: Option<&str>) {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(folder).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]);
    openssl.args(["-days", "2", "-subj", &format!("/CN={name}")]);
    openssl.args(["-keyout", &format!("{file}.key"), "-out", &format!("{file}.pem")]);
    if let Some(authority) = authority {
        openssl.args(["-CA", &format!("{authority}.pem"), "-CAkey", &format!("{authority}.key")]);
        openssl.args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            &format!("subjectAltName=DNS:{name}"),
        ]);
    }
    let made = openssl.output().expect("openssl is not installed: run `make setup`");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_broker_that_requires_a_certificate_accepts_the_one_of_roost() {
    let (site, files) = (Site::new(), tempfile::tempdir().unwrap());
    for (file, name, authority) in [
        ("broker-ca", "Brokers", None),
        ("broker", "localhost", Some("broker-ca")),
        ("client-ca", "Clients", None),
        ("roost", "roost", Some("client-ca")),
    ] {
        certificate(files.path(), file, name, authority);
    }
    fs::write(files.path().join("acl"), "topic read #\nuser roost\ntopic write #\n").unwrap();
    let (plain, folder) = (free_port(), files.path().display());
    let broker = Broker::start_with(&format!(
        "certfile {folder}/broker.pem\nkeyfile {folder}/broker.key\ncafile {folder}/client-ca.pem\nrequire_certificate true\n\
         use_identity_as_username true\nacl_file {folder}/acl\nlistener {plain} 127.0.0.1\n"
    ));
    site.settings("tick", &job("tick", "every_ms = 1000", "tick/tick"));
    site.drop_in(&guest("declared"), "tick");

    let tls = format!("[mqtt]\nurl = \"mqtts://localhost:{}\"\nca_file = \"{folder}/broker-ca.pem\"\n", broker.port);
    fs::write(site.path().join("roost.toml"), &tls).unwrap();
    let host = site.start_with(&[]);
    host.wait_for_log("set `cert_file` and `key_file` in `[mqtt]`");
    assert!(host.stop().success());

    let identity = format!("{tls}cert_file = \"{folder}/roost.pem\"\nkey_file = \"{folder}/roost.key\"\n");
    fs::write(site.path().join("roost.toml"), identity).unwrap();
    let host = site.start_with(&[]);
    host.wait_for_log(&format!("connected to the broker `mqtts://localhost:{}`, MQTT 5 over TLS", broker.port));
    host.until("a run that succeeded", || {
        (site.query("SELECT count(*) FROM runs WHERE state = 'succeeded'") > 0).then_some(())
    });
    // The broker takes the user from the certificate: other users may not publish.
    assert_eq!(retained(plain, "roost/status").as_deref(), Some("online"));
    assert!(host.stop().success());
    assert_eq!(retained(plain, "roost/status").as_deref(), Some("offline"));
}

#[test]
fn another_address_takes_over_and_nothing_is_lost() {
    const JOBS: i64 = 60;
    let (mut one, two, site) = (Broker::new(), Broker::new(), Site::new());
    let (at_one, at_two) = (Listener::new(one.port), Listener::new(two.port));
    let dead = format!("mqtt://127.0.0.1:{}", free_port());
    let urls = format!("[mqtt]\nurl = [\"{dead}\", \"{}\", \"{}\"]\n", one.url(), two.url());
    fs::write(site.path().join("roost.toml"), urls).unwrap();
    let begins_ms = now_ms() + 4_000;
    site.settings(
        "burst",
        &format!(
            "[grants]\npublish = [\"burst/#\"]\n[[device]]\nname = \"one\"\nconfig = {{ first = 0, jobs = {JOBS}, \
             total = {JOBS}, t0_ms = {begins_ms}, spread_ms = 6000, then_ms = 2000, topic = \"burst/x\" }}\n"
        ),
    );
    site.drop_in(&guest("burst"), "burst");
    let host = site.start_with(&[]);
    host.wait_for_log(&format!("no connection to the broker `{dead}`, the next address is tried at once"));
    host.wait_for_log(&format!("connected to the broker `{}`", one.url()));
    at_one.wait("a third of the messages", |messages| messages.len() > 20);
    one.kill();
    host.wait_for_log(&format!("lost the connection to the broker `{}`", one.url()));
    host.wait_for_log(&format!("connected to the broker `{}`", two.url()));
    let status = site.json(&["status"]);
    assert_eq!(
        (text(&status["link"], "broker"), &status["link"]["up"]),
        (two.url().as_str(), &true.into()),
        "{status}"
    );
    host.has(&site, "SELECT count(*) FROM runs WHERE state = 'succeeded'", JOBS);
    let both = 2 * usize::try_from(JOBS).unwrap();
    let messages = |listener: &Listener| -> HashSet<String> {
        listener.messages().into_iter().map(|message| message.payload).collect()
    };
    host.until("all messages", || {
        let all: HashSet<String> = messages(&at_one).union(&messages(&at_two)).cloned().collect();
        (all.len() == both).then_some(())
    });
    assert!(host.stop().success());
}
