//! Reads a folder of compiled time zones, as zic(8) writes it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::limits;

/// The database as text. Its first line has the release, and it lists links that may not exist as files.
const SOURCE: &str = "tzdata.zi";

#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// The IANA release, if the folder states it.
    pub(super) release: Option<String>,
    /// Alternative names, and their zones.
    links: BTreeMap<String, String>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Self {
        let source = read(&path.join(SOURCE), limits::SOURCE_BYTES).ok().flatten().unwrap_or_default();
        let source = String::from_utf8_lossy(&source);
        let version = source.lines().next().and_then(|line| line.strip_prefix("# version "));
        // FreeBSD and macOS have the release in a file of its own.
        let file = || read(&path.join("+VERSION"), limits::ZONE_BYTES).ok().flatten();
        let file = || file().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let release = version.map(str::to_owned).or_else(file).map(|release| release.trim().to_owned());
        let links = source.lines().filter_map(|line| {
            let mut words = line.strip_prefix("L ")?.split(' ');
            Some((words.next()?, words.next()?)).map(|(target, name)| (name.to_owned(), target.to_owned()))
        });
        Self { path: path.to_owned(), release: release.filter(|release| is_release(release)), links: links.collect() }
    }

    /// Reads the rules of a zone, or of the one that the name is an alternative for; `None` if there is neither.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        if !is_name(name) {
            return Ok(None);
        }
        match read(&self.path.join(name), limits::ZONE_BYTES)? {
            None => match self.links.get(name).filter(|target| is_name(target)) {
                Some(target) => read(&self.path.join(target), limits::ZONE_BYTES),
                None => Ok(None),
            },
            found => Ok(found),
        }
    }
}

/// Checks for a release such as `2026f`: the year, and letters.
fn is_release(text: &str) -> bool {
    let is_of = |text: &str, is: fn(&u8) -> bool| text.bytes().all(|byte| is(&byte));
    text.len() <= 8
        && text
            .split_at_checked(4)
            .is_some_and(|(year, rest)| is_of(year, u8::is_ascii_digit) && is_of(rest, u8::is_ascii_lowercase))
}

/// Checks whether a zone's name leads to a file below the folder, and not to `posix/` and `right/`, which are other
/// databases.
pub(super) fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
    };
    let first = name.split('/').next().unwrap_or_default();
    name.len() <= 64
        && name.split('/').all(is_part)
        && !matches!(first, "posix" | "right" | "localtime" | "posixrules")
        && first.starts_with(|first: char| first.is_ascii_uppercase())
}

/// Reads a file of at most `most` bytes; `None` if there is none.
fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, String> {
    let text = |error: io::Error| error.to_string();
    match fs::metadata(path) {
        Ok(of) if !of.is_file() => return Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        found => found.map_err(text)?,
    };
    let mut bytes = Vec::new();
    File::open(path).map_err(text)?.take(most + 1).read_to_end(&mut bytes).map_err(text)?;
    if bytes.len() as u64 > most { Err(format!("it has more than {most} bytes")) } else { Ok(Some(bytes)) }
}

/// Values that change with the files: their inodes, sizes and times of modification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(BTreeMap<String, Option<(u64, u64, i64, i64)>>);

impl Fingerprint {
    pub(super) fn of<'a>(folders: &[PathBuf], names: impl IntoIterator<Item = &'a str>) -> Self {
        let folder = folders.iter().find(|folder| folder.is_dir()).or(folders.first());
        let of = |path: PathBuf| fs::metadata(path).ok().map(|of| (of.ino(), of.len(), of.mtime(), of.mtime_nsec()));
        let names = [SOURCE, "+VERSION"].into_iter().chain(names);
        Self(names.filter_map(|name| Some((name.to_owned(), of(folder?.join(name))))).collect())
    }

    /// Adds the files that only the other fingerprint has.
    pub(super) fn add(&mut self, other: &Self) {
        for (name, of) in &other.0 {
            self.0.entry(name.clone()).or_insert(*of);
        }
    }
}
