//! `docs/moving.md`: its settings have the messages that it states.

use std::fs;

use roost_tests::{Ran, Site, root, sample};

use crate::docs::blocks;

#[test]
fn programs_of_other_controllers_have_the_messages_that_the_page_states() {
    let blocks = blocks("docs/moving.md");
    let shown = |(language, _): &&(String, String)| ["toml", "console", "text"].contains(&language.as_str());
    let shown: Vec<_> = blocks.iter().filter(shown).collect();
    assert_eq!(shown.len(), 5 * 3, "five programs: settings, a command and its output");
    for program in shown.chunks(3) {
        let [(toml, settings), (console, command), (text, output)] = program else { unreachable!("chunks of three") };
        assert_eq!([toml, console, text], ["toml", "console", "text"], "{settings}");
        let site = Site::new();
        site.settings("sprinkler", settings);
        site.drop_in(&sample("sprinkler"), "sprinkler");
        fs::copy(root().join("roost.toml"), site.path().join("roost.toml")).unwrap();
        let command: Vec<&str> = command.strip_prefix("$ roost ").unwrap().split_whitespace().collect();
        let Ran { code, out, errors } = Ran::of(&mut site.command(&command));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{settings}");
        assert_eq!(out.trim_end(), output.trim_end(), "{settings}");
    }
}
