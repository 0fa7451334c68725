//! Folders of Roost's own, in which only Roost writes: the data folder, and those in it.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, Mode, Stat},
    process::geteuid,
};

use super::Folder;

/// The mode of such a folder: for the user that runs Roost alone.
const ALONE: u32 = 0o700;
const OF_OTHERS: u32 = 0o077;
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// See inode(7).
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Why a folder cannot be Roost's own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("`{}` is not a folder", .0.display())]
    NotAFolder(PathBuf),
    #[error("`{}` belongs to user {owner}, and Roost runs as user {user}", .path.display())]
    OfAnother { path: PathBuf, owner: u32, user: u32 },
    #[error("`{}` belongs to user {owner}, and lies among the files of Roost", .path.display())]
    Planted { path: PathBuf, owner: u32 },
    #[error("other users can write to `{}`, and its mode {mode:03o} cannot be changed", .path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("`{}` cannot be used", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl FolderError {
    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NotAFolder(_) => "name a folder with `--data DIR`; it is made if it does not exist".into(),
            Self::OfAnother { path, owner, user } => format!(
                "a user that can write there decides what Roost runs and sends: run Roost as user {owner}, or hand the folder \
                 over with `chown -R {user} {0}`, or name a folder that does not exist, such as `--data {0}/roost`, which \
                 Roost makes",
                path.display()
            ),
            Self::Planted { path, .. } => format!(
                "if Roost ran as that user before, hand the folder over with `chown -R`; otherwise find out why it is there, \
                and remove it: `{}`",
                path.display()
            ),
            Self::Open { .. } => {
                "a user that can write there decides what Roost runs and sends: name a folder on a disk that keeps \
                 permissions with `--data DIR`"
                    .into()
            }
            Self::Io { .. } => {
                "the user that runs Roost must be able to write the data folder; another one can be named with `--data DIR`"
                    .into()
            }
        }
    }
}

impl From<FolderError> for io::Error {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Io { source, .. } => source,
            other => Self::other(other),
        }
    }
}

impl Folder {
    /// Opens a folder of Roost's own, and makes it if there is none. Permissions of other users are removed; a folder
    /// of another user is refused, and so is one with files of another user.
    pub(crate) fn own(path: &Path) -> Result<Self, FolderError> {
        let io = |source| FolderError::Io { path: path.to_owned(), source };
        make(path)?;
        let folder = Self::open(path).map_err(io)?;
        let (found, user) = (folder.stat().map_err(io)?, geteuid().as_raw());
        if found.st_uid != user {
            return Err(FolderError::OfAnother { path: path.to_owned(), owner: found.st_uid, user });
        }
        if found.st_mode & OF_OTHERS != 0 {
            folder.close_to_others(path, found.st_mode)?;
        }
        folder.find_planted(path)?;
        Ok(folder)
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.0)?)
    }

    fn close_to_others(&self, path: &Path, mode: u32) -> Result<(), FolderError> {
        let changed = rustix::fs::fchmod(&self.0, Mode::from_raw_mode(ALONE));
        // Some file systems report success without changing the mode.
        let now = self.stat().map_err(|source| FolderError::Io { path: path.to_owned(), source })?.st_mode & 0o777;
        if now & WRITABLE_BY_OTHERS != 0 {
            return Err(FolderError::Open { path: path.to_owned(), mode: now });
        }
        match changed {
            Ok(()) => tracing::warn!(
                "`{}` was open to other users (mode {:03o}), and is now for the user that runs Roost alone (mode {now:03o})",
                path.display(),
                mode & 0o777
            ),
            Err(error) => tracing::warn!("other users can read `{}` (mode {now:03o}): {error}", path.display()),
        }
        Ok(())
    }

    /// Refuses files of other users, which got there while these could write to the folder. Root can write everywhere
    /// anyway.
    fn find_planted(&self, path: &Path) -> Result<(), FolderError> {
        let io = |source: rustix::io::Errno| FolderError::Io { path: path.to_owned(), source: source.into() };
        let user = geteuid().as_raw();
        for entry in Dir::read_from(&self.0).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if found.st_uid != user && found.st_uid != 0 => {
                    let name = String::from_utf8_lossy(name.to_bytes()).into_owned();
                    return Err(FolderError::Planted { path: path.join(name), owner: found.st_uid });
                }
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(io(error)),
            }
        }
        Ok(())
    }
}

/// Describes the nearest folder above `path` in which another user could replace it, if any.
pub(crate) fn exposed_above(path: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    let user = geteuid().as_raw();
    let problem = |folder: &Path| {
        let found = fs::metadata(folder).ok()?;
        let (owner, mode) = (found.uid(), found.mode() & 0o7777);
        // In a folder with the sticky bit, such as `/tmp`, users can move only their own files.
        let is_open = mode & OTHERS_WRITE != 0 && mode & STICKY == 0;
        let is_of_another = owner != 0 && owner != user;
        match (is_of_another, is_open) {
            (true, _) => Some(format!("`{}` belongs to user {owner}", folder.display())),
            (false, true) => Some(format!("every user can write to `{}` (mode {mode:03o})", folder.display())),
            (false, false) => None,
        }
    };
    path.ancestors().skip(1).find_map(problem)
}

/// Makes a folder, for its owner alone, unless it exists.
fn make(path: &Path) -> Result<(), FolderError> {
    let error = |source| FolderError::Io { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(FolderError::NotAFolder(path.to_owned())),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(error(source)),
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(error)?;
    DirBuilder::new().mode(ALONE).create(path).map_err(error)?;
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use expect_test::expect;
    use roost_tests::redact;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_an_open_one_is_closed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("var/roost");
        Folder::own(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        for open in [0o777, 0o770, 0o775, 0o755, 0o701] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            Folder::own(&path).unwrap();
            assert_eq!(mode(&path), 0o700);
        }
        fs::write(root.path().join("file"), "").unwrap();
        assert!(matches!(Folder::own(&root.path().join("file")), Err(FolderError::NotAFolder(_))));
    }

    #[test]
    fn a_folder_that_other_users_can_replace_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let (above, path) = (root.path().join("var"), root.path().join("var/lib/roost"));
        Folder::own(&path).unwrap();
        // The test's own folders are in one that every user may write to, with the sticky bit.
        assert_eq!(exposed_above(&path), None);
        fs::set_permissions(&above, fs::Permissions::from_mode(0o777)).unwrap();
        let problem = exposed_above(&path).unwrap();
        assert!(problem.starts_with("every user can write to `") && problem.ends_with("/var` (mode 777)"), "{problem}");
        fs::set_permissions(&above, fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(exposed_above(&path), None);
        // Only root can change an owner.
        if geteuid().is_root() {
            chown(&above, Some(4_711), None).unwrap();
            assert!(exposed_above(&path).unwrap().ends_with("/var` belongs to user 4711"));
        }
    }

    #[test]
    fn folders_and_files_of_another_user_are_refused() {
        let root = tempfile::tempdir().unwrap();
        // Other users try one of root's folders.
        let (owner, user) = (fs::metadata("/proc/1").map(|_| 0).unwrap(), geteuid().as_raw());
        if user != owner {
            assert!(matches!(Folder::own(Path::new("/etc")), Err(FolderError::OfAnother { owner: 0, .. })));
            return;
        }
        let path = root.path().join("data");
        Folder::own(&path).unwrap();
        symlink("/etc/passwd", path.join("lock")).unwrap();
        lchown(path.join("lock"), Some(4_711), None).unwrap();
        let error = Folder::own(&path).unwrap_err();
        expect![[r#"
            `[FOLDER]/data/lock` belongs to user 4711, and lies among the files of Roost
            hint: if Roost ran as that user before, hand the folder over with `chown -R`; otherwise find out why it is there, and remove it: `[FOLDER]/data/lock`"#]].assert_eq(&redact(&format!("{error}\nhint: {}", error.hint())));
        fs::remove_file(path.join("lock")).unwrap();
        Folder::own(&path).unwrap();
        chown(&path, Some(4_711), None).unwrap();
        let error = Folder::own(&path).unwrap_err();
        expect![[r#"
            `[FOLDER]/data` belongs to user 4711, and Roost runs as user 0
            hint: a user that can write there decides what Roost runs and sends: run Roost as user 4711, or hand the folder over with `chown -R 0 [FOLDER]/data`, or name a folder that does not exist, such as `--data [FOLDER]/data/roost`, which Roost makes"#]].assert_eq(&redact(&format!("{error}\nhint: {}", error.hint())));
    }
}
