//! Files and folders that other users can write to: planted files are not written through, shown, or run.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::{Path, PathBuf},
};

use roost_tests::{Broker, Roost, Site, guest};

use crate::{
    job, more,
    operations::{roost, tried},
    ticking,
};

/// A user other than root; root can give files to it.
const OTHER: u32 = 54_321;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns all files below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { [below(&path), vec![path]].concat() } else { vec![path] }).collect()
}

#[test]
fn an_upload_and_a_rollback_do_not_write_through_a_planted_link() {
    let (_broker, site, listener, host) = ticking("declared");
    let victim = site.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let part = site.plugin(".declared.wasm.part");
    let content = fs::read(guest("declared")).unwrap();
    let file = site.path().join("next.wasm");
    // The same with an empty custom section.
    fs::write(&file, [&content[..], &[0, 2, 1, b'x']].concat()).unwrap();
    symlink(&victim, &part).unwrap();
    roost(&site, &["upload", file.to_str().unwrap(), "--as", "declared"]);
    assert_eq!(fs::read(site.plugin("declared.wasm")).unwrap(), fs::read(&file).unwrap());
    host.log.wait("the new version", |_| roost(&site, &["plugins", "declared"]).0.contains("previous ").then_some(()));
    symlink(&victim, &part).unwrap();
    roost(&site, &["rollback", "declared"]);
    assert_eq!(fs::read(site.plugin("declared.wasm")).unwrap(), content);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    more(&listener, "declared/tick");
    assert!(host.stop().success());
}

#[test]
fn the_data_folder_is_for_its_user_alone() {
    let (broker, site) = (Broker::new(), Site::new());
    let data = site.path().join("data");
    fs::create_dir(&data).unwrap();
    set_mode(&data, 0o777);
    site.settings("declared", &job("tick", "every_ms = 1000", "declared/tick"));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    let log = host.wait_for_log("was open to other users (mode 777)");
    assert!(log.contains("for the user that runs Roost alone"), "{log}");
    host.wait_for_log("declared loaded");
    roost(&site, &["backup", "copy.db"]);
    assert_eq!((mode(&data), mode(&site.path().join("copy.db"))), (0o700, 0o600));
    let found = below(&data);
    let has = |end: &str| found.iter().any(|path| path.to_str().unwrap().ends_with(end));
    for end in [
        "roost.db",
        "roost.db-wal",
        "roost.db-shm",
        "lock",
        "client-id",
        "cache-key",
        "control.sock",
        ".json",
        ".cwasm",
        ".seal",
    ] {
        assert!(has(end), "{end}: {found:?}");
    }
    for path in found {
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        assert!(kind.is_file() || kind.is_dir() || kind.is_socket());
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    assert!(host.stop().success());
}

/// Starts a host that fails to start, and returns its log.
fn refused(site: &Site, broker: &Broker) -> String {
    let (status, log) = site.start(broker).ended();
    assert!(!status.success());
    log.join("\n")
}

#[test]
fn a_data_folder_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let (broker, site) = (Broker::new(), Site::new());
    let (data, victim) = (site.path().join("data"), site.path().join("victim"));
    fs::write(&victim, "precious").unwrap();
    fs::create_dir(&data).unwrap();
    for name in ["lock", "client-id.new"] {
        symlink(&victim, data.join(name)).unwrap();
    }
    chown(&data, Some(OTHER), None).unwrap();
    let log = refused(&site, &broker);
    assert!(log.contains("data` belongs to user 54321, and Roost runs as user 0") && log.contains("hint: "), "{log}");
    chown(&data, Some(0), None).unwrap();
    lchown(data.join("lock"), Some(OTHER), None).unwrap();
    let log = refused(&site, &broker);
    assert!(log.contains("data/lock` belongs to user 54321, and lies among the files of Roost"), "{log}");
    // A link of the user's own is not written through either.
    lchown(data.join("lock"), Some(0), None).unwrap();
    let log = refused(&site, &broker);
    assert!(log.contains("it is a link, and must be a file"), "{log}");
    fs::remove_file(data.join("lock")).unwrap();
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert!(host.stop().success());
}

#[test]
fn a_grant_that_was_widened_on_disk_is_not_used() {
    let (broker, site, _listener, host) = ticking("declared");
    assert!(host.stop().success());
    let is_settings = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let path = below(&site.path().join("data/versions")).into_iter().find(is_settings).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("declared/#"), "{text}");
    fs::write(&path, text.replace("declared/#", "#")).unwrap();
    let host = site.start(&broker);
    let log = host.wait_for_log("is damaged: its contents do not match its name");
    assert!(log.contains("so it gets the default grant"), "{log}");
    // The file in the folder counts again.
    host.wait_for_log("declared loaded");
    host.log.wait("it to be kept anew", |_| (fs::read_to_string(&path).unwrap() == text).then_some(()));
    assert!(host.stop().success());
}

/// Returns a host's log so far, and its answers about its plugins.
fn everything(site: &Site, host: &Roost) -> String {
    let (_, plugins, errors) = tried(site, &["plugins", "--json"]);
    [host.log.all().join("\n"), plugins, errors].concat()
}

#[test]
fn the_target_of_a_link_is_not_shown() {
    let (_broker, site, listener, host) = ticking("declared");
    let secret = site.path().join("secret");
    fs::write(&secret, "hunter2\nswordfish = 1\n").unwrap();
    symlink(&secret, site.plugin("spy.wasm")).unwrap();
    host.wait_for_log("it is not a WebAssembly component");
    fs::remove_file(site.plugin("spy.wasm")).unwrap();
    fs::write(&secret, "swordfish = 1\n").unwrap();
    symlink(&secret, site.plugin("spy.toml")).unwrap();
    site.drop_in(&guest("declared"), "spy");
    let log = host.wait_for_log("spy.toml:1:1: the settings are invalid");
    let all = [log, everything(&site, &host)].concat();
    assert!(!all.contains("hunter2") && !all.contains("swordfish"), "{all}");
    // `roost check` shows it to a user that may read it.
    let (_, _, log) = tried(&site, &["check", "plugins/spy.wasm"]);
    assert!(log.contains("unknown key `swordfish`"), "{log}");
    more(&listener, "declared/tick");
    assert!(host.stop().success());
}

#[test]
fn a_link_of_another_user_to_a_foreign_file_is_not_followed() {
    if !is_root() {
        return;
    }
    let (broker, site) = (Broker::new(), Site::new());
    let elsewhere = site.path().join("built.wasm");
    fs::copy(guest("at-once"), &elsewhere).unwrap();
    symlink(&elsewhere, site.plugin("theirs.wasm")).unwrap();
    lchown(site.plugin("theirs.wasm"), Some(OTHER), None).unwrap();
    symlink(&elsewhere, site.plugin("ours.wasm")).unwrap();
    let host = site.start(&broker);
    host.wait_for_log("ours loaded");
    let log = host.wait_for_log("theirs.wasm` of user 54321 leads to a file that this user does not own");
    assert!(log.contains("put the file itself there"), "{log}");
    assert!(host.stop().success());
}

#[test]
fn a_token_that_other_users_can_use_is_reported_or_refused() {
    let (broker, site) = (Broker::new(), Site::new());
    let token = site.path().join("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    fs::write(site.path().join("roost.toml"), "[http]\ntoken_file = \"token\"\n").unwrap();
    set_mode(&token, 0o644);
    let host = site.start(&broker);
    host.wait_for_log("every user of this machine can read the token file");
    host.wait_for_log("chmod 600");
    host.wait_for_log("connected to the broker");
    assert!(host.stop().success());
    set_mode(&token, 0o666);
    let log = refused(&site, &broker);
    assert!(log.contains("every user of this machine can change the token file") && log.contains("chmod 600"), "{log}");
    set_mode(&token, 0o600);
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    assert!(!host.log.all().iter().any(|line| line.contains("the token file")));
    assert!(host.stop().success());
}
