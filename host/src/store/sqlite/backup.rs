//! Backups: consistent copies of the database, whether a host is running or not.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{self, Path, PathBuf},
    process,
};

use super::{
    DATABASE, StoreError,
    error::Damage,
    limits,
    reading::{query, with_suffix},
    replace::put_in_place,
};
use crate::files;

/// Writes a copy to a new file: all of it or nothing.
pub(in crate::store) fn back_up(data: &Path, to: &Path) -> Result<(), StoreError> {
    let path = data.join(DATABASE);
    // A missing or foreign database is reported before anything is written.
    query(&path, |_, _| Ok(()))?;
    write_new(to, |unfinished, file| {
        copy(&path, unfinished, file, |source| StoreError::Target { path: to.to_owned(), source })
    })
}

/// Makes a new file, which has its name once `write` has written all of it.
pub(super) fn write_new<T>(
    to: &Path,
    write: impl FnOnce(&Path, &File) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(StoreError::Exists(to.to_owned()));
    }
    let target = |error: io::Error| StoreError::Target { path: to.to_owned(), source: error.into() };
    let (unfinished, file) = make_beside(to).map_err(target)?;
    let written = write(&unfinished, &file);
    let done = written.and_then(|written| put_in_place(&unfinished, to).map(|()| written).map_err(target));
    done.inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

/// Copies one state of a database, without its free pages, to a file that [`make`] has made. `target` makes the errors
/// about the copy.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    file: &File,
    target: impl Fn(Box<dyn std::error::Error + Send + Sync>) -> StoreError,
) -> Result<(), StoreError> {
    // SQLite takes text, and must not interpret it as anything but a path.
    let absolute = path::absolute(to).map_err(|error| target(error.into()))?;
    let name = absolute.to_str().ok_or_else(|| target("its name is not UTF-8".into()))?;
    query(from, |connection, _| {
        // An earlier try may have left some content.
        if let Err(error) = file.set_len(0) {
            return Ok(Err(target(error.into())));
        }
        match connection.execute("VACUUM INTO ?1", [name]) {
            Ok(_) => Ok(Ok(())),
            Err(error) => match StoreError::from_sqlite(from, error) {
                StoreError::Damaged { source: Damage::Sqlite(error), .. } => Err(error.into()),
                StoreError::Full(_) => Ok(Err(target("there is no space left".into()))),
                StoreError::ReadOnly { source, .. } | StoreError::Sqlite { source, .. } => {
                    Ok(Err(target(source.into())))
                }
                other => Ok(Err(other)),
            },
        }
    })??;
    // SQLite has opened the file by its name, which may lead to another file now.
    let number = |file: &fs::Metadata| (file.dev(), file.ino());
    let is_ours = fs::symlink_metadata(to).and_then(|found| Ok(number(&found) == number(&file.metadata()?)));
    match is_ours.and_then(|is_ours| file.sync_all().map(|()| is_ours)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(target("another file was put in its place while it was written".into())),
        Err(error) => Err(target(error.into())),
    }
}

/// Makes an empty file beside `path`, with an unused name.
fn make_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    for number in 0..limits::COPY_NAMES {
        let name = with_suffix(path, &format!(".new-{}", process::id().wrapping_add(number)));
        match make(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (name, file)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes an empty file, for its owner alone; fails if there is one.
pub(super) fn make(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(files::PRIVATE.bits()).open(path)
}
