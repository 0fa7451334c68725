//! The files of plugins of one machine, as they are copied into a database of several hosts.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use roost_scheduler::{event::Digest, names::PluginName};

use super::stored_versions::{Versions, digest_of};
use crate::{
    report::Report,
    store::{PluginCopies, PluginFile},
};

/// Lists the files of a plugin folder, and the stored versions of a data folder.
pub(crate) fn plugin_copies(plugins: &Path, data: &Path) -> Result<PluginCopies, Report> {
    let versions = Versions::at(data);
    let mut contents: Vec<(Digest, PathBuf)> = list(versions.path())?
        .into_iter()
        .filter_map(|path| {
            let stem = path.file_stem()?.to_str()?;
            let digest = Digest(hex::decode(stem).ok()?.try_into().ok()?);
            // A damaged one is not used (I8).
            (digest_of(&fs::read(&path).ok()?) == digest).then_some((digest, path))
        })
        .collect();
    let mut files: BTreeMap<PluginName, PluginFile> = BTreeMap::new();
    for path in list(plugins)? {
        let name = path.file_stem().and_then(|stem| PluginName::parse(stem.to_str()?).ok());
        let (Some(plugin), Some(extension)) = (name, path.extension()) else { continue };
        let is_component = extension == "wasm";
        if !is_component && extension != "toml" {
            continue;
        }
        let digest = digest_of(&fs::read(&path).map_err(|error| unreadable(&path, error))?);
        let previous = versions.previous(&plugin).filter(|digest| contents.iter().any(|(of, _)| of == digest));
        let file = files.entry(plugin.clone());
        let file = file.or_insert(PluginFile { plugin, component: None, settings: None, previous });
        *(if is_component { &mut file.component } else { &mut file.settings }) = Some(digest);
        contents.push((digest, path));
    }
    Ok(PluginCopies { files: files.into_values().collect(), contents })
}

/// Returns the files of a folder, or none if it does not exist.
fn list(folder: &Path) -> Result<Vec<PathBuf>, Report> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| unreadable(folder, error))?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    Ok(paths.map_err(|error| unreadable(folder, error))?.into_iter().filter(|path| path.is_file()).collect())
}

fn unreadable(path: &Path, error: io::Error) -> Report {
    let report = Report::new(format!("`{}` cannot be read", path.display())).cause(error);
    report.hint("run the command as the user that runs Roost")
}
