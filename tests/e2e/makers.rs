//! `roost new` and `roost wit`: what the maker of a plugin begins with. `tests/templates` builds and runs each template.

use std::{fs, path::Path};

use expect_test::expect;
use roost_tests::{Site, root};

/// Lists the files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true => all.extend(files(&path).into_iter().map(|inner| format!("{name}/{inner}"))),
            false => all.push(name),
        }
    }
    all.sort();
    all
}

#[test]
fn a_new_plugin_has_its_own_name_everywhere() {
    let site = Site::new();
    for language in ["rust", "js", "ts", "python"] {
        let name = format!("duck-{language}");
        site.roost(&["new", &name, "--lang", language]);
        let folder = site.path().join(&name);
        let files = files(&folder);
        for file in [format!("{name}.toml"), "README.md".into(), ".gitignore".into()] {
            assert!(files.contains(&file), "{files:?}");
        }
        for file in &files {
            let text = fs::read_to_string(folder.join(file)).unwrap();
            assert!(!text.contains("plugin-name"), "{name}/{file}");
        }
        assert_eq!(files.contains(&"wit/schedule.wit".to_owned()), language != "rust", "{files:?}");
    }
    // This program is in a folder below the sources.
    let manifest = fs::read_to_string(site.path().join("duck-rust/Cargo.toml")).unwrap();
    let sdk = root().join("plugin-sdk").canonicalize().unwrap();
    assert!(manifest.contains(&format!("roost-plugin-sdk = {{ path = \"{}\" }}", sdk.display())), "{manifest}");
}

#[test]
fn bad_names_folders_with_files_and_unknown_languages_are_refused() {
    let site = Site::new();
    fs::create_dir(site.path().join("empty")).unwrap();
    fs::write(site.path().join("file"), "").unwrap();
    let shown = site.transcript(&[
        &["new", "empty", "--lang", "js"],
        &["new", "empty", "--lang", "js"],
        &["new", "file"],
        &["new", "Duck House"],
        &["new", "___"],
        &["new", "../up"],
        &["new", "4-ducks"],
        &["new", "ducks", "--sdk", "plugins"],
        &["new", "ducks", "--lang", "cobol"],
    ]);
    expect![[r#"
        $ roost new empty --lang js
        `empty` is made: a plugin in JavaScript; empty/README.md says how to build it

        $ roost new empty --lang js
        error: `empty` exists already
        hint: choose another name, or another folder to run this in
        (exit 1)

        $ roost new file
        error: `file` exists already
        hint: choose another name, or another folder to run this in
        (exit 1)

        $ roost new 'Duck House'
        error: `Duck House` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
        hint: did you mean `duck-house`?
        (exit 1)

        $ roost new ___
        error: `___` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
        hint: choose another name, such as `coop-door`
        (exit 1)

        $ roost new ../up
        error: `../up` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
        hint: did you mean `up`?
        (exit 1)

        $ roost new 4-ducks
        error: `4-ducks` is no name for a plugin in Rust
          caused by: a package of Cargo must not begin with a digit
        hint: begin the name with a letter; the file can be renamed when it is built
        (exit 1)

        $ roost new ducks --sdk plugins
        error: `plugins` is not Roost's SDK for Rust
        hint: name the folder `plugin-sdk` of Roost's sources
        (exit 1)

        $ roost new ducks --lang cobol
        error: invalid value 'cobol' for '--lang <LANG>'
          [possible values: rust, js, ts, python]

        For more information, try '--help'.
        (exit 2)
    "#]].assert_eq(&shown);
}

#[test]
fn the_contract_is_printed_as_one_file_and_written_as_several() {
    let site = Site::new();
    let printed = site.roost(&["wit"]);
    let packages = printed.lines().filter(|line| line.starts_with("package "));
    assert_eq!(packages.collect::<Vec<_>>(), ["package roost:device@1.0.0;"]);
    site.roost(&["wit", "contract"]);
    for file in files(&root().join("wit")) {
        let text = fs::read_to_string(root().join("wit").join(&file)).unwrap();
        assert_eq!(fs::read_to_string(site.path().join("contract").join(&file)).unwrap(), text);
        assert!(printed.contains(&text), "{file}");
    }
}
