//! The files of `templates/`, each a plugin with the name `plugin-name`.

use clap::ValueEnum;
use roost_scheduler::names::PluginName;

/// A path in the plugin's folder, and the text of the file.
type File = (&'static str, &'static str);

macro_rules! file {
    ($path:literal) => {
        include_str!(concat!("../../../../templates/", $path))
    };
}

/// A language that plugins are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Rust, with Roost's SDK
    Rust,
    /// JavaScript, by QuickJS
    Js,
    /// TypeScript, by QuickJS
    Ts,
    /// Python, by CPython
    Python,
}

const SETTINGS: File = ("plugin-name.toml", file!("settings.toml"));

const RUST: &[File] = &[
    SETTINGS,
    ("Cargo.toml", file!("rust/Cargo.toml")),
    ("src/lib.rs", file!("rust/src/lib.rs")),
    ("README.md", file!("rust/README.md")),
    (".gitignore", file!("rust/gitignore")),
];

const JS: &[File] = &[
    SETTINGS,
    ("package.json", file!("js/package.json")),
    ("plugin.js", file!("js/plugin.js")),
    ("plugin.test.js", file!("js/plugin.test.js")),
    ("roost.js", file!("js/roost.js")),
    ("roost.d.ts", file!("js/roost.d.ts")),
    ("README.md", file!("js/README.md")),
    (".gitignore", file!("js/gitignore")),
];

const TS: &[File] = &[
    SETTINGS,
    ("package.json", file!("ts/package.json")),
    ("tsconfig.json", file!("ts/tsconfig.json")),
    ("plugin.ts", file!("ts/plugin.ts")),
    ("plugin.test.js", file!("js/plugin.test.js")),
    ("roost.js", file!("js/roost.js")),
    ("roost.d.ts", file!("js/roost.d.ts")),
    ("README.md", file!("ts/README.md")),
    (".gitignore", file!("ts/gitignore")),
];

const PYTHON: &[File] = &[
    SETTINGS,
    ("Makefile", file!("python/Makefile")),
    ("requirements.txt", file!("python/requirements.txt")),
    ("plugin.py", file!("python/plugin.py")),
    ("test_plugin.py", file!("python/test_plugin.py")),
    ("roost.py", file!("python/roost.py")),
    ("README.md", file!("python/README.md")),
    (".gitignore", file!("python/gitignore")),
];

impl Language {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Js => "JavaScript",
            Self::Ts => "TypeScript",
            Self::Python => "Python",
        }
    }

    pub(super) fn files(self) -> &'static [File] {
        match self {
            Self::Rust => RUST,
            Self::Js => JS,
            Self::Ts => TS,
            Self::Python => PYTHON,
        }
    }
}

/// What stands in the place of the names in a template.
pub(super) struct Names<'a> {
    pub(super) plugin: &'a PluginName,
    /// How Cargo finds the SDK: `version = "…"` or `path = "…"`.
    pub(super) sdk: &'a str,
}

impl Names<'_> {
    pub(super) fn put_into(&self, text: &str) -> String {
        text.replace("plugin-name", self.plugin.as_str()).replace(r#"path = "../../plugin-sdk""#, self.sdk)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn files(folder: &Path, all: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path, all),
                false => drop(all.insert(fs::read_to_string(path).unwrap())),
            }
        }
    }

    #[test]
    fn no_template_is_forgotten() {
        let mut all = BTreeSet::new();
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates"), &mut all);
        let embedded = Language::value_variants().iter().flat_map(|language| language.files());
        assert_eq!(embedded.map(|(_, text)| (*text).to_owned()).collect::<BTreeSet<_>>(), all);
    }
}
