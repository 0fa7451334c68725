//! The part of Roost that decides: what is due, what runs, what is owed.
#![warn(missing_docs)]

pub mod calendar;
pub mod event;
mod jitter;
pub mod limits;
pub mod model;
pub mod names;
pub mod outcome;
mod ready;
pub mod scheduler;
mod slots;
pub mod time;
pub mod topic;
pub mod trigger;
