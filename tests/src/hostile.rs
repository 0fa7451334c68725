//! All hostile guests and files, to be installed beside well-behaved plugins.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{ffi::OsStrExt as _, fs::symlink},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::{Site, guest};

/// Guests that are refused; those that take a compiler long are last in the alphabet.
const REFUSED: [&str; 28] = [
    "aliased-payloads",
    "bad-case",
    "bad-tasks",
    "bad-text",
    "core-module",
    "deep-types",
    "eats-memory",
    "errors",
    "exits",
    "future-world",
    "giant-memory",
    "grows-tables",
    "log-spam",
    "loops",
    "lying-pointer",
    "million-steps",
    "no-schedule",
    "other-world",
    "realloc-lies",
    "realloc-loops",
    "recurses",
    "sleeps",
    "start-loops",
    "too-many-jobs",
    "traps",
    "wants-forecast",
    "deep-components",
    "data-bomb",
];

/// Rules that plans of the guest `bad-jobs` break.
const RULES: [&str; 8] = [
    "ungranted-topic",
    "dollar-topic",
    "wildcard-topic",
    "nan-range",
    "at-after-9999",
    "never-cron",
    "many-steps",
    "put-off-for-ever",
];

/// Guests that are accepted, because their calls are bounded.
const TAKEN: [&str; 7] =
    ["each-second", "task-errors", "task-loops", "task-oversteps", "task-traps", "wants-files", "wants-sockets"];

/// Installs all of them, and returns the names of those that have to be refused.
pub fn drop_all(site: &Site) -> Vec<String> {
    let mut refused = Vec::new();
    // Several that sleep, one after the other.
    let sleepers = (0..20).map(|number| (format!("a-sleeper-{number}"), "sleeps"));
    for (name, of) in sleepers.chain(REFUSED.map(|name| (name.to_owned(), name))) {
        site.drop_in(&guest(of), &name);
        refused.push(name);
    }
    for rule in RULES {
        let name = format!("bad-{rule}");
        site.settings(&name, &format!("[config]\nbreak = \"{rule}\"\n"));
        site.drop_in(&guest("bad-jobs"), &name);
        refused.push(name);
    }
    for name in TAKEN {
        site.drop_in(&guest(name), name);
    }
    for number in 0..3 {
        let name = format!("hoards-{number}");
        site.settings(&name, "[config]\nmib = 200\nfor = \"2s\"\n");
        site.drop_in(&guest("hoards"), &name);
    }
    refused.extend(large_files(site));
    refused.extend(broken_files(site));
    odd_files(site);
    refused
}

/// Writes large files of plugins that return an error: 60 MiB of a custom section.
fn large_files(site: &Site) -> Vec<String> {
    let mut bytes = fs::read(guest("errors")).expect("a guest");
    bytes.extend([0, 0x80, 0x80, 0x80, 0x1e, 1]);
    let letter = bytes.len();
    bytes.resize(letter + (60 << 20) - 1, 0);
    let file = |number: u8| {
        bytes[letter] = b'a' + number;
        let name = format!("large-{number}");
        fs::write(site.plugin(&format!("{name}.wasm")), &bytes).expect("room on the disk");
        name
    };
    (0..8).map(file).collect()
}

fn broken_files(site: &Site) -> Vec<String> {
    let whole = fs::read(guest("declared")).expect("a guest");
    let files: [(&str, &[u8]); 5] = [
        ("cut-off", &whole[..whole.len() / 2]),
        ("empty", b""),
        ("text", b"(component)"),
        ("other-program", b"\x7fELF\x02\x01\x01\0\0"),
        ("settings", &whole),
    ];
    fs::write(site.plugin("settings.toml"), b"[config]\nx = \"\xff\"\n").expect("a file");
    let sparse = File::create(site.plugin("too-large.wasm")).and_then(|file| file.set_len(1 << 40));
    sparse.expect("a file with nothing in it");
    for (name, bytes) in files {
        fs::write(site.plugin(&format!("{name}.wasm")), bytes).expect("a file");
    }
    files.map(|(name, _)| name.to_owned()).into_iter().chain(["too-large".to_owned()]).collect()
}

/// Makes links, pipes, folders, and files with invalid names.
fn odd_files(site: &Site) {
    let pipe = |name: &str| {
        mknodat(CWD, site.plugin(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    };
    pipe("pipe.wasm");
    pipe("wants-files.toml");
    symlink("nowhere", site.plugin("dangling.wasm")).expect("a link");
    symlink("circle.wasm", site.plugin("circle.wasm")).expect("a link");
    symlink("/dev/zero", site.plugin("endless.wasm")).expect("a link");
    symlink("/", site.plugin("up.wasm")).expect("a link");
    fs::create_dir(site.plugin("folder.wasm")).expect("a folder");
    let long = "x".repeat(250);
    let names: [&[u8]; 9] = [
        b"two words",
        b"UPPER",
        b"new\nline",
        b"-rf",
        b"roost",
        b"..",
        b"\xff\xfe",
        "\u{202e}drowkcab".as_bytes(),
        long.as_bytes(),
    ];
    for name in names {
        let file = [name, b".wasm"].concat();
        fs::copy(guest("traps"), site.path().join("plugins").join(OsStr::from_bytes(&file))).expect("a copy");
    }
}
