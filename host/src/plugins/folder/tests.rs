//! Tests with a real folder and a clock that the test advances.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;
use crate::clock;
use expect_test::expect;
use roost_tests::redact;

/// Returns a component with one section of that many bytes.
fn component(bytes: u8) -> Vec<u8> {
    let mut file = b"\0asm\x0d\0\x01\0".to_vec();
    file.extend([0, bytes]);
    file.extend(vec![bytes; bytes.into()]);
    file
}

struct TestFolder {
    root: TempDir,
    folder: Folder,
    now: Instant,
}

impl TestFolder {
    fn new(known: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("plugins");
        fs::create_dir(&path).unwrap();
        let known = known.iter().map(|name| PluginName::parse(name).unwrap()).collect::<Vec<_>>();
        Self { folder: Folder::new(path, known, LoadRoom::default()), root, now: clock::monotonic() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.file(name), bytes).unwrap();
    }

    fn on_change(&mut self, name: &str, debounce: Debounce) {
        self.folder.on_change(&self.file(name), debounce, self.now);
    }

    /// Advances the clock, and returns summaries of the events.
    fn later(&mut self, ms: u64) -> Vec<String> {
        self.now += Duration::from_millis(ms);
        let mut found = Vec::new();
        self.folder.settle(self.now, &mut found);
        in_short(found)
    }

    fn scan(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        self.folder.scan(self.now, &mut found);
        self.folder.settle(self.now, &mut found);
        in_short(found)
    }
}

fn in_short(found: Vec<FolderEvent>) -> Vec<String> {
    let short = |event| match event {
        FolderEvent::Ready(candidate) => {
            format!(
                "{} {}{}",
                candidate.plugin,
                candidate.component.len(),
                candidate.settings.map_or_else(String::new, |read| read.text)
            )
        }
        FolderEvent::Removed(name) => format!("{name} gone"),
        FolderEvent::Faulty(_, report) => format!("fault: {report}"),
        FolderEvent::Listed(_) | FolderEvent::InitialScanDone => unreachable!("the watch sends it, not the folder"),
    };
    found.into_iter().map(short).collect()
}

#[test]
fn files_at_the_start_are_ready_at_once_and_only_once() {
    let mut folder = TestFolder::new(&[]);
    folder.write("a.wasm", &component(1));
    folder.write("b.wasm", &component(2));
    folder.write("b.toml", b" # b");
    folder.write("only.toml", b"");
    folder.write(".c.wasm", &component(3));
    folder.write("notes.txt", b"");
    assert_eq!(folder.scan(), ["a 11", "b 12 # b"]);
    assert_eq!(folder.scan(), [""; 0]);
    assert_eq!(folder.later(10_000), [""; 0]);
}

#[test]
fn a_copy_is_ready_when_it_has_been_closed() {
    let mut folder = TestFolder::new(&[]);
    folder.scan();
    folder.write("a.wasm", &component(1));
    folder.on_change("a.wasm", Debounce::Begun);
    folder.on_change("a.wasm", Debounce::Written);
    assert_eq!(folder.later(1_000), [""; 0]);
    folder.on_change("a.wasm", Debounce::Finished);
    assert_eq!(folder.later(15), [""; 0]);
    assert_eq!(folder.later(5), ["a 11"]);
}

#[test]
fn both_files_settle_together() {
    let mut folder = TestFolder::new(&[]);
    folder.scan();
    folder.write("a.wasm", &component(1));
    folder.on_change("a.wasm", Debounce::Finished);
    assert_eq!(folder.later(15), [""; 0]);
    folder.write("a.toml", b" # new");
    folder.on_change("a.toml", Debounce::Finished);
    assert_eq!(folder.later(15), [""; 0]);
    assert_eq!(folder.later(5), ["a 11 # new"]);
}

#[test]
fn an_incomplete_file_is_retried_and_reported_once() {
    let mut folder = TestFolder::new(&[]);
    folder.scan();
    let whole = component(100);
    folder.write("a.wasm", &whole[..50]);
    folder.on_change("a.wasm", Debounce::Finished);
    assert_eq!(folder.later(50), [""; 0]);
    let events: Vec<_> = (0..40).flat_map(|_| folder.later(250)).collect();
    expect![[r#"
        fault: plugin `a` was not loaded
          caused by: `[FOLDER]/plugins/a.wasm` is truncated: a section is longer than the rest of the file
        hint: copy it again; if it is still being copied, it is loaded when the copy is complete"#]]
    .assert_eq(&redact(&events.join("\n")));
    assert_eq!(folder.scan(), [""; 0]);

    OpenOptions::new().append(true).open(folder.file("a.wasm")).unwrap().write_all(&whole[50..]).unwrap();
    folder.on_change("a.wasm", Debounce::Finished);
    assert_eq!(folder.later(50), ["a 110"]);
}

#[test]
fn a_change_without_a_notification_must_be_stable_for_a_while() {
    let mut folder = TestFolder::new(&[]);
    folder.scan();
    folder.write("a.wasm", &component(1));
    assert_eq!(folder.scan(), [""; 0]);
    folder.write("a.wasm", &component(2));
    assert_eq!(folder.later(500), [""; 0], "it has changed again");
    assert_eq!(folder.later(500), ["a 12"]);
}

#[test]
fn a_link_counts_as_its_target() {
    let mut folder = TestFolder::new(&[]);
    folder.scan();
    fs::write(folder.root.path().join("built.wasm"), component(1)).unwrap();
    symlink("../built.wasm", folder.file("a.wasm")).unwrap();
    folder.on_change("a.wasm", Debounce::Begun);
    assert_eq!(folder.later(300), ["a 11"]);
    fs::write(folder.root.path().join("built.wasm"), component(2)).unwrap();
    folder.scan();
    assert_eq!(folder.later(500), ["a 12"]);
}

#[test]
fn a_file_that_comes_back_within_three_seconds_is_not_removed() {
    let mut folder = TestFolder::new(&[]);
    folder.write("a.wasm", &component(1));
    folder.write("b.wasm", &component(2));
    folder.scan();
    for name in ["a.wasm", "b.wasm"] {
        fs::remove_file(folder.file(name)).unwrap();
        folder.on_change(name, Debounce::Finished);
    }
    assert_eq!(folder.later(2_000), [""; 0]);
    folder.write("b.wasm", &component(2));
    folder.on_change("b.wasm", Debounce::Finished);
    assert_eq!(folder.later(50), ["b 12"]);
    assert_eq!(folder.later(3_000), ["a gone"]);
    assert_eq!(folder.later(60_000), [""; 0]);
}

#[test]
fn a_missing_folder_removes_nothing_and_is_reported_once() {
    let mut folder = TestFolder::new(&[]);
    folder.write("a.wasm", &component(1));
    folder.scan();
    let away = folder.root.path().join("away");
    fs::rename(&folder.folder.path, &away).unwrap();
    folder.on_change("a.wasm", Debounce::Finished);
    assert_eq!(folder.later(5_000), [""; 0]);
    let events = folder.scan();
    expect![[r#"
        fault: the plugin folder `[FOLDER]/plugins` cannot be read
          caused by: No such file or directory (os error 2)
        hint: running plugins continue; changes are loaded once the folder can be read"#]]
    .assert_eq(&redact(&events.join("\n")));
    assert_eq!(folder.scan(), [""; 0]);
    assert_eq!(folder.later(60_000), [""; 0]);
    fs::rename(&away, &folder.folder.path).unwrap();
    // It is reported as ready again; the registry finds that it is unchanged.
    assert_eq!(folder.scan(), ["a 11"]);
    assert_eq!(folder.later(60_000), [""; 0]);
}

#[test]
fn an_empty_folder_counts_as_unmounted_until_a_file_is_added() {
    let mut folder = TestFolder::new(&["a", "b"]);
    let events = folder.scan();
    expect![[r#"
        fault: `[FOLDER]/plugins` has none of the plugins that ran before
        hint: Roost assumes that the folder's disk is missing, and the plugins continue to run
          to remove them, copy any other plugin into the folder, or copy one of them and delete it, while Roost runs"#]]
    .assert_eq(&redact(&events.join("\n")));
    assert_eq!(folder.later(60_000), [""; 0]);
    assert_eq!(folder.scan(), [""; 0]);
    folder.write("b.wasm", &component(2));
    folder.on_change("b.wasm", Debounce::Finished);
    assert_eq!(folder.later(50), ["b 12"]);
    assert_eq!(folder.scan(), [""; 0]);
    assert_eq!(folder.later(3_000), ["a gone"]);
}

#[test]
fn a_disk_that_is_unmounted_while_the_host_runs_removes_nothing() {
    let mut folder = TestFolder::new(&[]);
    folder.write("a.wasm", &component(1));
    folder.scan();
    // A mount point without its disk is another, empty folder.
    fs::rename(&folder.folder.path, folder.root.path().join("disk")).unwrap();
    fs::create_dir(&folder.folder.path).unwrap();
    folder.on_change("a.wasm", Debounce::Finished);
    assert_eq!(folder.later(4_000), [""; 0]);
    let events = folder.scan();
    expect![[r#"
        fault: `[FOLDER]/plugins` has none of the plugins that ran before
        hint: Roost assumes that the folder's disk is missing, and the plugins continue to run
          to remove them, copy any other plugin into the folder, or copy one of them and delete it, while Roost runs"#]]
    .assert_eq(&redact(&events.join("\n")));
    assert_eq!(folder.later(60_000), [""; 0]);
}

#[test]
fn a_name_that_is_not_a_plugin_name_is_reported_once() {
    let mut folder = TestFolder::new(&[]);
    folder.write("My Plugin.wasm", &component(1));
    let events = folder.scan();
    expect![[r#"
        fault: `[FOLDER]/plugins/My Plugin.wasm` was not loaded
          caused by: `My Plugin` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
        hint: rename the file to `my-plugin.wasm`"#]].assert_eq(&redact(&events.join("\n")));
    assert_eq!(folder.scan(), [""; 0]);
}

#[test]
fn the_hint_suggests_a_valid_name() {
    let cases = [
        ("coop_door", "rename the file to `coop-door.wasm`"),
        ("My Plugin", "rename the file to `my-plugin.wasm`"),
        ("roost", "rename the file"),
        ("__", "rename the file"),
    ];
    for (stem, expected) in cases {
        assert_eq!(rename_hint(stem), expected);
    }
}

#[test]
fn an_entry_that_is_not_a_file_is_reported_once_and_not_read() {
    let mut folder = TestFolder::new(&[]);
    folder.scan();
    fs::create_dir(folder.file("attic.wasm")).unwrap();
    symlink("nowhere", folder.file("barn.wasm")).unwrap();
    symlink("/dev/zero", folder.file("cellar.toml")).unwrap();
    let events = folder.scan();
    expect![[r#"
        fault: `[FOLDER]/plugins/cellar.toml` was not read
          caused by: it is not an ordinary file
        hint: put the file itself there, or remove it
        fault: `[FOLDER]/plugins/barn.wasm` was not read
          caused by: its target cannot be read: No such file or directory (os error 2)
        hint: put the file itself there, or remove it
        fault: `[FOLDER]/plugins/attic.wasm` was not read
          caused by: it is a folder
        hint: put the file itself there, or remove it"#]]
    .assert_eq(&redact(&events.join("\n")));
    assert!(folder.scan().is_empty());
    assert_eq!(crate::files::read(Path::new("/dev/zero"), 8).unwrap_err().to_string(), "it is not a file");
}

#[test]
fn a_link_whose_target_is_away_is_not_a_removal() {
    let mut folder = TestFolder::new(&[]);
    let elsewhere = folder.root.path().join("elsewhere.wasm");
    fs::write(&elsewhere, component(4)).unwrap();
    symlink(&elsewhere, folder.file("coop.wasm")).unwrap();
    folder.write("barn.wasm", &component(5));
    assert_eq!(folder.scan().len(), 2);
    fs::remove_file(&elsewhere).unwrap();
    folder.scan();
    assert_eq!(folder.later(10_000), [""; 0]);
}

#[test]
fn a_huge_settings_file_is_refused_without_reading_it() {
    let mut folder = TestFolder::new(&[]);
    let settings = fs::File::create(folder.file("coop.toml")).unwrap();
    settings.set_len(1 << 40).unwrap();
    folder.write("coop.wasm", &component(4));
    let events = folder.scan();
    expect![[r#"
        fault: plugin `coop` was not loaded
          caused by: `[FOLDER]/plugins/coop.toml` cannot be read: it has 1099511627776 bytes, more than the 8388608 allowed
        hint: check that it is the right file: ordinary plugins are much smaller"#]].assert_eq(&redact(&events.join("\n")));
}

#[test]
fn a_removed_settings_file_counts_only_after_a_while() {
    let mut folder = TestFolder::new(&[]);
    folder.write("porch.wasm", &component(3));
    folder.write("porch.toml", "a = 1".as_bytes());
    assert_eq!(folder.scan(), ["porch 13a = 1"]);
    let remove = |folder: &mut TestFolder| {
        fs::remove_file(folder.file("porch.toml")).unwrap();
        folder.on_change("porch.toml", Debounce::Finished);
    };
    remove(&mut folder);
    assert_eq!((folder.later(20), folder.later(2_000)), (vec![], vec![]));
    folder.write("porch.toml", "a = 2".as_bytes());
    folder.on_change("porch.toml", Debounce::Finished);
    assert_eq!(folder.later(20), ["porch 13a = 2"]);
    remove(&mut folder);
    assert_eq!((folder.later(20), folder.later(2_990)), (vec![], vec![]));
    assert_eq!(folder.later(20), ["porch 13"]);
}

#[test]
fn a_broken_link_to_settings_does_not_count_as_no_settings() {
    let mut folder = TestFolder::new(&[]);
    folder.write("porch.wasm", &component(3));
    symlink("nowhere", folder.file("porch.toml")).unwrap();
    let found = folder.scan();
    expect![[r#"
        fault: `[FOLDER]/plugins/porch.toml` was not read
          caused by: its target cannot be read: No such file or directory (os error 2)
        hint: put the file itself there, or remove it
        fault: the settings of plugin `porch` were not read
          caused by: `[FOLDER]/plugins/porch.toml` is not a file
        hint: replace it by a file, or remove it"#]]
    .assert_eq(&redact(&found.join("\n")));
}

#[test]
fn settings_behind_a_link_out_of_the_folder_may_not_be_quoted() {
    let mut folder = TestFolder::new(&[]);
    let secret = folder.root.path().join("secret");
    fs::write(&secret, "hunter2 = 1").unwrap();
    folder.write("porch.wasm", &component(3));
    symlink(&secret, folder.file("porch.toml")).unwrap();
    // Kubernetes mounts files as links whose target is in the folder, too.
    fs::create_dir(folder.file("..data")).unwrap();
    folder.write("..data/attic.toml", b"a = 1");
    folder.write("attic.wasm", &component(3));
    symlink("..data/attic.toml", folder.file("attic.toml")).unwrap();
    let mut found = Vec::new();
    folder.folder.scan(folder.now, &mut found);
    folder.folder.settle(folder.now, &mut found);
    let quoted = found.iter().map(|event| match event {
        FolderEvent::Ready(candidate) => {
            (candidate.plugin.as_str(), candidate.settings.as_ref().is_some_and(|read| read.may_quote))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(quoted.collect::<Vec<_>>(), [("attic", true), ("porch", false)]);
}
