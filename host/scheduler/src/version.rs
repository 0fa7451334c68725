//! The version of a plugin.

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Display for Digest {
    /// Writes 64 hexadecimal digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A version of a plugin: its component together with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// The digest of the `.wasm` file.
    pub component: Digest,
    /// The digest of the operator's settings for the plugin.
    pub settings: Digest,
}

impl Version {
    /// The version of a plugin before its first version is fully accepted, or during its removal: after a crash, it is
    /// loaded anew.
    pub const NONE: Self = Self { component: Digest([0; 32]), settings: Digest([0; 32]) };
    /// The version of the host itself, which owns ad-hoc jobs that belong to no plugin.
    pub const BUILT_IN: Self = Self { component: Digest([0xff; 32]), settings: Digest([0xff; 32]) };
}
