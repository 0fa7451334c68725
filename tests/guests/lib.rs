//! The guests are the examples of this crate, which is empty otherwise.
