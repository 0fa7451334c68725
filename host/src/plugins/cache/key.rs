//! The key of the seals: made once, kept in the data folder and not beside what it seals, so that a program that can write to
//! the cache alone cannot have its code run.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use ring::hmac::{self, Context, HMAC_SHA256, Tag};
use subtle::ConstantTimeEq as _;

use crate::files::{self, Folder};

/// Its name in the data folder.
pub(super) const FILE: &str = "cache-key";
/// Bytes of a key: a block of SHA-256, which is what the seals take.
const BYTES: usize = 64;

/// Not shown by `Debug`.
#[derive(Debug)]
pub(super) struct Key(hmac::Key);

impl Key {
    /// The key of a data folder, which is made if there is none, or if others may know it.
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

    /// The seal of some bytes, given in parts: which parts they are makes no difference.
    pub(super) fn seal(&self, parts: &[&[u8]]) -> Seal {
        let mut context = Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        Seal(context.sign())
    }
}

/// What only a program that has the key can make.
pub(super) struct Seal(Tag);

impl Seal {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes().ct_eq(bytes).into()
    }
}

/// A key that only this user could read.
fn read(file: &File) -> io::Result<Option<[u8; BYTES]>> {
    let found = file.metadata()?;
    let is_secret = found.is_file() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    let mut bytes = Vec::new();
    file.take(BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.try_into().ok().filter(|_| is_secret))
}
