//! The key of the seals. It is created once and stored in the data folder, outside of the cache, so that a program that
//! can write only to the cache cannot have its code run.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use ring::hmac::{self, Context, HMAC_SHA256, Tag};
use subtle::ConstantTimeEq as _;

use crate::files::{self, Folder};

/// The key's file in the data folder.
pub(super) const FILE: &str = "cache-key";
/// The length of a key: the block size of SHA-256.
const BYTES: usize = 64;

/// The key of a data folder. `Debug` does not show it.
#[derive(Debug)]
pub(super) struct Key(hmac::Key);

impl Key {
    /// Reads the key of a data folder, or creates a new one if there is none or other users could read it.
    pub(super) fn of(data: &Path) -> io::Result<Self> {
        let folder = Folder::open(data)?;
        let kept = match folder.open_file(FILE) {
            Ok(file) => read(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let bytes = match kept {
            Some(bytes) => bytes,
            None => {
                let mut bytes = [0; BYTES];
                File::open("/dev/urandom")?.read_exact(&mut bytes)?;
                folder.replace(FILE, "cache-key.new", &bytes, files::PRIVATE)?;
                bytes
            }
        };
        Ok(Self(hmac::Key::new(HMAC_SHA256, &bytes)))
    }

    /// Returns the seal of the concatenated parts.
    pub(super) fn seal(&self, parts: &[&[u8]]) -> Seal {
        let mut context = Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        Seal(context.sign())
    }
}

/// A message authentication code, which only a program with the key can compute.
pub(super) struct Seal(Tag);

impl Seal {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes().ct_eq(bytes).into()
    }
}

/// Reads a key. Returns `None` if its length is wrong, or other users could read the file.
fn read(file: &File) -> io::Result<Option<[u8; BYTES]>> {
    let found = file.metadata()?;
    let is_secret = found.is_file() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    let mut bytes = Vec::new();
    file.take(BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.try_into().ok().filter(|_| is_secret))
}
