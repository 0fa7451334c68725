//! The data folder: its lock (I14), and the MQTT client id in it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::Path,
    thread,
};

use rustix::fs::{FlockOperation, flock};

use super::{StoreError, limits};
use crate::{
    files::{self, Folder},
    report::Report,
};

/// The lock on the data folder, held for as long as the folder is in use.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read: closing it ends the lock")] File);

/// The data folder of a host that shares a database, which has folders of its cells in it, and the lock on it.
#[derive(Debug)]
pub(crate) struct DataFolder {
    /// The id of the host: made once, so that other hosts recognise it when it is restarted.
    pub(crate) host: String,
    _lock: Lock,
}

impl DataFolder {
    /// Opens the folder, and makes it if it does not exist.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(&open(path)?, path)?;
        Ok(Self { host: host_id(path)?, _lock: lock })
    }
}

/// Returns the id of the host of a data folder.
pub(crate) fn host_id(folder: &Path) -> Result<String, StoreError> {
    made_once(folder, "host-id", "host")
}

/// Returns the name of this machine.
pub(crate) fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Opens the data folder, and makes it if it does not exist. It belongs to the user that runs Roost alone, because a
/// user that can write there decides what is sent.
pub(super) fn open(folder: &Path) -> Result<Folder, StoreError> {
    let opened = Folder::own(folder).map_err(StoreError::Folder)?;
    if let Some(problem) = files::exposed_above(folder) {
        let what = format!("another user can replace `{}` with another folder", folder.display());
        let hint =
            "choose a data folder below folders that belong to root or to the user that runs Roost (`--data DIR`)";
        tracing::warn!("{}", Report::new(what).cause(problem).hint(hint));
    }
    Ok(opened)
}

/// Takes the lock: one host per data folder (I14). The lock ends with the process that holds it.
pub(super) fn lock(folder: &Folder, path: &Path) -> Result<Lock, StoreError> {
    let error = |source: io::Error| StoreError::File {
        what: "cannot lock the data folder by",
        path: path.join("lock"),
        source,
    };
    let mut file = folder.open_or_create("lock").map_err(error)?;
    match try_lock(&file) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let read = file.read_to_string(&mut holder);
            let pid = read.ok().and_then(|_| holder.trim().parse().ok());
            return Err(StoreError::InUse { folder: path.to_owned(), pid });
        }
        Err(errno) => return Err(error(errno.into())),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(error)?;
    writeln!(file, "{}", std::process::id()).map_err(error)?;
    Ok(Lock(file))
}

/// Tries for a while, because a process that the last host was starting holds the lock until its exec.
fn try_lock(file: &File) -> Result<(), rustix::io::Errno> {
    for _ in 0..limits::LOCK_TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(limits::LOCK_AGAIN),
            locked => return locked,
        }
    }
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Checks whether a host uses the folder, as far as this process may know.
pub(crate) fn is_in_use(folder: &Path) -> bool {
    let Ok(mut file) = File::open(folder.join("lock")) else { return false };
    let mut holder = String::new();
    let Ok(pid) = file.read_to_string(&mut holder).map(|_| holder.trim()) else { return false };
    // Trying a lock takes it for a moment, which must not happen while a host may be taking it without having written
    // its pid.
    let may_be = pid.parse::<u32>().is_ok_and(|pid| Path::new("/proc").join(pid.to_string()).exists());
    may_be && flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Returns the MQTT client id of this data folder. It is made once, so that the broker treats a restarted host as the
/// same client.
pub(crate) fn client_id(folder: &Path) -> Result<String, StoreError> {
    made_once(folder, "client-id", "roost")
}

/// Returns the text of a file, which is a random id. It is made if there is none.
fn made_once(folder: &Path, name: &str, beginning: &str) -> Result<String, StoreError> {
    let path = folder.join(name);
    let error = |what| {
        let path = path.clone();
        move |source| StoreError::File { what, path, source }
    };
    match fs::read_to_string(&path) {
        Ok(text) if is_client_id(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(source) if source.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(error("cannot read")(source)),
    }
    let mut random = [0; 8];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).map_err(error("cannot make"))?;
    let id = format!("{beginning}-{:016x}", u64::from_ne_bytes(random));
    let text = format!("{id}\n");
    let written = Folder::open(folder)
        .and_then(|folder| folder.replace(name, &format!("{name}.new"), text.as_bytes(), files::PRIVATE));
    written.map_err(error("cannot write"))?;
    Ok(id)
}

/// Checks whether every MQTT broker accepts it: a few letters, digits, `-`, `_` and `.`. The operator may have chosen
/// it.
fn is_client_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_second_host_learns_which_process_has_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = open(root.path()).unwrap();
        let lock = || lock(&folder, root.path());
        let held = lock().unwrap();
        match lock().unwrap_err() {
            StoreError::InUse { pid, .. } => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other}"),
        }
        assert!(is_in_use(root.path()));
        drop(held);
        assert!(!is_in_use(root.path()));
        lock().unwrap();
    }

    #[test]
    fn the_client_id_is_made_once() {
        let root = tempfile::tempdir().unwrap();
        let first = client_id(root.path()).unwrap();
        assert!(first.starts_with("roost-") && first.len() == 22, "{first}");
        assert_eq!(client_id(root.path()).unwrap(), first);
        fs::write(root.path().join("client-id"), "not usable\n").unwrap();
        assert!(client_id(root.path()).unwrap().starts_with("roost-"));
    }

    #[test]
    fn planted_links_are_not_written_through() {
        let root = tempfile::tempdir().unwrap();
        let (data, victim) = (root.path().join("data"), root.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        let folder = open(&data).unwrap();
        for name in ["lock", "client-id.new"] {
            symlink(&victim, data.join(name)).unwrap();
        }
        assert!(lock(&folder, &data).is_err());
        client_id(&data).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        fs::remove_file(data.join("lock")).unwrap();
        lock(&folder, &data).unwrap();
        for name in ["lock", "client-id"] {
            assert_eq!(fs::symlink_metadata(data.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
}
