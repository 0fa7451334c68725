//! To come.

mod settings;
