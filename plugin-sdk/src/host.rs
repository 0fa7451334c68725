//! Where answers come from: in a component from the host it runs in, in a plugin's own tests from the host's library.

#[cfg(target_family = "wasm")]
mod imported;
#[cfg(not(target_family = "wasm"))]
mod native;

#[cfg(target_family = "wasm")]
pub(crate) use imported::{Host, log};
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{Host, log};
