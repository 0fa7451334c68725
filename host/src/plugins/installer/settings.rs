//! Reads, checks and writes the settings files of plugins. The text is the truth: it is written as it came, with its
//! comments.

use std::{fs, io, path::Path};

use roost_scheduler::{
    event::{Digest, Loaded},
    names::PluginName,
};

use super::{
    super::{
        folder::{Candidate, SettingsText, settings_at},
        limits,
        registry::Question,
        shared_files::SharedFiles,
        stored_versions::digest_of,
    },
    Expected, Installed, Installer, Refused, Tried, WRITABLE, blocking, not_shared,
};
use crate::{
    files::{self, Folder},
    report::Report,
    store::FileKind,
};

/// The most bytes of settings.
pub(crate) const SETTINGS_BYTES: u64 = limits::SETTINGS_BYTES;

/// The settings file of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingsFile {
    pub(crate) text: String,
    /// The digest of the text.
    pub(crate) digest: Digest,
}

impl Installer {
    /// Returns a plugin's settings file, if it has one.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or lies outside of the folder, where it may be a secret.
    pub(crate) async fn settings(&self, plugin: &PluginName) -> Result<Option<SettingsFile>, Refused> {
        let (name, path) = (plugin.clone(), self.file(plugin, "toml"));
        match blocking(move || settings_at(&name, &path)).await?.map_err(Refused::Conflict)? {
            None => Ok(None),
            Some(SettingsText { text, may_quote: true }) => {
                let digest = digest_of(text.as_bytes());
                Ok(Some(SettingsFile { text, digest }))
            }
            Some(_) => {
                let report = Report::new(format!("the settings of plugin `{plugin}` are not shown"));
                let report = report.cause("a link leads to a file outside of the plugin folder");
                Err(Refused::Conflict(report.hint("replace the link by the file, or open the file it leads to")))
            }
        }
    }

    /// Checks whether a plugin has a settings file.
    pub(crate) async fn has_settings(&self, plugin: &PluginName) -> bool {
        let path = self.file(plugin, "toml");
        blocking(move || fs::symlink_metadata(path).is_ok()).await.unwrap_or_default()
    }

    /// Loads the component in the folder on trial with other settings. Without a component, only the settings are
    /// checked, and there is no result. Nothing is written.
    ///
    /// # Errors
    /// Returns why the host would refuse them, with the place in the text.
    pub(crate) async fn try_settings(
        &self,
        plugin: &PluginName,
        text: String,
    ) -> Result<Tried<Option<Loaded>>, Refused> {
        let path = self.file(plugin, "wasm");
        let component = match blocking(move || files::read(&path, limits::COMPONENT_BYTES)).await? {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let report = Report::new(format!("the settings of plugin `{plugin}` were not checked"));
                let path = self.file(plugin, "wasm");
                return Err(Refused::Conflict(report.cause(format!("`{}` cannot be read: {error}", path.display()))));
            }
        };
        let beside = component.as_deref().map(digest_of).into();
        let (is_alone, component) = (component.is_none(), component.unwrap_or_default().into());
        let settings = Some(SettingsText { text, may_quote: true });
        let candidate = Candidate { plugin: plugin.clone(), component, settings };
        let tried = match is_alone {
            true => self.ask(|answer| Question::Settings { candidate, answer }).await.map(|()| None),
            false => self.ask(|answer| Question::Trial { candidate, answer }).await.map(Some),
        };
        let tried = tried.map(|loaded| Tried { loaded, beside });
        tried.map_err(|refused| match refused {
            Refused::Faulty(report) => {
                Refused::Faulty(Report { what: format!("the settings of plugin `{plugin}` are refused"), ..report })
            }
            other => other,
        })
    }

    /// Writes a plugin's settings file, atomically even if the host crashes. The file keeps its mode and its owner.
    /// `expected` is the file that it replaces, `beside` the component.
    ///
    /// # Errors
    /// Returns an error if one of these is not the expected one, if the file is a link or cannot be written, or if the
    /// folder's disk seems to be missing.
    pub(crate) async fn write_settings(
        &self,
        plugin: &PluginName,
        text: String,
        [expected, beside]: [Expected; 2],
    ) -> Result<Installed, Refused> {
        let guard = self.lock.clone().lock_owned().await;
        if !beside.is(self.in_folder(plugin).await?) {
            return Err(self.never_tried_together(not_written(plugin), plugin, "wasm"));
        }
        self.check_mounted(plugin)?;
        let (folder, shared, name) = (self.folder.clone(), self.shared.clone(), plugin.clone());
        let written = blocking(move || {
            // Held even if the request is abandoned.
            let _guard = guard;
            write(&folder, shared.as_ref(), &name, &text, &expected)
        });
        written.await?.inspect(|_| tracing::info!("the settings of plugin `{plugin}` were written by request"))
    }

    /// Returns an error if the settings file is not the expected one.
    pub(crate) async fn expect_settings(&self, plugin: &PluginName, expected: Expected) -> Result<(), Refused> {
        let (folder, name) = (self.folder.clone(), plugin.clone());
        blocking(move || found(&folder, &name).and_then(|found| check(&folder, &name, found, &expected))).await?
    }
}

fn not_written(plugin: &PluginName) -> Report {
    Report::new(format!("the settings of plugin `{plugin}` were not written"))
}

/// Returns the digest of the settings file, if there is one. A link is an error: the file that it leads to may be used
/// elsewhere, too.
fn found(folder: &Path, plugin: &PluginName) -> Result<Option<Digest>, Refused> {
    let path = folder.join(format!("{plugin}.toml"));
    let refused = |cause: String, hint| Refused::Conflict(not_written(plugin).cause(cause).hint(hint));
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(found) if found.is_symlink() => {
            let hint = "change the file that it leads to, or replace the link by the file";
            return Err(refused(format!("`{}` is a link", path.display()), hint));
        }
        _ => {}
    }
    match files::read(&path, limits::SETTINGS_BYTES) {
        Ok(bytes) => Ok(Some(digest_of(&bytes))),
        Err(error) => Err(refused(format!("`{}` cannot be read: {error}", path.display()), WRITABLE)),
    }
}

fn check(folder: &Path, plugin: &PluginName, found: Option<Digest>, expected: &Expected) -> Result<(), Refused> {
    if expected.is(found) {
        return Ok(());
    }
    let path = folder.join(format!("{plugin}.toml"));
    let how = if found.is_some() { "is not the file that the request expects" } else { "does not exist" };
    let report = not_written(plugin).cause(format!("`{}` {how}", path.display()));
    Err(Refused::Changed(report.hint("read the settings again, and repeat the change")))
}

fn write(
    folder: &Path,
    shared: Option<&SharedFiles>,
    plugin: &PluginName,
    text: &str,
    expected: &Expected,
) -> Result<Installed, Refused> {
    let found = found(folder, plugin)?;
    check(folder, plugin, found, expected)?;
    let installed = Installed { digest: digest_of(text.as_bytes()), is_new: found.is_none() };
    if let Some(shared) = shared {
        let written = shared.write(plugin, FileKind::Settings, Some(text.as_bytes()));
        return written.map(|()| installed).map_err(|error| not_shared(not_written(plugin), &error));
    }
    let name = format!("{plugin}.toml");
    // A name that the watch ignores.
    let part = format!(".{name}.part");
    let written =
        Folder::open(folder).and_then(|folder| folder.rewrite(&name, &part, text.as_bytes(), files::READABLE));
    written.map_err(|error| {
        let cause = format!("`{}` cannot be written: {error}", folder.join(&name).display());
        Refused::Conflict(not_written(plugin).cause(cause).hint(WRITABLE))
    })?;
    Ok(installed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn settings_replace_the_expected_file_and_keep_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (path, porch) = (folder.path().join("porch.toml"), PluginName::parse("porch").unwrap());
        let put = |text: &str, expected: Expected| write(folder.path(), None, &porch, text, &expected);
        let first = put("# one", Expected::Nothing).unwrap();
        assert!(first.is_new && matches!(put("# two", Expected::Nothing), Err(Refused::Changed(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let second = put("# two", Expected::OneOf(vec![first.digest])).unwrap();
        assert!(!second.is_new && fs::read_to_string(&path).unwrap() == "# two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(put("# three", Expected::OneOf(vec![first.digest])), Err(Refused::Changed(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_link_is_neither_followed_nor_replaced() {
        let root = tempfile::tempdir().unwrap();
        let (folder, victim) = (root.path().join("plugins"), root.path().join("victim"));
        fs::create_dir(&folder).unwrap();
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, folder.join("porch.toml")).unwrap();
        symlink(&victim, folder.join(".porch.toml.part")).unwrap();
        let porch = PluginName::parse("porch").unwrap();
        assert!(matches!(write(&folder, None, &porch, "", &Expected::Something), Err(Refused::Conflict(_))));
        fs::remove_file(folder.join("porch.toml")).unwrap();
        write(&folder, None, &porch, "# new", &Expected::Nothing).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}
