//! The socket in the data folder: for whoever may read and write that, and nobody else.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use crate::report::Report;

/// As long as it is there, the file is.
pub(super) struct Socket {
    path: PathBuf,
    listener: Option<UnixListener>,
    /// The file's device and number: a host that has started since has a socket of its own at that place.
    file: (u64, u64),
}

/// Where a host listens. The folder's lock is the host's: what lies there is from one that has crashed.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

impl Socket {
    /// A host that cannot listen there runs all the same.
    pub(super) fn bind(data: &Path) -> Option<Self> {
        let path = path(data);
        match bind(data, &path) {
            Ok((listener, file)) => Some(Self { path, listener: Some(listener), file }),
            Err(error) => {
                let what = format!("`{}` cannot be listened on, so commands cannot ask this Roost", path.display());
                let report = Report::new(what).cause(&error);
                let report = match error.kind() {
                    // The kernel takes 107 bytes.
                    io::ErrorKind::InvalidInput => {
                        report.hint("name a data folder with a shorter path by `--data DIR`")
                    }
                    _ => report.hint(
                        "`control.sock` and `control.new` in the data folder are Roost's own: move away what has these \
                         names there, and start Roost again",
                    ),
                };
                tracing::warn!("{report}");
                None
            }
        }
    }

    /// What it listens with, once.
    pub(super) fn listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

/// For the owner alone, and all of it or nothing: it gets its name when it is ready.
fn bind(data: &Path, path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let unfinished = data.join("control.new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&unfinished)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))?;
    let file = fs::symlink_metadata(&unfinished)?;
    fs::rename(&unfinished, path)?;
    Ok((listener, (file.dev(), file.ino())))
}

impl Drop for Socket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_socket_is_the_owners_alone_and_goes_with_the_host() {
        let data = tempfile::tempdir().unwrap();
        let path = path(data.path());
        // What a crash left.
        drop(UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err());
        let first = Socket::bind(data.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // The next one is there before the first one is gone.
        let second = Socket::bind(data.path()).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
    }

    #[test]
    fn where_it_cannot_listen_there_is_no_socket() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(path(data.path())).unwrap();
        assert!(Socket::bind(data.path()).is_none());
        let deep = data.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        assert!(Socket::bind(&deep).is_none());
    }
}
