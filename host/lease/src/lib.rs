//! The lease of a cell.
#![warn(missing_docs)]

pub mod event;
pub mod lease;
pub mod limits;
pub mod mutants;
pub mod row;
mod skew;
mod tenure;
pub mod time;
