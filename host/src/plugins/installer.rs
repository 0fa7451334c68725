//! Installs and removes plugins' files by request of the operator. The folder remains the source of truth: an installed
//! file is loaded like any other.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use roost_scheduler::{
    event::{Digest, Loaded},
    names::PluginName,
};
use tokio::sync::{Mutex, mpsc, oneshot};

mod settings;

pub(crate) use self::settings::{SETTINGS_BYTES, SettingsFile};
use super::{
    complete,
    folder::{Candidate, settings_at},
    limits,
    registry::Question,
    shared_files::{SharedError, SharedFiles},
    statuses::PluginStatuses,
    stored_versions::{Versions, digest_of},
};
use crate::{
    files::{self, Folder},
    report::Report,
    store::FileKind,
};

/// The most bytes of an upload.
pub(crate) const COMPONENT_BYTES: u64 = limits::COMPONENT_BYTES;

/// Installs, removes and rolls back plugins.
#[derive(Clone, Debug)]
pub(crate) struct Installer {
    folder: Arc<Path>,
    /// If several hosts share the files: the folder is a copy of theirs.
    shared: Option<SharedFiles>,
    versions: Versions,
    statuses: PluginStatuses,
    questions: mpsc::UnboundedSender<Question>,
    /// Held while the folder is changed.
    lock: Arc<Mutex<()>>,
}

/// Why a request was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The file is not a plugin that this host would load.
    Faulty(Report),
    /// There is no such plugin.
    Unknown(Report),
    /// The current state does not allow it.
    Conflict(Report),
    /// The file in the folder is not the one that the request expects there.
    Changed(Report),
    /// The host is stopping.
    Stopping,
}

/// The file that a request expects in the folder, and would replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Any, or none.
    #[default]
    Anything,
    /// None.
    Nothing,
    /// Any.
    Something,
    /// One with one of these digests.
    OneOf(Vec<Digest>),
}

impl Expected {
    fn is(&self, found: Option<Digest>) -> bool {
        match self {
            Self::Anything => true,
            Self::Nothing => found.is_none(),
            Self::Something => found.is_some(),
            Self::OneOf(digests) => found.is_some_and(|found| digests.contains(&found)),
        }
    }
}

impl From<Option<Digest>> for Expected {
    /// Expects what was found.
    fn from(found: Option<Digest>) -> Self {
        found.map_or(Self::Nothing, |digest| Self::OneOf(vec![digest]))
    }
}

/// The result of a trial.
#[derive(Debug)]
pub(crate) struct Tried<L> {
    pub(crate) loaded: L,
    /// The settings file that a component was tried with, or the component that settings were tried with. If it is another
    /// one when the file is written, the two were never tried together.
    pub(crate) beside: Expected,
}

/// The result of an installation.
#[derive(Debug)]
pub(crate) struct Installed {
    /// The digest of the file in the folder.
    pub(crate) digest: Digest,
    /// Whether the folder had no such file before.
    pub(crate) is_new: bool,
}

impl Installer {
    pub(super) fn new(
        folder: &Path,
        (data, shared): (&Path, Option<SharedFiles>),
        statuses: PluginStatuses,
        questions: mpsc::UnboundedSender<Question>,
    ) -> Self {
        Self { folder: folder.into(), shared, versions: Versions::at(data), statuses, questions, lock: Arc::default() }
    }

    /// Loads a component on trial, with the settings in the folder. Nothing is installed.
    ///
    /// # Errors
    /// Returns why the host would refuse the component.
    pub(crate) async fn try_out(&self, plugin: &PluginName, component: Arc<[u8]>) -> Result<Tried<Loaded>, Refused> {
        if !component.is_empty() && !complete::is_complete(&component) {
            let report = Report::new(format!("plugin `{plugin}` was not loaded"));
            let report = report.cause("the file is truncated: a section is longer than the rest of the file");
            return Err(Refused::Faulty(report.hint("copy it again")));
        }
        let (name, path) = (plugin.clone(), self.file(plugin, "toml"));
        let settings = blocking(move || settings_at(&name, &path)).await?.map_err(Refused::Faulty)?;
        let beside = settings.as_ref().map(|settings| digest_of(settings.text.as_bytes())).into();
        let candidate = Candidate { plugin: plugin.clone(), component: component.into(), settings };
        let loaded = self.ask(|answer| Question::Trial { candidate, answer }).await?;
        Ok(Tried { loaded, beside })
    }

    /// Asks the registry for a trial.
    async fn ask<A>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<A, Report>>) -> Question,
    ) -> Result<A, Refused> {
        let (sender, answer) = oneshot::channel();
        // The receiver is gone only while the host stops; then `answer` fails.
        let _ = self.questions.send(question(sender));
        answer.await.map_err(|_| Refused::Stopping)?.map_err(Refused::Faulty)
    }

    /// Returns the digest of a plugin's component in the folder, if it has one.
    ///
    /// # Errors
    /// Returns a conflict if it cannot be read: that is not the same as no file.
    pub(crate) async fn in_folder(&self, plugin: &PluginName) -> Result<Option<Digest>, Refused> {
        let path = self.file(plugin, "wasm");
        blocking(move || digest_at(&path)).await?.map_err(|error| {
            let report = Report::new(format!("the component of plugin `{plugin}` in the folder is not known"));
            let path = self.file(plugin, "wasm");
            let report = report.cause(format!("`{}` cannot be read: {error}", path.display()));
            Refused::Conflict(report.hint("remove it, or upload without `If-Match` and `If-None-Match` to replace it"))
        })
    }

    /// Writes a component into the folder, atomically even if the host crashes. `expected` is the file that it replaces,
    /// `beside` the settings file.
    ///
    /// # Errors
    /// Returns an error if one of these is not the expected one, the folder's disk seems to be missing, or the file
    /// cannot be written.
    pub(crate) async fn install(
        &self,
        plugin: &PluginName,
        component: Arc<[u8]>,
        [expected, beside]: [Expected; 2],
    ) -> Result<Installed, Refused> {
        let guard = self.lock.clone().lock_owned().await;
        let (name, path) = (plugin.clone(), self.file(plugin, "toml"));
        let settings = blocking(move || settings_at(&name, &path)).await?.map_err(Refused::Conflict)?;
        if !beside.is(settings.map(|settings| digest_of(settings.text.as_bytes()))) {
            let report = Report::new(format!("plugin `{plugin}` was not written into the folder"));
            return Err(self.never_tried_together(report, plugin, "toml"));
        }
        if expected != Expected::Anything && !expected.is(self.in_folder(plugin).await?) {
            let report = Report::new(format!("plugin `{plugin}` was not written into the folder"));
            let report = report.cause(format!("`{}` was changed meanwhile", self.file(plugin, "wasm").display()));
            return Err(Refused::Changed(report.hint("check the plugin again, and see what it would change now")));
        }
        self.put(plugin, component, guard).await
    }

    /// Removes a plugin's component from the folder. Its settings remain.
    ///
    /// # Errors
    /// Returns an error if there is no such file, or it cannot be removed.
    pub(crate) async fn remove(&self, plugin: &PluginName) -> Result<(), Refused> {
        let guard = self.lock.clone().lock_owned().await;
        let (path, folder, name) = (self.file(plugin, "wasm"), self.folder.clone(), plugin.clone());
        let shared = self.shared.clone();
        let removed = blocking(move || {
            let _guard = guard;
            let what = || Report::new(format!("plugin `{name}` was not removed"));
            if matches!(fs::symlink_metadata(&path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
                let report = what().cause(format!("`{}` does not exist", path.display()));
                return Err(Refused::Unknown(report.hint("`roost plugins` lists the plugins")));
            }
            match shared {
                Some(shared) => {
                    shared.write(&name, FileKind::Component, None).map_err(|error| not_shared(what(), &error))?;
                }
                None => {
                    let removed = fs::remove_file(&path).and_then(|()| Folder::open(&folder)?.sync());
                    removed.map_err(|error| {
                        let cause = format!("`{}` cannot be removed: {error}", path.display());
                        Refused::Conflict(what().cause(cause).hint(WRITABLE))
                    })?;
                }
            }
            tracing::info!("plugin `{name}` was removed by request");
            Ok(())
        });
        removed.await?
    }

    /// Undoes the last change of a plugin's file: a component that does not run is replaced by the running one, and the
    /// running one by the previous one.
    ///
    /// # Errors
    /// Returns an error if the plugin or its previous component is not known, or the file cannot be written.
    pub(crate) async fn roll_back(&self, plugin: &PluginName) -> Result<Installed, Refused> {
        let guard = self.lock.clone().lock_owned().await;
        let what = || Report::new(format!("plugin `{plugin}` was not rolled back"));
        let Some(status) = self.statuses.plugin(plugin) else {
            return Err(Refused::Unknown(Report::new(format!("there is no plugin `{plugin}`"))));
        };
        let running = status.running.map(|(version, _)| version.component);
        let (path, versions) = (self.file(plugin, "wasm"), self.versions.clone());
        let previous = status.previous;
        let found = blocking(move || {
            // One that cannot be read does not run either.
            let in_folder = digest_at(&path).ok().flatten();
            let back_to = running.filter(|running| in_folder != Some(*running)).or(previous)?;
            Some(versions.component(back_to))
        });
        match found.await? {
            Some(Ok(bytes)) => self.put(plugin, bytes.into(), guard).await,
            Some(Err(error)) => Err(Refused::Conflict(what().chain(&error))),
            None => {
                let report = what().cause("no other version of it has run");
                Err(Refused::Conflict(report.hint("there is a previous version only after a new one has replaced it")))
            }
        }
    }

    async fn put(
        &self,
        plugin: &PluginName,
        component: Arc<[u8]>,
        guard: tokio::sync::OwnedMutexGuard<()>,
    ) -> Result<Installed, Refused> {
        self.check_mounted(plugin)?;
        let (path, folder, name) = (self.file(plugin, "wasm"), self.folder.clone(), plugin.clone());
        let shared = self.shared.clone();
        let put = blocking(move || {
            // Held even if the request is abandoned.
            let _guard = guard;
            let is_new = fs::symlink_metadata(&path).is_err();
            let what = || Report::new(format!("plugin `{name}` was not written into the folder"));
            match shared {
                Some(shared) => {
                    let written = shared.write(&name, FileKind::Component, Some(&component));
                    written.map_err(|error| not_shared(what(), &error))?;
                }
                None => put(&folder, &name, &component).map_err(|error| {
                    let cause = format!("`{}` cannot be written: {error}", path.display());
                    Refused::Conflict(what().cause(cause).hint(WRITABLE))
                })?,
            }
            tracing::info!("plugin `{name}` was written into the folder by request");
            Ok(Installed { digest: digest_of(&component), is_new })
        });
        put.await?
    }

    /// I9: refuses a folder without any of the running plugins, which is most likely a mount point without its disk. A
    /// new file there would end that assumption, and the other plugins would be removed.
    fn check_mounted(&self, except: &PluginName) -> Result<(), Refused> {
        let running = self.statuses.running();
        let is_there = |name: &PluginName| fs::symlink_metadata(self.file(name, "wasm")).is_ok();
        if running.is_empty() || running.iter().any(is_there) || running.iter().all(|name| name == except) {
            return Ok(());
        }
        let report = Report::new(format!("`{}` was not changed", self.folder.display()));
        let report = report.cause("it has none of the running plugins, as if its disk were missing");
        Err(Refused::Conflict(report.hint("check the disk, or copy any plugin into the folder by hand")))
    }

    /// Refuses a file because the one beside it is not the one that it was tried with: each is valid, but perhaps not the
    /// two together.
    fn never_tried_together(&self, report: Report, plugin: &PluginName, extension: &str) -> Refused {
        let cause = format!("`{}` was changed while it was checked", self.file(plugin, extension).display());
        Refused::Conflict(report.cause(cause).hint("send it again: it is checked with the file that is there now"))
    }

    fn file(&self, plugin: &PluginName, extension: &str) -> PathBuf {
        self.folder.join(format!("{plugin}.{extension}"))
    }
}

const WRITABLE: &str = "check that the user that runs Roost can write to the folder, and that its disk has free space";

/// Returns the refusal of a change that hosts could not share.
fn not_shared(report: Report, error: &SharedError) -> Refused {
    Refused::Conflict(report.chain(error).hint(error.hint()))
}

/// Writes a file under a name that the watch ignores, and renames it.
fn put(folder: &Path, plugin: &PluginName, component: &[u8]) -> io::Result<()> {
    let name = format!("{plugin}.wasm");
    Folder::open(folder)?.replace(&name, &format!(".{name}.part"), component, files::READABLE)
}

/// Returns the digest of the component at a path, or `None` if there is no file.
fn digest_at(path: &Path) -> io::Result<Option<Digest>> {
    match files::read(path, limits::COMPONENT_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(|bytes| Some(digest_of(&bytes))),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    // The work does not panic, so that an error means that the runtime is stopping.
    tokio::task::spawn_blocking(work).await.map_err(|_| Refused::Stopping)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_request_may_expect_a_file_or_none() {
        let (one, two) = (Digest([1; 32]), Digest([2; 32]));
        for (expected, of_none, of_one) in [
            (Expected::Anything, true, true),
            (Expected::Nothing, true, false),
            (Expected::Something, false, true),
            (Expected::OneOf(vec![two, one]), false, true),
            (Expected::OneOf(vec![two]), false, false),
            (Expected::OneOf(Vec::new()), false, false),
        ] {
            assert_eq!((expected.is(None), expected.is(Some(one))), (of_none, of_one), "{expected:?}");
        }
    }

    #[tokio::test]
    async fn a_component_that_cannot_be_read_is_not_the_same_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let questions = mpsc::unbounded_channel().0;
        let installer = Installer::new(folder.path(), (folder.path(), None), PluginStatuses::default(), questions);
        let porch = &PluginName::parse("porch").unwrap();
        assert_eq!(installer.in_folder(porch).await.unwrap(), None);
        let install = |expected| installer.install(porch, Arc::from(*b"component"), [expected, Expected::Anything]);
        assert!(install(Expected::Nothing).await.unwrap().is_new);
        assert_eq!(installer.in_folder(porch).await.unwrap(), Some(digest_of(b"component")));

        let path = folder.path().join("porch.wasm");
        File::create(&path).unwrap().set_len(limits::COMPONENT_BYTES + 1).unwrap();
        assert!(matches!(installer.in_folder(porch).await, Err(Refused::Conflict(_))));
        for expected in [Expected::Nothing, Expected::Something, Expected::OneOf(Vec::new())] {
            assert!(matches!(install(expected).await, Err(Refused::Conflict(_))));
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), limits::COMPONENT_BYTES + 1, "it is unchanged");
        install(Expected::Anything).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"component");
    }

    #[tokio::test]
    async fn two_files_that_were_never_tried_together_do_not_meet_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let questions = mpsc::unbounded_channel().0;
        let installer = Installer::new(folder.path(), (folder.path(), None), PluginStatuses::default(), questions);
        let porch = &PluginName::parse("porch").unwrap();
        // Both were tried when the folder was empty.
        let alone = || [Expected::Anything, Expected::Nothing];
        installer.write_settings(porch, "# new".into(), alone()).await.unwrap();
        let refused = installer.install(porch, Arc::from(*b"component"), alone()).await.unwrap_err();
        let Refused::Conflict(report) = refused else { panic!("{refused:?}") };
        assert!(report.to_string().contains("porch.toml` was changed while it was checked"), "{report}");
        assert_eq!(installer.in_folder(porch).await.unwrap(), None);

        fs::remove_file(folder.path().join("porch.toml")).unwrap();
        installer.install(porch, Arc::from(*b"component"), alone()).await.unwrap();
        let refused = installer.write_settings(porch, "# new".into(), alone()).await.unwrap_err();
        let Refused::Conflict(report) = refused else { panic!("{refused:?}") };
        assert!(report.to_string().contains("porch.wasm` was changed while it was checked"), "{report}");
        let beside = Expected::from(Some(digest_of(b"component")));
        installer.write_settings(porch, "# new".into(), [Expected::Nothing, beside]).await.unwrap();
    }

    #[test]
    fn the_target_of_a_planted_link_is_not_written() {
        let root = tempfile::tempdir().unwrap();
        let (folder, victim) = (root.path().join("plugins"), root.path().join("victim"));
        fs::create_dir(&folder).unwrap();
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, folder.join(".porch.wasm.part")).unwrap();
        symlink(&victim, folder.join("porch.wasm")).unwrap();
        let name = PluginName::parse("porch").unwrap();
        put(&folder, &name, b"component").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert!(fs::symlink_metadata(folder.join("porch.wasm")).unwrap().is_file());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left behind");
        assert!(put(Path::new("/nowhere"), &name, b"").is_err());
    }
}
