//! `roost new`: makes a folder with a plugin to begin with.

mod templates;

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Result;
use roost_scheduler::{
    names::PluginName,
    suggest::{did_you_mean, plugin_name},
};

use self::templates::{Language, Names};
use super::{output, wit};
use crate::report::Report;

/// Make a folder with a plugin to begin with
///
/// The plugin is a door that opens at sunrise, closes at sunset, and can be opened for some minutes. Its folder has the
/// name of the plugin, and in it are the settings, a test, and a README with the commands that build and try it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost new duck-house
  roost new duck-house --lang python")]
pub(super) struct Args {
    /// The name of the plugin: 1 to 63 of `a-z 0-9 -`
    name: String,
    /// The language
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// Where Roost's SDK for Rust is, `plugin-sdk` of its sources [default: those that this program was built from and
    /// is in, or else the SDK of the package registry]
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

pub(super) fn main(args: Args) -> Result<()> {
    let name = parse(&args.name, args.lang)?;
    let folder = PathBuf::from(name.as_str());
    if fs::read_dir(&folder).map_or_else(|_| folder.exists(), |mut entries| entries.next().is_some()) {
        let report = Report::new(format!("`{name}` exists already"));
        return Err(report.hint("choose another name, or another folder to run this in").into());
    }
    let names = Names { plugin: &name, sdk: &sdk(args.sdk)? };
    write(&folder, args.lang, &names).map_err(|error| {
        let report = Report::new(format!("the folder `{name}` cannot be written")).cause(error);
        report.hint("run this in a folder that you may write to")
    })?;
    let what = args.lang.title();
    writeln!(output::stdout(), "`{name}` is made: a plugin in {what}; {name}/README.md says how to build it")?;
    Ok(())
}

/// Parses the name of a plugin.
fn parse(text: &str, language: Language) -> Result<PluginName, Report> {
    let name = PluginName::parse(text).map_err(|error| {
        let report = Report::new(error.to_string());
        match plugin_name(text) {
            Some(meant) => report.hint(did_you_mean(meant)),
            None => report.hint("choose another name, such as `coop-door`"),
        }
    })?;
    if language == Language::Rust && text.starts_with(|first: char| first.is_ascii_digit()) {
        let report = Report::new(format!("`{text}` is no name for a plugin in Rust"));
        let report = report.cause("a package of Cargo must not begin with a digit");
        return Err(report.hint("begin the name with a letter; the file can be renamed when it is built"));
    }
    Ok(name)
}

/// Returns how a manifest of Cargo names the SDK.
fn sdk(given: Option<PathBuf>) -> Result<String, Report> {
    let is_sdk = |folder: &PathBuf| folder.join("src/bindings.rs").is_file() && folder.join("Cargo.toml").is_file();
    let found = match given {
        Some(folder) if !is_sdk(&folder) => {
            let report = Report::new(format!("`{}` is not Roost's SDK for Rust", folder.display()));
            return Err(report.hint("name the folder `plugin-sdk` of Roost's sources"));
        }
        Some(folder) => Some(folder),
        None => env::current_exe()
            .ok()
            .and_then(|program| program.ancestors().map(|folder| folder.join("plugin-sdk")).find(is_sdk)),
    };
    Ok(match found.and_then(|folder| folder.canonicalize().ok()) {
        // As text of TOML.
        Some(folder) => format!("path = {}", toml::Value::from(&*folder.to_string_lossy())),
        None => format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
    })
}

fn write(folder: &Path, language: Language, names: &Names<'_>) -> io::Result<()> {
    for (path, text) in language.files() {
        let path = folder.join(names.put_into(path));
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, names.put_into(text))?;
    }
    if language != Language::Rust {
        wit::write(&folder.join("wit"))?;
    }
    Ok(())
}
