//! Readiness: `/readyz`, and notifications of the service manager.

use std::{
    fs, io,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use expect_test::expect;
use roost_tests::{
    Broker, Lines, Listener, Roost, Site, binary, guest,
    http::{ask, get, problem},
    now_ms,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{job, more};

/// Waits until a host is ready, and returns its answers before that.
fn ready(host: &Roost, address: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    host.until("it to be ready", || {
        let (status, answer) = ask(address, "GET", "/readyz", "", "");
        let reason = answer["detail"].as_str().unwrap_or_default().to_owned();
        if status != 200 && reasons.last() != Some(&reason) {
            reasons.push(reason);
        }
        (status == 200).then_some(())
    });
    reasons
}

#[test]
fn a_host_is_ready_when_the_plugins_in_the_folder_have_their_jobs() {
    let (broker, site) = (Broker::new(), Site::new());
    for name in ["one", "two", "three"] {
        site.settings(name, &job("morning", "cron = \"30 6 * * *\"", &format!("{name}/x")));
        site.drop_in(&guest("declared"), name);
    }
    // It is never loaded, and must not delay readiness.
    site.drop_in(&guest("core-module"), "broken");
    let host = site.start(&broker);
    let address = host.address();
    let reasons = ready(&host, &address);
    let status = get(&address, "/api/v1/status");
    assert_eq!(
        (status["counts"]["jobs"].as_u64(), status["faults"]["plugins"].as_u64()),
        (Some(3), Some(1)),
        "{status}"
    );
    assert!(status["not_ready"].is_null(), "{status}");
    let is_counted =
        |reason: &String| reason.starts_with("the plugins are being loaded: ") && reason.ends_with(" of 4 done");
    assert!(reasons.iter().any(is_counted), "{reasons:?}");
    assert!(status["loading"].is_null(), "{status}");
    assert!(site.json(&["status"])["not_ready"].is_null());
    // A later version takes over without a gap.
    site.settings("one", &job("evening", "cron = \"30 18 * * *\"", "one/x"));
    host.wait_for_log("1 new, 0 changed, 1 gone");
    assert_eq!(ask(&address, "GET", "/readyz", "", "").0, 200);
    assert!(host.stop().success());
}

#[test]
fn a_host_without_a_set_clock_is_not_ready() {
    let (broker, site) = (Broker::new(), Site::new());
    site.settings("declared", &job("morning", "cron = \"30 6 * * *\"", "declared/x"));
    site.drop_in(&guest("declared"), "declared");
    // 12 hours after the epoch, as on a board without a clock of its own.
    let host = site.start_at(&broker, 43_200_000);
    let address = host.address();
    host.wait_for_log("connected to the broker");
    expect!["503 Service Unavailable: the clock is not set: it shows [TIME], and no job runs before it is set"]
        .assert_eq(&problem(&ask(&address, "GET", "/readyz", "", "")));
    assert!(site.json(&["status"])["not_ready"].is_string());
    assert!(site.roost(&["status"]).lines().any(|line| line.starts_with("not ready the clock is not set: ")));
    site.set_clock(now_ms());
    ready(&host, &address);
    assert_eq!(get(&address, "/api/v1/status")["counts"]["jobs"], 1);
    assert!(host.stop().success());
}

#[test]
fn the_service_manager_is_notified_of_the_start_of_life_and_of_the_stop() {
    let (broker, site) = (Broker::new(), Site::new());
    let path = site.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    // Long, because it only ends a test that would otherwise hang.
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let next = || {
        let mut text = [0; 256];
        let length = manager.recv(&mut text).expect("a notification");
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let mut command = site.command(&["run", "--http", "off", "--mqtt", &broker.url()]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000").stderr(Stdio::null());
    let mut host = command.spawn().unwrap();
    assert_eq!(next(), "READY=1\n");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1\n");
    }
    kill_process(Pid::from_child(&host), Signal::TERM).unwrap();
    let last = std::iter::repeat_with(next).find(|text| text != "WATCHDOG=1\n");
    assert_eq!(last.as_deref(), Some("STOPPING=1\n"));
    assert!(host.wait().unwrap().success());
}

/// The data folder is a small file system of its own, which is mounted only for the host. A shell restarts the host, as
/// a service manager would.
#[test]
fn a_host_with_a_full_disk_recovers_when_there_is_room() {
    let (broker, site) = (Broker::new(), Site::new());
    fs::create_dir(site.path().join("data")).unwrap();
    site.settings("full", &job("tick", "every_ms = 1000", "full/tick"));
    site.drop_in(&guest("declared"), "full");
    let script = format!(
        "mount -t tmpfs -o size=4m,mode=0700 tmpfs data && \
         until '{}' run --http off --mqtt {}; do sleep 0.2; done",
        binary().display(),
        broker.url()
    );
    let mut shell = Command::new("unshare");
    shell.args(["--map-root-user", "--mount", "--pid", "--kill-child", "sh", "-c", &script]).current_dir(site.path());
    let mut shell = Killed(shell.stderr(Stdio::piped()).spawn().expect("`unshare` is in util-linux"));
    let log = Lines::of(shell.0.stderr.take().unwrap());
    let listener = Listener::new(broker.port);
    listener.wait_for("full/tick");
    // The folder, as mounted for the host.
    let filler = PathBuf::from(format!("/proc/{}/root{}/data/filler", shell.0.id(), site.path().display()));
    let written = io::copy(&mut io::repeat(0), &mut fs::File::create(&filler).unwrap());
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
    let errors = |lines: &[String]| lines.iter().filter(|line| line.starts_with("error: ")).count();
    log.wait("several starts without room", |lines| (errors(lines) > 2).then_some(()));
    // Which file is the first without room depends on where the last start has ended.
    let lines = log.all();
    let first = lines.iter().position(|line| line.starts_with("error: ")).unwrap();
    let hint = lines[first..].iter().find(|line| line.starts_with("hint: ")).expect("what to do");
    expect!["hint: nothing was damaged: make space and start Roost again"].assert_eq(hint);
    fs::remove_file(&filler).unwrap();
    more(&listener, "full/tick");
}

/// A process that ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
