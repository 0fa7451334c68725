//! Files that Roost makes, and the folders that are its own.
//!
//! Existing files are never written to, neither one that another user has put there nor the target of a link. A new
//! file is made in the folder that was opened, whatever has the folder's path by then; it is flushed, and then renamed.

mod links;
mod own;

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Uid},
    io::Errno,
};

pub(crate) use self::{
    links::lies_in,
    own::{FolderError, exposed_above},
};

use crate::limits;

/// The mode of files in the data folder, and of copies: for the user that runs Roost alone.
pub(crate) const PRIVATE: Mode = Mode::from_raw_mode(0o600);
/// The mode of plugins: other users may read them, unless the umask forbids it.
pub(crate) const READABLE: Mode = Mode::from_raw_mode(0o644);

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// Opens a folder that other users may use as well.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Makes an empty file for reading and writing. A file that had its name is removed, not written to.
    pub(crate) fn create(&self, name: &str, mode: Mode) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..limits::FILE_TRIES {
            match rustix::fs::openat(&self.0, name, flags, mode) {
                Err(Errno::EXIST) => self.remove(name)?,
                made => return Ok(made?.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Opens a file for reading and writing, and makes it if there is none. A link is an error.
    pub(crate) fn open_or_create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, name, flags, PRIVATE).map(Into::into).map_err(not_a_link)
    }

    /// Opens a file for reading. A link is an error.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, name, flags, Mode::empty()).map(Into::into).map_err(not_a_link)
    }

    /// Replaces a file's contents atomically, also in a crash. Until they are durable they are in the file `part`,
    /// which no other thread may use meanwhile.
    pub(crate) fn replace(&self, name: &str, part: &str, contents: &[u8], mode: Mode) -> io::Result<()> {
        self.put(name, part, contents, (mode, |_| Ok(())))
    }

    /// As [`Self::replace`]. The file keeps its owner, its group and its mode; a new one has `mode`.
    pub(crate) fn rewrite(&self, name: &str, part: &str, contents: &[u8], mode: Mode) -> io::Result<()> {
        let found = match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return self.replace(name, part, contents, mode),
            found => found?,
        };
        let keep = |file: &File| {
            let made = rustix::fs::fstat(file)?;
            if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid) {
                let (owner, group) = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
                rustix::fs::fchown(file, Some(owner), Some(group))?;
            }
            Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(found.st_mode) & Mode::from_raw_mode(0o777))?)
        };
        self.put(name, part, contents, (PRIVATE, keep))
    }

    fn put(
        &self,
        name: &str,
        part: &str,
        contents: &[u8],
        (mode, prepare): (Mode, impl FnOnce(&File) -> io::Result<()>),
    ) -> io::Result<()> {
        let written = self.create(part, mode).and_then(|mut file| {
            prepare(&file)?;
            file.write_all(contents)?;
            file.sync_all()?;
            self.rename(part, name)
        });
        written.inspect_err(|_| drop(self.remove(part)))?;
        self.sync()
    }

    /// Renames a file, and replaces one that has the new name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes a file, if it exists.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// Flushes the folder's entries.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }
}

/// Explains the kernel's error for a link that is not to be followed, which is that there are too many links.
fn not_a_link(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => io::Error::new(io::ErrorKind::InvalidInput, "it is a link, and must be a file"),
        other => other.into(),
    }
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// Also if the path leads to a pipe or a device, whose bytes might never come; and if a link on the way belongs to
/// another user, and leads to a file that this user does not own.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_through(path, most).map(|(bytes, _)| bytes)
}

/// As [`read`]; also returns the file's own path without links, because `path` may lead elsewhere by now.
pub(crate) fn read_through(path: &Path, most: u64) -> io::Result<(Vec<u8>, PathBuf)> {
    let (file, at) = open(path)?;
    let found = file.metadata()?;
    let mut bytes = Vec::new();
    if found.len() <= most {
        file.take(most + 1).read_to_end(&mut bytes)?;
    }
    if found.len().max(bytes.len() as u64) > most {
        let what = format!("it has {} bytes, more than the {most} allowed", found.len().max(bytes.len() as u64));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok((bytes, at))
}

/// Opens a file as [`read`] does, and finds its own path.
fn open(path: &Path) -> io::Result<(File, PathBuf)> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let at = links::check(path, &found)?;
    Ok((file, at))
}

/// The users besides root and the one that runs Roost that may use a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposure {
    /// None, or a group that may read it.
    None,
    /// Every user may read it.
    Readable,
    /// A group, or another user that owns it, may change it.
    Changeable,
    /// Every user may change it.
    Open,
}

/// Returns which users may use a file.
pub(crate) fn exposure(path: &Path) -> io::Result<Exposure> {
    let found = std::fs::metadata(path)?;
    let is_ours = found.uid() == 0 || found.uid() == rustix::process::geteuid().as_raw();
    Ok(match found.mode() {
        mode if mode & 0o002 != 0 => Exposure::Open,
        mode if mode & 0o020 != 0 || !is_ours => Exposure::Changeable,
        mode if mode & 0o004 != 0 => Exposure::Readable,
        _ => Exposure::None,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    #[test]
    fn the_target_of_a_planted_link_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, folder.path().join("part")).unwrap();
        symlink(&victim, folder.path().join("name")).unwrap();
        let opened = Folder::open(folder.path()).unwrap();
        assert_eq!(opened.open_or_create("name").unwrap_err().to_string(), "it is a link, and must be a file");
        assert_eq!(opened.open_file("name").unwrap_err().to_string(), "it is a link, and must be a file");
        opened.replace("name", "part", b"new", PRIVATE).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        let name = folder.path().join("name");
        assert_eq!(fs::read(&name).unwrap(), b"new");
        let found = fs::symlink_metadata(&name).unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o777 == 0o600);
        assert!(fs::symlink_metadata(folder.path().join("part")).is_err());
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let opened = Folder::open(folder.path()).unwrap();
        opened.replace("name", "part", b"one", READABLE).unwrap();
        opened.replace("name", "part", b"two", READABLE).unwrap();
        assert_eq!(fs::read(folder.path().join("name")).unwrap(), b"two");
        fs::remove_file(folder.path().join("name")).unwrap();
        fs::create_dir(folder.path().join("name")).unwrap();
        assert!(opened.replace("name", "part", b"three", READABLE).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
        fs::create_dir(folder.path().join("part")).unwrap();
        assert!(opened.replace("other", "part", b"", READABLE).is_err(), "an entry that cannot be removed is an error");
    }

    #[test]
    fn a_rewritten_file_keeps_its_mode_and_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let (opened, path) = (Folder::open(folder.path()).unwrap(), folder.path().join("name"));
        opened.rewrite("name", "part", b"one", READABLE).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
        // Only root gives files away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(4_711), Some(4_711)).unwrap();
        }
        let before = fs::metadata(&path).unwrap();
        opened.rewrite("name", "part", b"two", READABLE).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid(), found.gid()), (0o660, before.uid(), before.gid()));
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn only_a_file_of_bounded_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(folder.path(), 4).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(read(Path::new("/dev/zero"), 4).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_exposure_of_a_file_follows_from_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "").unwrap();
        let expected = [
            (0o400, Exposure::None),
            (0o640, Exposure::None),
            (0o644, Exposure::Readable),
            (0o664, Exposure::Changeable),
            (0o602, Exposure::Open),
        ];
        for (mode, expected) in expected {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(exposure(&path).unwrap(), expected, "{mode:o}");
        }
    }
}
