//! The identity of the database's file.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, time::Instant};

use super::{StoreError, limits};
use crate::clock;

/// Which file the database is. If the file is deleted or replaced, the host writes to a file that no later
/// host finds.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    file: (u64, u64),
    checked: Instant,
}

impl DatabaseFile {
    pub(super) fn new(path: &Path) -> Result<Self, StoreError> {
        let error = |source| StoreError::File { what: "cannot read", path: path.to_owned(), source };
        let file = fs::metadata(path).map_err(error)?;
        Ok(Self { file: (file.dev(), file.ino()), checked: clock::monotonic() })
    }

    /// Checks now and then whether the database is still the same file.
    pub(super) fn check(&mut self, path: &Path) -> Result<(), StoreError> {
        if self.checked.elapsed() < limits::CHECK_EVERY {
            return Ok(());
        }
        self.checked = clock::monotonic();
        match fs::metadata(path) {
            Ok(file) if (file.dev(), file.ino()) == self.file => Ok(()),
            Ok(_) => Err(StoreError::Displaced { path: path.to_owned(), how: "another file was put in its place" }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Displaced { path: path.to_owned(), how: "it was deleted or moved away" })
            }
            // A host that may no longer read the folder still has the file open.
            Err(_) => Ok(()),
        }
    }
}
