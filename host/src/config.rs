//! What the operator says about the host: flags, environment, `roost.toml`, defaults, in that order of precedence.

pub(crate) mod document;
pub(crate) mod nearest;
pub(crate) mod place;
