//! The data folder: its lock (I14), and the MQTT client id that is kept in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;
use crate::clock;

/// How often the lock is tried, and the pause in between: a process that is being started is soon another program.
const LOCK_TRIES: u32 = 20;
const LOCK_AGAIN: Duration = Duration::from_millis(10);

/// Held for as long as the data folder is in use.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read: closing it ends the lock")] File);

/// Makes the folder if it does not exist, for its owner alone: what it keeps is nobody else's business.
pub(super) fn make(folder: &Path) -> Result<(), StoreError> {
    let error = |source| StoreError::File { what: "cannot make the data folder", path: folder.to_owned(), source };
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(StoreError::NotAFolder(folder.to_owned())),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(error(source)),
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(error)?;
    DirBuilder::new().mode(0o700).create(folder).map_err(error)?;
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(error)
}

/// Makes a file for its owner alone, unless it is there.
pub(super) fn make_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// How often it is looked whether the database is still where it was.
const LOOK_AGAIN: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 1 });

/// Which file has the database's name. Whoever deletes it, or puts another one there, leaves a host with a file that nobody
/// finds again.
#[derive(Debug)]
pub(super) struct Place {
    file: (u64, u64),
    looked: Instant,
}

impl Place {
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
            // Who may not look there any more still has the file.
            Err(_) => Ok(()),
        }
    }
}

/// I14: one host per data folder. The lock goes with the process that holds it, however that ends.
pub(super) fn lock(folder: &Path) -> Result<Lock, StoreError> {
    let path = folder.join("lock");
    let error =
        |source: io::Error| StoreError::File { what: "cannot lock the data folder by", path: path.clone(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(error)?;
    match try_lock(&file) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let read = file.read_to_string(&mut holder);
            let pid = read.ok().and_then(|_| holder.trim().parse().ok());
            return Err(StoreError::InUse { folder: folder.to_owned(), pid });
        }
        Err(errno) => return Err(error(errno.into())),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(error)?;
    writeln!(file, "{}", std::process::id()).map_err(error)?;
    Ok(Lock(file))
}

/// A process that is just being started by whoever had the lock has it, too, until it is another program.
fn try_lock(file: &File) -> Result<(), rustix::io::Errno> {
    for _ in 0..LOCK_TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(LOCK_AGAIN),
            locked => return locked,
        }
    }
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Whether a host has the folder, as far as whoever asks may know.
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
    write_durably(&path, format!("{id}\n").as_bytes()).map_err(error("cannot write"))?;
    Ok(id)
}

/// What any MQTT broker takes: letters, digits and `-`, not too many. An operator may have chosen one.
fn is_client_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The whole file or none of it, whatever crashes.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished: PathBuf = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    put_in_place(&unfinished, path)
}

/// Gives a file that is on the disk its name, whatever crashes.
pub(super) fn put_in_place(unfinished: &Path, path: &Path) -> io::Result<()> {
    fs::rename(unfinished, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_made_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("var/roost");
        make(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        make(&folder).unwrap();
    }

    #[test]
    fn a_second_host_is_told_who_has_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let held = lock(root.path()).unwrap();
        match lock(root.path()).unwrap_err() {
            StoreError::InUse { pid, .. } => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other}"),
        }
        assert!(is_in_use(root.path()));
        drop(held);
        assert!(!is_in_use(root.path()));
        lock(root.path()).unwrap();
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
}
