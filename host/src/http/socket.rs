//! The Unix socket in the data folder. Only the user that runs the host may connect to it.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use crate::report::Report;

/// The bound socket. Its file is removed when it is dropped.
pub(super) struct Socket {
    path: PathBuf,
    listener: Option<UnixListener>,
    /// The device and inode of the file, which may have been replaced by the socket of a host that was started since.
    file: (u64, u64),
}

/// Returns the path of the socket. The host holds the lock of the folder, so a file there is a leftover of a crash.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

impl Socket {
    /// Binds the socket.
    pub(super) fn bind(data: &Path) -> Result<Self, Report> {
        let path = path(data);
        match bind(data, &path) {
            Ok((listener, file)) => Ok(Self { path, listener: Some(listener), file }),
            Err(error) => {
                let what = format!("commands cannot reach this host: it cannot listen on `{}`", path.display());
                let report = Report::new(what).cause(&error);
                Err(match error.kind() {
                    // The kernel accepts paths of up to 107 bytes.
                    io::ErrorKind::InvalidInput => {
                        report.hint("use a data folder with a shorter path: `--data DIR`")
                    }
                    _ => report.hint(
                        "the names `control.sock` and `control.new` in the data folder are reserved for Roost: move other \
                         files with these names away, and restart Roost",
                    ),
                })
            }
        }
    }

    /// Takes the listener. Returns it only once.
    pub(super) fn listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

/// Binds a socket that only the owner may use. It is renamed to `path` when its permissions are set.
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
    fn the_socket_is_private_and_removed_with_the_host() {
        let data = tempfile::tempdir().unwrap();
        let path = path(data.path());
        // The leftover of a crash.
        drop(UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err());
        let first = Socket::bind(data.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // The next host binds before the first one is dropped.
        let second = Socket::bind(data.path()).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_path_that_cannot_be_bound_gives_no_socket() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(path(data.path())).unwrap();
        assert!(Socket::bind(data.path()).is_err());
        let deep = data.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        assert!(Socket::bind(&deep).is_err());
    }
}
