//! Files and folders that other users can write to: planted files are not written through, shown, or run.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::{Path, PathBuf},
};

use expect_test::expect;
use roost_tests::{Broker, Roost, Site, guest, redact_in};

use crate::{job, more, ticking};

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
    site.roost(&["upload", file.to_str().unwrap(), "--as", "declared"]);
    assert_eq!(fs::read(site.plugin("declared.wasm")).unwrap(), fs::read(&file).unwrap());
    host.until("the new version", || site.json(&["plugins", "declared"])["previous"].is_string().then_some(()));
    symlink(&victim, &part).unwrap();
    site.roost(&["rollback", "declared"]);
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
    expect!["[TIME]  WARN `data` was open to other users (mode 777), and is now for the user that runs Roost alone (mode 700)"].assert_eq(&report(&site, &host, "was open to other users", "mode 700"));
    host.wait_for_log("declared loaded");
    site.roost(&["backup", "copy.db"]);
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

/// Waits for a report in the log, whose first and last line contain these texts, and returns it.
fn report(site: &Site, host: &Roost, first: &str, last: &str) -> String {
    let lines = host.log.wait(first, |lines| {
        let from = lines.iter().position(|line| line.contains(first))?;
        let to = lines[from..].iter().position(|line| line.contains(last))?;
        Some(lines[from..=from + to].to_vec())
    });
    redact_in(site.path(), &lines.join("\n"))
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
    expect![[r#"
        error: `data` belongs to user 54321, and Roost runs as user 0
        hint: a user that can write there decides what Roost runs and sends: run Roost as user 54321, or hand the folder over with `chown -R 0 data`, or name a folder that does not exist, such as `--data data/roost`, which Roost makes
    "#]].assert_eq(&site.start(&broker).refused());
    chown(&data, Some(0), None).unwrap();
    lchown(data.join("lock"), Some(OTHER), None).unwrap();
    expect![[r#"
        error: `data/lock` belongs to user 54321, and lies among the files of Roost
        hint: if Roost ran as that user before, hand the folder over with `chown -R`; otherwise find out why it is there, and remove it: `data/lock`
    "#]].assert_eq(&site.start(&broker).refused());
    // A link of the user's own is not written through either.
    lchown(data.join("lock"), Some(0), None).unwrap();
    expect![[r#"
        error: cannot lock the data folder by `data/lock`
          caused by: it is a link, and must be a file
        hint: the user that runs Roost must be able to write the data folder; another one can be named with `--data DIR`
    "#]]
    .assert_eq(&site.start(&broker).refused());
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
    let widened = text.replace("declared/#", "#");
    assert_ne!(widened, text);
    fs::write(&path, widened).unwrap();
    let host = site.start(&broker);
    expect!["[TIME] ERROR the stored settings of plugin `declared` cannot be read, so it gets the default grant: `data/versions/[DIGEST].json` is damaged: its contents do not match its name"].assert_eq(&report(&site, &host, "the stored settings of", "is damaged"));
    // The file in the folder counts again.
    host.wait_for_log("declared loaded");
    host.log.wait("it to be kept anew", |_| (fs::read_to_string(&path).unwrap() == text).then_some(()));
    assert!(host.stop().success());
}

/// Returns a host's log so far, and its answers about its plugins.
fn everything(site: &Site, host: &Roost) -> String {
    let plugins = site.tried(&["plugins", "--json"]);
    [host.log.all().join("\n"), plugins.out, plugins.errors].concat()
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
    expect![[r#"
        $ roost check plugins/spy.wasm
        error: plugin `spy` was not loaded
          caused by: spy.toml:1:1: unknown key `swordfish`
        hint: known here: `config`, `device`, `grants`, `limits`; the plugin's own settings belong below `[config]`, and a device's location below `[[device]]`
        (exit 1)
    "#]].assert_eq(&site.transcript(&[&["check", "plugins/spy.wasm"]]));
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
    expect![[r#"
        [TIME] ERROR plugin `theirs` was not loaded
              caused by: `plugins/theirs.wasm` cannot be read: the link `[SITE]/plugins/theirs.wasm` of user 54321 leads to a file that this user does not own
            hint: put the file itself there, or make the link as the user that runs Roost
              the plugin does not run until this is fixed"#]].assert_eq(&report(&site, &host, "plugin `theirs` was not loaded", "the plugin does not run"));
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
    expect![[r#"
        [TIME]  WARN every user of this machine can read the token file `token`
            hint: `chmod 600 token`, as the user that runs Roost"#]]
    .assert_eq(&report(&site, &host, "the token file", "hint: "));
    host.wait_for_log("connected to the broker");
    assert!(host.stop().success());
    set_mode(&token, 0o666);
    expect![[r#"
        error: roost.toml:2:14: every user of this machine can change the token file `token`
          caused by: a user that can set the token lets in any other
        hint: `chmod 600 token`, as the user that runs Roost
    "#]]
    .assert_eq(&site.start(&broker).refused());
    set_mode(&token, 0o600);
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    assert!(!host.log.all().iter().any(|line| line.contains("the token file")));
    assert!(host.stop().success());
}
