//! Files that people put into the folder, or take out of it, through the host. The folder stays the truth: what is put there is
//! taken up as if anybody had put it there.

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

use super::{
    folder::{Candidate, name_like, settings_at},
    limits,
    registry::Question,
    sections,
    statuses::PluginStatuses,
    versions::{Versions, digest_of},
};
use crate::{
    files::{self, Folder},
    report::Report,
};

/// Bytes that an upload may have.
pub(crate) const COMPONENT_BYTES: u64 = limits::COMPONENT_BYTES;

/// Who installs for people.
#[derive(Clone, Debug)]
pub(crate) struct Installer {
    folder: Arc<Path>,
    versions: Versions,
    statuses: PluginStatuses,
    questions: mpsc::UnboundedSender<Question>,
    /// Held while the folder is changed.
    turn: Arc<Mutex<()>>,
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The file is no plugin that this host would take.
    Faulty(Report),
    /// There is no such plugin.
    Unknown(Report),
    /// As things are, it cannot be done.
    Conflict(Report),
    /// The host is being stopped.
    Stopping,
}

/// What an installation did.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Which component lies in the folder now.
    pub(crate) component: Digest,
    /// Whether there was none before.
    pub(crate) is_new: bool,
}

impl Installer {
    pub(super) fn new(
        folder: &Path,
        data: &Path,
        statuses: PluginStatuses,
        questions: mpsc::UnboundedSender<Question>,
    ) -> Self {
        Self { folder: folder.into(), versions: Versions::at(data), statuses, questions, turn: Arc::default() }
    }

    /// What the host would make of a component, with the settings that lie in the folder. Nothing is kept.
    pub(crate) async fn try_out(&self, plugin: &PluginName, component: Arc<[u8]>) -> Result<Loaded, Refused> {
        if !component.is_empty() && !sections::whole(&component) {
            let report = Report::new(format!("plugin `{plugin}` was not loaded"));
            let report = report.cause("the file is cut off: a section says it is longer than the rest of it");
            return Err(Refused::Faulty(report.hint("copy it again")));
        }
        let (name, path) = (plugin.clone(), self.file(plugin, "toml"));
        let settings = blocking(move || settings_at(&name, &path)).await?.map_err(Refused::Faulty)?;
        let (sender, answer) = oneshot::channel();
        let candidate = Candidate { plugin: plugin.clone(), component: component.into(), settings };
        // Nobody listens only while the host stops, and then nobody answers.
        let _ = self.questions.send(Question::Trial { candidate, answer: sender });
        answer.await.map_err(|_| Refused::Stopping)?.map_err(Refused::Faulty)
    }

    /// Puts a component into the folder: all of it or nothing, whatever crashes.
    pub(crate) async fn install(&self, plugin: &PluginName, component: Arc<[u8]>) -> Result<Installed, Refused> {
        let turn = self.turn.clone().lock_owned().await;
        self.put(plugin, component, turn).await
    }

    /// Takes a plugin out of the folder. Its settings stay.
    pub(crate) async fn remove(&self, plugin: &PluginName) -> Result<(), Refused> {
        let turn = self.turn.clone().lock_owned().await;
        let (path, folder, name) = (self.file(plugin, "wasm"), self.folder.clone(), plugin.clone());
        let removed = blocking(move || {
            let _turn = turn;
            fs::remove_file(&path)?;
            tracing::info!("{name} was taken out of the folder by request");
            Folder::open(&folder)?.sync()
        });
        removed.await?.map_err(|error| {
            let path = self.file(plugin, "wasm");
            let report = Report::new(format!("plugin `{plugin}` was not removed"));
            if error.kind() == io::ErrorKind::NotFound {
                let report = report.cause(format!("`{}` is not there", path.display()));
                return Refused::Unknown(report.hint("`roost plugins` shows those that are there"));
            }
            Refused::Conflict(report.cause(format!("`{}` cannot be removed: {error}", path.display())).hint(WRITABLE))
        })
    }

    /// Undoes the last change of a plugin's file: what lies there and does not run makes room for what runs, and what runs for
    /// what ran before.
    pub(crate) async fn roll_back(&self, plugin: &PluginName) -> Result<Installed, Refused> {
        let turn = self.turn.clone().lock_owned().await;
        let what = || Report::new(format!("plugin `{plugin}` was not rolled back"));
        let Some(status) = self.statuses.plugin(plugin) else {
            return Err(Refused::Unknown(Report::new(format!("there is no plugin `{plugin}`"))));
        };
        let running = status.running.map(|(version, _)| version.component);
        let (path, versions) = (self.file(plugin, "wasm"), self.versions.clone());
        let previous = status.previous;
        let found = blocking(move || {
            let lies = files::read(&path, limits::COMPONENT_BYTES).ok().map(|bytes| digest_of(&bytes));
            let back_to = running.filter(|running| lies != Some(*running)).or(previous)?;
            Some(versions.component(back_to))
        });
        match found.await? {
            Some(Ok(bytes)) => self.put(plugin, bytes.into(), turn).await,
            Some(Err(error)) => Err(Refused::Conflict(what().chain(&error))),
            None => {
                let report = what().cause("no other version of it has run");
                Err(Refused::Conflict(report.hint("the version before is known when a new one has taken its place")))
            }
        }
    }

    async fn put(
        &self,
        plugin: &PluginName,
        component: Arc<[u8]>,
        turn: tokio::sync::OwnedMutexGuard<()>,
    ) -> Result<Installed, Refused> {
        self.is_mounted(plugin)?;
        let (path, folder, name) = (self.file(plugin, "wasm"), self.folder.clone(), plugin.clone());
        let put = blocking(move || {
            // Also where nobody waits for it any more.
            let _turn = turn;
            let is_new = fs::symlink_metadata(&path).is_err();
            put(&folder, &name, &component)?;
            tracing::info!("{name} was put into the folder by request");
            Ok(Installed { component: digest_of(&component), is_new })
        });
        put.await?.map_err(|error: io::Error| {
            let report = Report::new(format!("plugin `{plugin}` was not written into the folder"));
            let path = self.file(plugin, "wasm");
            Refused::Conflict(report.cause(format!("`{}` cannot be written: {error}", path.display())).hint(WRITABLE))
        })
    }

    /// I9: a folder that has none of the plugins that run is most likely a mount point without its disk. What is put there would
    /// make it count, and the others would be gone.
    fn is_mounted(&self, except: &PluginName) -> Result<(), Refused> {
        let running = self.statuses.running();
        let is_there = |name: &PluginName| fs::symlink_metadata(self.file(name, "wasm")).is_ok();
        if running.is_empty() || running.iter().any(is_there) || running.iter().all(|name| name == except) {
            return Ok(());
        }
        let report = Report::new(format!("`{}` is not changed", self.folder.display()));
        let report = report.cause("it has none of the plugins that run, as if its disk were missing");
        Err(Refused::Conflict(report.hint("see to the disk, or put any plugin into the folder by hand")))
    }

    fn file(&self, plugin: &PluginName, extension: &str) -> PathBuf {
        self.folder.join(format!("{plugin}.{extension}"))
    }
}

const WRITABLE: &str =
    "the user that Roost runs as must be allowed to write to the folder, and there must be room on its disk";

/// A name that the watch leaves alone, then the right one.
fn put(folder: &Path, plugin: &PluginName, component: &[u8]) -> io::Result<()> {
    let name = format!("{plugin}.wasm");
    Folder::open(folder)?.replace(&name, &format!(".{name}.part"), component, files::READABLE)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    // Nothing panics there.
    tokio::task::spawn_blocking(work).await.map_err(|_| Refused::Stopping)
}

/// The plugin that was meant by a name that none can have.
pub(crate) fn plugin_like(name: &str) -> Option<PluginName> {
    name_like(name.strip_suffix(".wasm").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_planted_link_leads_to_is_not_written() {
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

    #[test]
    fn what_was_meant_is_a_name() {
        let meant = |name: &str| plugin_like(name).map(|name| name.to_string());
        assert_eq!(meant("coop_door"), Some("coop-door".into()));
        assert_eq!(meant("Coop Door.wasm"), Some("coop-door".into()));
        assert_eq!(meant("___"), None);
    }
}
