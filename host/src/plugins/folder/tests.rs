//! A real folder, and a clock that the test moves.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;
use crate::clock;

/// A component with one section of so many bytes.
fn component(bytes: u8) -> Vec<u8> {
    let mut file = b"\0asm\x0d\0\x01\0".to_vec();
    file.extend([0, bytes]);
    file.extend(vec![bytes; bytes.into()]);
    file
}

struct Bench {
    root: TempDir,
    folder: Folder,
    now: Instant,
}

impl Bench {
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

    fn touched(&mut self, name: &str, touch: Debounce) {
        self.folder.touched(&self.file(name), touch, self.now);
    }

    /// So many milliseconds later, and what has come to rest by then, in short.
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
    let short = |sighting| match sighting {
        FolderEvent::Offered(offer) => {
            format!(
                "{} {}{}",
                offer.plugin,
                offer.component.len(),
                offer.settings.map_or_else(String::new, |read| read.text)
            )
        }
        FolderEvent::Withdrawn(name) => format!("{name} gone"),
        FolderEvent::Faulty(_, report) => format!("fault: {}", [vec![report.what], report.causes].concat().join(": ")),
        FolderEvent::Surveyed => unreachable!("the watch says that, not the folder"),
    };
    found.into_iter().map(short).collect()
}

#[test]
fn what_lies_there_at_the_start_is_offered_at_once_and_once() {
    let mut bench = Bench::new(&[]);
    bench.write("a.wasm", &component(1));
    bench.write("b.wasm", &component(2));
    bench.write("b.toml", b" # b");
    bench.write("only.toml", b"");
    bench.write(".c.wasm", &component(3));
    bench.write("notes.txt", b"");
    assert_eq!(bench.scan(), ["a 11", "b 12 # b"]);
    assert_eq!(bench.scan(), [""; 0]);
    assert_eq!(bench.later(10_000), [""; 0]);
}

#[test]
fn a_copy_is_taken_when_it_has_been_closed() {
    let mut bench = Bench::new(&[]);
    bench.scan();
    bench.write("a.wasm", &component(1));
    bench.touched("a.wasm", Debounce::Begun);
    bench.touched("a.wasm", Debounce::Written);
    assert_eq!(bench.later(1_000), [""; 0]);
    bench.touched("a.wasm", Debounce::Finished);
    assert_eq!(bench.later(15), [""; 0]);
    assert_eq!(bench.later(5), ["a 11"]);
}

#[test]
fn both_files_settle_together() {
    let mut bench = Bench::new(&[]);
    bench.scan();
    bench.write("a.wasm", &component(1));
    bench.touched("a.wasm", Debounce::Finished);
    assert_eq!(bench.later(15), [""; 0]);
    bench.write("a.toml", b" # new");
    bench.touched("a.toml", Debounce::Finished);
    assert_eq!(bench.later(15), [""; 0]);
    assert_eq!(bench.later(5), ["a 11 # new"]);
}

#[test]
fn a_torn_file_is_tried_again_and_told_once() {
    let mut bench = Bench::new(&[]);
    bench.scan();
    let whole = component(100);
    bench.write("a.wasm", &whole[..50]);
    bench.touched("a.wasm", Debounce::Finished);
    assert_eq!(bench.later(50), [""; 0]);
    let told: Vec<_> = (0..40).flat_map(|_| bench.later(250)).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("is cut off"), "{told:?}");
    assert_eq!(bench.scan(), [""; 0]);

    OpenOptions::new().append(true).open(bench.file("a.wasm")).unwrap().write_all(&whole[50..]).unwrap();
    bench.touched("a.wasm", Debounce::Finished);
    assert_eq!(bench.later(50), ["a 110"]);
}

#[test]
fn what_nothing_announced_must_look_the_same_twice() {
    let mut bench = Bench::new(&[]);
    bench.scan();
    bench.write("a.wasm", &component(1));
    assert_eq!(bench.scan(), [""; 0]);
    bench.write("a.wasm", &component(2));
    assert_eq!(bench.later(500), [""; 0], "it has changed since");
    assert_eq!(bench.later(500), ["a 12"]);
}

#[test]
fn a_link_counts_as_what_it_points_to() {
    let mut bench = Bench::new(&[]);
    bench.scan();
    fs::write(bench.root.path().join("built.wasm"), component(1)).unwrap();
    symlink("../built.wasm", bench.file("a.wasm")).unwrap();
    bench.touched("a.wasm", Debounce::Begun);
    assert_eq!(bench.later(300), ["a 11"]);
    fs::write(bench.root.path().join("built.wasm"), component(2)).unwrap();
    bench.scan();
    assert_eq!(bench.later(500), ["a 12"]);
}

#[test]
fn what_comes_back_within_three_seconds_was_never_gone() {
    let mut bench = Bench::new(&[]);
    bench.write("a.wasm", &component(1));
    bench.write("b.wasm", &component(2));
    bench.scan();
    for name in ["a.wasm", "b.wasm"] {
        fs::remove_file(bench.file(name)).unwrap();
        bench.touched(name, Debounce::Finished);
    }
    assert_eq!(bench.later(2_000), [""; 0]);
    bench.write("b.wasm", &component(2));
    bench.touched("b.wasm", Debounce::Finished);
    assert_eq!(bench.later(50), ["b 12"]);
    assert_eq!(bench.later(3_000), ["a gone"]);
    assert_eq!(bench.later(60_000), [""; 0]);
}

#[test]
fn a_folder_that_is_away_removes_nothing_and_is_told_once() {
    let mut bench = Bench::new(&[]);
    bench.write("a.wasm", &component(1));
    bench.scan();
    let away = bench.root.path().join("away");
    fs::rename(&bench.folder.path, &away).unwrap();
    bench.touched("a.wasm", Debounce::Finished);
    assert_eq!(bench.later(5_000), [""; 0]);
    let told = bench.scan();
    assert!(told.len() == 1 && told[0].contains("cannot be read"), "{told:?}");
    assert_eq!(bench.scan(), [""; 0]);
    assert_eq!(bench.later(60_000), [""; 0]);
    fs::rename(&away, &bench.folder.path).unwrap();
    // It had been seen to be gone, so it is offered again; whoever takes it finds that it is the same.
    assert_eq!(bench.scan(), ["a 11"]);
    assert_eq!(bench.later(60_000), [""; 0]);
}

#[test]
fn an_empty_folder_is_taken_for_unmounted_until_something_is_put_into_it() {
    let mut bench = Bench::new(&["a", "b"]);
    let told = bench.scan();
    assert!(told.len() == 1 && told[0].contains("none of the plugins"), "{told:?}");
    assert_eq!(bench.later(60_000), [""; 0]);
    assert_eq!(bench.scan(), [""; 0]);
    bench.write("b.wasm", &component(2));
    bench.touched("b.wasm", Debounce::Finished);
    assert_eq!(bench.later(50), ["b 12"]);
    assert_eq!(bench.scan(), [""; 0]);
    assert_eq!(bench.later(3_000), ["a gone"]);
}

#[test]
fn a_disk_that_is_unmounted_while_the_host_runs_removes_nothing() {
    let mut bench = Bench::new(&[]);
    bench.write("a.wasm", &component(1));
    bench.scan();
    // What a mount point shows when its disk is gone: another folder, and nothing in it.
    fs::rename(&bench.folder.path, bench.root.path().join("disk")).unwrap();
    fs::create_dir(&bench.folder.path).unwrap();
    bench.touched("a.wasm", Debounce::Finished);
    assert_eq!(bench.later(4_000), [""; 0]);
    let told = bench.scan();
    assert!(told.len() == 1 && told[0].contains("none of the plugins"), "{told:?}");
    assert_eq!(bench.later(60_000), [""; 0]);
}

#[test]
fn a_plugin_that_cannot_be_one_by_its_name_is_told_once() {
    let mut bench = Bench::new(&[]);
    bench.write("My Plugin.wasm", &component(1));
    let told = bench.scan();
    assert!(told.len() == 1 && told[0].contains("`My Plugin` is not a plugin name"), "{told:?}");
    assert_eq!(bench.scan(), [""; 0]);
}

#[test]
fn a_better_name_is_proposed_where_there_is_one() {
    let cases = [
        ("coop_door", "rename the file to `coop-door.wasm`"),
        ("My Plugin", "rename the file to `my-plugin.wasm`"),
        ("roost", "rename the file"),
        ("__", "rename the file"),
    ];
    for (stem, expected) in cases {
        assert_eq!(better_name(stem), expected);
    }
}

#[test]
fn what_is_not_a_file_is_told_once_and_read_never() {
    let mut bench = Bench::new(&[]);
    bench.scan();
    fs::create_dir(bench.file("attic.wasm")).unwrap();
    symlink("nowhere", bench.file("barn.wasm")).unwrap();
    symlink("/dev/zero", bench.file("cellar.toml")).unwrap();
    let told = bench.scan();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(bench.scan().is_empty());
    assert_eq!(crate::files::read(Path::new("/dev/zero"), 8).unwrap_err().to_string(), "it is not a file");
}

#[test]
fn a_link_whose_target_is_away_is_not_a_removal() {
    let mut bench = Bench::new(&[]);
    let elsewhere = bench.root.path().join("elsewhere.wasm");
    fs::write(&elsewhere, component(4)).unwrap();
    symlink(&elsewhere, bench.file("coop.wasm")).unwrap();
    bench.write("barn.wasm", &component(5));
    assert_eq!(bench.scan().len(), 2);
    fs::remove_file(&elsewhere).unwrap();
    bench.scan();
    assert!(bench.later(10_000).iter().all(|found| !found.contains("gone")));
}

#[test]
fn a_huge_settings_file_is_refused_unread() {
    let mut bench = Bench::new(&[]);
    let settings = fs::File::create(bench.file("coop.toml")).unwrap();
    settings.set_len(1 << 40).unwrap();
    bench.write("coop.wasm", &component(4));
    let told = bench.scan();
    assert!(told[0].contains("more than the 8388608 allowed"), "{told:?}");
}

#[test]
fn settings_that_go_are_missed_only_after_a_while() {
    let mut bench = Bench::new(&[]);
    bench.write("porch.wasm", &component(3));
    bench.write("porch.toml", "a = 1".as_bytes());
    assert_eq!(bench.scan(), ["porch 13a = 1"]);
    let remove = |bench: &mut Bench| {
        fs::remove_file(bench.file("porch.toml")).unwrap();
        bench.touched("porch.toml", Debounce::Finished);
    };
    remove(&mut bench);
    assert_eq!((bench.later(20), bench.later(2_000)), (vec![], vec![]));
    bench.write("porch.toml", "a = 2".as_bytes());
    bench.touched("porch.toml", Debounce::Finished);
    assert_eq!(bench.later(20), ["porch 13a = 2"]);
    remove(&mut bench);
    assert_eq!((bench.later(20), bench.later(2_990)), (vec![], vec![]));
    assert_eq!(bench.later(20), ["porch 13"]);
}

#[test]
fn settings_that_lead_nowhere_are_not_taken_for_none() {
    let mut bench = Bench::new(&[]);
    bench.write("porch.wasm", &component(3));
    symlink("nowhere", bench.file("porch.toml")).unwrap();
    let found = bench.scan();
    assert!(found.iter().any(|found| found.contains("the settings of plugin `porch` were not read")), "{found:?}");
    assert!(!found.contains(&"porch 13".into()), "{found:?}");
}

#[test]
fn what_a_link_leads_to_outside_of_the_folder_is_not_quoted() {
    let mut bench = Bench::new(&[]);
    let secret = bench.root.path().join("secret");
    fs::write(&secret, "hunter2 = 1").unwrap();
    bench.write("porch.wasm", &component(3));
    symlink(&secret, bench.file("porch.toml")).unwrap();
    // As Kubernetes mounts them: the file that the link leads to lies in the folder, too.
    fs::create_dir(bench.file("..data")).unwrap();
    bench.write("..data/attic.toml", b"a = 1");
    bench.write("attic.wasm", &component(3));
    symlink("..data/attic.toml", bench.file("attic.toml")).unwrap();
    let mut found = Vec::new();
    bench.folder.scan(bench.now, &mut found);
    bench.folder.settle(bench.now, &mut found);
    let quoted = found.iter().map(|sighting| match sighting {
        FolderEvent::Offered(offer) => {
            (offer.plugin.as_str(), offer.settings.as_ref().is_some_and(|read| read.may_quote))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(quoted.collect::<Vec<_>>(), [("attic", true), ("porch", false)]);
}
