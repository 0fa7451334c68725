//! The contract is frozen: this compares it with a stored copy without comments, `frozen-1.0.0.wit`, which must never
//! change. Its binary form is frozen, too: the hand-written guest in `plugins/tests/guest.wat` states every type, and
//! each test that loads it checks that such a component still fits.

use std::{collections::BTreeMap, fs, path::Path};

const FROZEN: &str = include_str!("frozen-1.0.0.wit");

/// Returns the interfaces and worlds of a text, each without comments and with single spaces.
fn items(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with("package "));
    let (mut items, mut item, mut depth) = (BTreeMap::new(), Vec::new(), 0);
    for line in lines {
        depth += line.matches('{').count();
        depth -= line.matches('}').count();
        item.extend(line.split_whitespace());
        if depth == 0 {
            let name = item.iter().take(2).copied().collect::<Vec<_>>().join(" ");
            let text = std::mem::take(&mut item).join(" ");
            assert!(items.insert(name, text).is_none());
        }
    }
    items
}

fn present() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
    texts.flat_map(|path| items(&fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn no_type_and_no_function_of_version_1_has_changed() {
    let (frozen, present) = (items(FROZEN), present());
    assert_eq!(frozen.len(), 8, "{:?}", frozen.keys());
    for (name, text) in frozen {
        let now = present.get(&name).map(String::as_str);
        if name.starts_with("interface ") {
            assert_eq!(now, Some(text.as_str()), "`{name}` is frozen: add a new interface beside it");
            continue;
        }
        // A world may offer further imports: a plugin imports only those that it uses.
        for part in text.split(';') {
            let part = part.trim_matches([' ', '}']);
            assert!(now.is_some_and(|now| now.contains(part)), "`{name}` has lost `{part}`");
        }
    }
}

#[test]
fn every_type_of_the_schedule_is_stated_by_the_hand_written_guest() {
    let guest = include_str!("../../tests/guest.wat");
    for name in ["types", "schedule"] {
        let interface = &items(FROZEN)[&format!("interface {name}")];
        let words: Vec<&str> = interface.split(' ').collect();
        for pair in words.windows(2).filter(|pair| ["record", "variant", "enum"].contains(&pair[0])) {
            // These belong to tasks.
            let stated = guest.contains(&format!("\"{}\" (type", pair[1])) || pair[1] == "reply";
            assert!(stated, "{}", pair[1]);
        }
    }
}
