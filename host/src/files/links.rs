//! Checks the links on the way to a file. A link is followed with the rights of the user that runs Roost, which its
//! owner may not have. So a link of another user may lead only to that user's own files (as with the kernel's
//! `fs.protected_symlinks` in shared folders).

use std::{
    ffi::{OsStr, OsString},
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use rustix::process::geteuid;

use crate::limits;

/// Checks that each link on the way to an opened file belongs to the file's owner, to root, or to the user that runs
/// Roost. Returns the path of the file itself.
pub(super) fn check(path: &Path, opened: &Metadata) -> io::Result<PathBuf> {
    let trusted = [0, geteuid().as_raw(), opened.uid()];
    let at = walk(path, |link, found| {
        if trusted.contains(&found.uid()) {
            return Ok(());
        }
        let what = format!(
            "the link `{}` of user {} leads to a file that this user does not own; put the file itself there, or make the link \
             as the user that runs Roost",
            link.display(),
            found.uid()
        );
        Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
    })?;
    // The file found must be the one that was opened, because links can be changed in between.
    let found = fs::symlink_metadata(&at)?;
    if (found.dev(), found.ino()) == (opened.dev(), opened.ino()) {
        return Ok(at);
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "it was changed while it was read"))
}

/// Checks whether a file lies in a folder or below it, by the file's own path.
pub(crate) fn lies_in(folder: &Path, file: &Path) -> bool {
    // A folder that cannot be read contains no file.
    fs::canonicalize(folder).is_ok_and(|folder| file.starts_with(folder))
}

/// Follows a path, and calls `may_follow` at each link. Returns the path without links.
fn walk(path: &Path, may_follow: impl Fn(&Path, &Metadata) -> io::Result<()>) -> io::Result<PathBuf> {
    let mut rest: Vec<OsString> = components(&std::path::absolute(path)?);
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(component) = rest.pop() {
        match Path::new(&component).components().next() {
            Some(Component::RootDir) => at = "/".into(),
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::Normal(name)) => at.push(name),
            _ => continue,
        }
        let found = fs::symlink_metadata(&at)?;
        if !found.is_symlink() {
            continue;
        }
        links += 1;
        if links > limits::LINKS {
            return Err(rustix::io::Errno::LOOP.into());
        }
        may_follow(&at, &found)?;
        rest.extend(components(&fs::read_link(&at)?));
        at.pop();
    }
    Ok(at)
}

/// Returns the components of a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|component| AsRef::<OsStr>::as_ref(&component).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use super::*;
    use crate::files::{read, read_through};

    #[test]
    fn a_link_of_another_user_leads_to_that_users_files_only() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        fs::create_dir_all(folder.join("deep/er")).unwrap();
        fs::write(folder.join("deep/secret"), "secret").unwrap();
        symlink("deep/er/../secret", folder.join("link")).unwrap();
        symlink(folder.join("link"), folder.join("chain")).unwrap();
        symlink("deep", folder.join("way")).unwrap();
        symlink("loop", folder.join("loop")).unwrap();
        for name in ["link", "chain", "way/secret", "way/er/../secret"] {
            assert_eq!(read(&folder.join(name), 100).unwrap(), b"secret", "{name}: a link of one's own");
        }
        assert!(read(&folder.join("loop"), 100).is_err());
        // Only root gives files away.
        if geteuid().is_root() {
            for name in ["link", "way"] {
                lchown(folder.join(name), Some(4_711), None).unwrap();
            }
            for name in ["link", "chain", "way/secret"] {
                let error = read(&folder.join(name), 100).unwrap_err();
                assert!(error.to_string().contains("of user 4711 leads to"), "{name}: {error}");
            }
            lchown(folder.join("deep/secret"), Some(4_711), None).unwrap();
            for name in ["link", "chain", "way/secret"] {
                assert_eq!(read(&folder.join(name), 100).unwrap(), b"secret", "{name}: a link to one's own");
            }
        }
    }

    #[test]
    fn the_target_of_a_path_is_found() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("plugins");
        fs::create_dir(&folder).unwrap();
        fs::write(root.path().join("outside"), "").unwrap();
        fs::write(folder.join("inside"), "").unwrap();
        symlink("inside", folder.join("in")).unwrap();
        symlink("../outside", folder.join("out")).unwrap();
        let is_in = |name: &str| lies_in(&folder, &read_through(&folder.join(name), 100).unwrap().1);
        assert_eq!(["inside", "in", "out"].map(is_in), [true, true, false]);
        let (_, at) = read_through(&folder.join("out"), 100).unwrap();
        // The link now leads to another file than the one that was read.
        fs::remove_file(folder.join("out")).unwrap();
        symlink("inside", folder.join("out")).unwrap();
        assert!(!lies_in(&folder, &at) && !lies_in(Path::new("/nowhere"), &at));
    }
}
