//! `roost wit`: the contract between plugins and the host.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::output;
use crate::report::Report;

/// The files of the contract. The first one names the package.
const FILES: [(&str, &str); 5] = [
    ("types.wit", include_str!("../../../wit/types.wit")),
    ("host.wit", include_str!("../../../wit/host.wit")),
    ("schedule.wit", include_str!("../../../wit/schedule.wit")),
    ("tasks.wit", include_str!("../../../wit/tasks.wit")),
    ("worlds.wit", include_str!("../../../wit/worlds.wit")),
];

/// Print the contract of plugins, or write its files to a folder
///
/// The contract is a package of WIT, the language in which WebAssembly components describe what they import and
/// export. Toolchains build plugins for its world `device-plugin`, or `device-plugin-with-tasks`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost wit
  roost wit wit")]
pub(super) struct Args {
    /// The folder; it is created if it does not exist, and files of the contract in it are replaced
    folder: Option<PathBuf>,
}

pub(super) fn main(args: &Args) -> Result<()> {
    if let Some(folder) = &args.folder {
        return Ok(write(folder).map_err(|error| {
            let report = Report::new(format!("the contract cannot be written to `{}`", folder.display()));
            report.cause(error).hint("name a folder that you may write to")
        })?);
    }
    let texts = FILES.map(|(_, text)| text);
    Ok(output::stdout().write_all(texts.join("\n").as_bytes())?)
}

/// Writes the files of the contract into a folder.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    FILES.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_file_of_the_contract_is_missing() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let files: BTreeSet<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(files, FILES.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}
