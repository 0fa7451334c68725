//! The guests are the examples of this crate; there is nothing else in it.
