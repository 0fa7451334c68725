//! The data folder: its lock (I14), and the MQTT client id that is kept in it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;
use crate::{
    clock,
    files::{self, Folder},
    report::Report,
};

/// How often the lock is tried, and the pause in between: a process that is being started is soon another program.
const LOCK_TRIES: u32 = 20;
const LOCK_AGAIN: Duration = Duration::from_millis(10);

/// Held for as long as the data folder is in use.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read: closing it ends the lock")] File);

/// Opens the data folder, and makes it if it does not exist, for the user that runs Roost alone: a user that can write there decides
/// what is sent.
pub(super) fn open(folder: &Path) -> Result<Folder, StoreError> {
    let opened = Folder::own(folder).map_err(StoreError::Folder)?;
    if let Some(problem) = files::exposed_above(folder) {
        let what = format!("another user can put another folder in the place of `{}`", folder.display());
        let hint =
            "choose a data folder below folders that belong to root or to the user that runs Roost (`--data DIR`)";
        tracing::warn!("{}", Report::new(what).cause(problem).hint(hint));
    }
    Ok(opened)
}

/// How often it is looked whether the database is still where it was.
const LOOK_AGAIN: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 1 });

/// The file that has the database's name. If it is deleted, or another one is put there, the host writes to a file that no
/// later host finds.
#[derive(Debug)]
pub(super) struct DataFolder {
    file: (u64, u64),
    looked: Instant,
}

impl DataFolder {
    pub(super) fn new(path: &Path) -> Result<Self, StoreError> {
        let error = |source| StoreError::File { what: "cannot read", path: path.to_owned(), source };
        let file = fs::metadata(path).map_err(error)?;
        Ok(Self { file: (file.dev(), file.ino()), looked: clock::monotonic() })
    }

    /// Looks now and then.
    pub(super) fn look(&mut self, path: &Path) -> Result<(), StoreError> {
        if self.looked.elapsed() < LOOK_AGAIN {
            return Ok(());
        }
        self.looked = clock::monotonic();
        match fs::metadata(path) {
            Ok(file) if (file.dev(), file.ino()) == self.file => Ok(()),
            Ok(_) => Err(StoreError::Displaced { path: path.to_owned(), how: "another file was put in its place" }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Displaced { path: path.to_owned(), how: "it was deleted or moved away" })
            }
            // A host that may not look there any more still has the file open.
            Err(_) => Ok(()),
        }
    }
}

/// I14: one host per data folder. The lock goes with the process that holds it, however that ends.
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

/// A process that is just being started by the host that had the lock has it, too, until it is another program.
fn try_lock(file: &File) -> Result<(), rustix::io::Errno> {
    for _ in 0..LOCK_TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(LOCK_AGAIN),
            locked => return locked,
        }
    }
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Whether a host has the folder, as far as this process may know.
pub(crate) fn is_in_use(folder: &Path) -> bool {
    let Ok(mut file) = File::open(folder.join("lock")) else { return false };
    let mut holder = String::new();
    let Ok(pid) = file.read_to_string(&mut holder).map(|_| holder.trim()) else { return false };
    // To try a lock is to have it for a moment: not while a host may be taking it that has not written its number yet.
    let may_be = pid.parse::<u32>().is_ok_and(|pid| Path::new("/proc").join(pid.to_string()).exists());
    may_be && flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// The MQTT client id of this data folder: made once, so that a broker takes a restarted host for the same client.
pub(crate) fn client_id(folder: &Path) -> Result<String, StoreError> {
    let path = folder.join("client-id");
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
    let id = format!("roost-{:016x}", u64::from_ne_bytes(random));
    let written = Folder::open(folder)
        .and_then(|folder| folder.replace("client-id", "client-id.new", format!("{id}\n").as_bytes(), files::PRIVATE));
    written.map_err(error("cannot write"))?;
    Ok(id)
}

/// What any MQTT broker takes: letters, digits and `-`, not too many. An operator may have chosen one.
fn is_client_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Gives a file that is on the disk its name, whatever crashes.
pub(super) fn put_in_place(unfinished: &Path, path: &Path) -> io::Result<()> {
    fs::rename(unfinished, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_second_host_is_told_who_has_the_folder() {
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
