//! Short histories.
