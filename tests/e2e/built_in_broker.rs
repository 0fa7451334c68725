//! The built-in broker, as devices and other clients use it.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    process::Command,
};

use roost_tests::{
    Listener, Roost, Site, free_port, guest,
    http::{ask, get},
};

use crate::crashes::sprinkler;

/// Makes a site with the built-in broker at a port of its own.
fn site() -> (Site, u16) {
    let (site, port) = (Site::new(), free_port());
    fs::write(site.path().join("roost.toml"), format!("[built_in_broker]\ndevices = {port}\n")).unwrap();
    (site, port)
}

fn start(site: &Site) -> Roost {
    let roost = site.start_with(&[]);
    roost.wait_for_log("connected to the broker");
    roost
}

#[test]
fn an_offline_device_gets_an_owed_off_over_a_crash_and_a_restart() {
    let (site, port) = site();
    let roost = start(&site);
    // It subscribes with a persistent session, and disconnects.
    drop(Listener::persistent(port, "valve"));
    let witness = Listener::v3(port);
    site.settings("declared", &sprinkler(3000));
    site.drop_in(&guest("declared"), "declared");
    assert_eq!(witness.wait_for("declared/valve").payload, "on");
    roost.kill();
    let roost = start(&site);
    roost.wait_for_log("succeeded declared/declared/water");
    roost.kill();
    let roost = start(&site);
    let valve = Listener::persistent(port, "valve");
    let messages = valve.wait("off", |messages| messages.iter().any(|message| message.payload == "off"));
    let runs: Vec<_> = messages.iter().map(|message| message.property("roost-run")).collect();
    assert!(runs[0].is_some() && runs.windows(2).all(|pair| pair[0] == pair[1]), "{messages:?}");
    assert_eq!((messages[0].payload.as_str(), messages[messages.len() - 1].payload.as_str()), ("on", "off"));
    assert!(roost.stop().success());
}

#[test]
fn retained_messages_outlive_a_restart() {
    let (site, port) = site();
    let roost = start(&site);
    let publish = |arguments: &[&str]| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-r"]).args(arguments);
        assert!(command.status().unwrap().success());
    };
    publish(&["-t", "house/door", "-m", "shut"]);
    assert!(roost.stop().success());
    let roost = start(&site);
    let listener = Listener::new(port);
    assert_eq!(listener.wait_for("house/door").payload, "shut");
    assert!(roost.stop().success());
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(site.path().join("data/broker.db")).unwrap());
    assert_eq!(mode & 0o777, 0o600, "other users of the machine cannot read it");
}

/// Connects as `x` with MQTT 5, and reads the broker's answer.
fn connect(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01x").unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!((connack[0], connack[3]), (0x20, 0));
    stream
}

#[test]
fn two_connections_do_not_end_the_broker() {
    let (site, port) = site();
    let roost = start(&site);
    let address = roost.address();
    let listener = Listener::v3(port);
    let mut stream = connect(port);
    stream.write_all(&[0xB0, 0x04, 0x00, 0x01, 0x00, 0x00]).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    connect(port).shutdown(Shutdown::Both).unwrap();
    site.settings("declared", &crate::job("tick", "every_ms = 1000", "declared/tick"));
    site.drop_in(&guest("declared"), "declared");
    listener.wait_for("declared/tick");
    assert_eq!(get(&address, "/readyz")["status"], "ok");
    drop(Listener::new(port));
    assert!(roost.stop().success());
}

/// With more idle connections than open files, the rest of the host continues to work.
#[test]
fn idle_clients_leave_the_rest_of_the_host_alone() {
    let (site, port) = site();
    let roost = site.start_limited(512);
    roost.wait_for_log("connected to the broker");
    let address = roost.address();
    let mut clients = Vec::new();
    for _ in 0..600 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00").unwrap();
        clients.push(stream);
    }
    // The last one has its answer, so all others before it have been handled.
    let _ = clients[599].read(&mut [0; 5]);
    site.settings("declared", &crate::job("tick", "every_ms = 1000", "declared/tick"));
    site.drop_in(&guest("declared"), "declared");
    roost.wait_for_log("declared loaded");
    assert_eq!(get(&address, "/readyz")["status"], "ok");
    assert_eq!(ask(&address, "GET", "/api/v1/plugins", "", "").0, 200);
    assert!(site.command(&["status"]).status().unwrap().success(), "over the socket in the data folder");
    drop(clients);
    assert!(roost.stop().success());
}
