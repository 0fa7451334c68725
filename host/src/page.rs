//! The pages for browsers. Like `cli`, they depend on `http`, whose functions give them their records.

pub(crate) mod login;
