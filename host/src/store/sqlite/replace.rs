//! Replaces the database by another file, and keeps the old one under another name.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    StoreError,
    reading::{log_of, with_suffix},
};

/// Replaces the database. Returns the new name of the old one, if there was one.
///
/// At each moment there is the old database or the new one, and no file loses its old name before it has its new one.
/// Only if an old log could not be read, the old database is without it for a moment, because the new one must never
/// meet that log. A failed replacement is undone.
pub(super) fn replace(path: &Path, with: &Path) -> Result<Option<PathBuf>, StoreError> {
    let target = |source: io::Error| StoreError::Target { path: path.to_owned(), source: source.into() };
    File::open(with).and_then(|file| file.sync_all()).map_err(target)?;
    let kept = free(path);
    // A log that could be read is in the database already.
    let old: Vec<_> = [(log_of(path), log_of(&kept)), (path.to_owned(), kept.clone())]
        .into_iter()
        .filter(|(from, _)| is_there(from))
        .collect();
    let was_there = is_there(path);
    let placed = old.iter().try_for_each(|(from, to)| keep(from, to)).and_then(|()| {
        [log_of(path), with_suffix(path, "-shm")].iter().try_for_each(|old| gone(old))?;
        put_in_place(with, path)
    });
    let Err(source) = placed else { return Ok(was_there.then_some(kept)) };
    // If the new file has taken its place, the old one keeps its new name: only the flush of the folder has failed.
    if is_there(with) && old.iter().try_for_each(|(from, to)| put_back(from, to)).is_ok() {
        return Err(target(source));
    }
    Err(StoreError::Aside { path: path.to_owned(), kept, source })
}

/// Returns an unused name for the old database, whose log's name is unused as well.
fn free(path: &Path) -> PathBuf {
    let name = |number: u32| match number {
        1 => with_suffix(path, ".before-restore"),
        _ => with_suffix(path, &format!(".before-restore-{number}")),
    };
    let is_free = |name: &PathBuf| !is_there(name) && !is_there(&log_of(name));
    (1..).map(name).find(is_free).unwrap_or_else(|| name(1))
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Gives a file another name. On a file system without links there is a moment without a database.
fn keep(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| fs::rename(from, to))
}

/// Gives a file its old name back.
fn put_back(from: &Path, to: &Path) -> io::Result<()> {
    let number = |path: &Path| fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()));
    match (number(from), number(to)) {
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        (Ok(one), Ok(other)) if one == other => fs::remove_file(to),
        _ => fs::rename(to, from),
    }
}

pub(super) fn gone(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Renames a flushed file, durably.
pub(super) fn put_in_place(unfinished: &Path, path: &Path) -> io::Result<()> {
    fs::rename(unfinished, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, each with its name in it.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| fs::write(folder.path().join(name), name).unwrap());
        folder
    }

    fn content(folder: &Path) -> Vec<String> {
        let file = |file: fs::DirEntry| {
            let text = fs::read_to_string(file.path()).unwrap_or_else(|_| "a folder".into());
            format!("{}: {text}", file.file_name().display())
        };
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| file(entry.unwrap())).collect();
        files.sort();
        files
    }

    #[test]
    fn earlier_databases_keep_their_names() {
        let folder = folder(&["db", "db-wal", "db-shm", "db.before-restore", "db.before-restore-2-wal", "new"]);
        let kept = replace(&folder.path().join("db"), &folder.path().join("new")).unwrap();
        assert_eq!(kept, Some(folder.path().join("db.before-restore-3")));
        let expected = [
            "db.before-restore-2-wal: db.before-restore-2-wal",
            "db.before-restore-3-wal: db-wal",
            "db.before-restore-3: db",
            "db.before-restore: db.before-restore",
            "db: new",
        ];
        assert_eq!(content(folder.path()), expected);
    }

    #[test]
    fn a_failed_replacement_changes_nothing() {
        let folder = folder(&["db", "db-wal"]);
        fs::create_dir(folder.path().join("new")).unwrap();
        let before = content(folder.path());
        let error = replace(&folder.path().join("db"), &folder.path().join("new")).unwrap_err();
        assert!(matches!(error, StoreError::Target { .. }), "{error:?}");
        assert_eq!(content(folder.path()), before);
    }

    #[test]
    fn a_renamed_file_gets_its_old_name_back() {
        let folder = folder(&["aside"]);
        let (from, to) = (folder.path().join("db"), folder.path().join("aside"));
        put_back(&from, &to).unwrap();
        assert_eq!(content(folder.path()), ["db: aside"]);
        put_back(&from, &to).unwrap();
        assert_eq!(content(folder.path()), ["db: aside"]);
    }
}
