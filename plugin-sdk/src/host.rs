//! The host's functions: imported in a component, and from the host's library in a plugin's own tests.

#[cfg(target_family = "wasm")]
mod imported;
#[cfg(not(target_family = "wasm"))]
mod native;

#[cfg(target_family = "wasm")]
pub(crate) use imported::{Host, log};
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{Host, instant, log};
