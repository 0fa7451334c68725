//! The part of Roost that decides: what is due, what runs, what is owed.
//!
//! A [`scheduler::Scheduler`] is told what happened ([`event::Event`]) and answers with what to keep
//! ([`event::Change`]) and what to do ([`event::Effect`]). It does no I/O and reads no clock, so a year of it can be
//! rehearsed in a second, and whatever went wrong can be made to happen again.
//!
//! ```
//! use roost_scheduler::{time::{Instant, Site}, trigger::{Patterns, Search, Sky, parse}};
//!
//! let now = Instant::from_millis(1_800_000_000_000).expect("in range"); // 2027-01-15T08:00:00Z
//! let site = Site { zone: roost_scheduler::calendar::parse_zone("Europe/London").expect("a zone"), location: None };
//! let trigger = parse("cron 30 6 * * MON-FRI", now, &mut Patterns::default()).expect("a trigger");
//! let Search::Found(next) = trigger.next(now, &site, &mut Sky::default()) else { unreachable!("it fires") };
//! assert_eq!(next.to_string(), "2027-01-18T06:30:00Z");
//! ```
//!
//! # Words
//!
//! * A *plugin* has *devices*; a device has *jobs*, which its *plan* lists ([`model`], [`names`]).
//! * A job has a *trigger* ([`trigger`]): when it is due. Each time is an *occurrence*; one occurrence of one job is a
//!   *run*, for ever ([`names::RunId`]).
//! * A run has *steps*, one message each; one try at one step is an *attempt*. Once its first step was sent, the later
//!   ones are *owed*.
//! * How a run ended is its *outcome*, with the reason ([`outcome`]).
//!
//! # Guarantees
//!
//! * Equal events give equal steps.
//! * An occurrence never becomes two runs, whatever is planned again, restarted or crashed, provided that changes are made
//!   durable in order, and effects that say so wait for them.
//! * Owed steps are sent, whatever becomes of the job, the device and the plugin.
//! * Every run ends with a recorded outcome.
//! * Each step is bounded, and so is what it does at once; the bounds are in [`limits`].
//!
//! # What it does not do
//!
//! It does not load plugins, store anything, speak MQTT or wait: that is what the host is for. What a device's report says it
//! is told, and does not read itself.
#![warn(missing_docs)]

pub mod body;
pub mod calendar;
mod change;
pub mod event;
mod fair_queue;
mod jitter;
pub mod limits;
pub mod model;
pub mod names;
pub mod outcome;
pub mod rate;
pub mod rules;
pub mod scheduler;
mod slots;
pub mod text;
pub mod time;
pub mod topic;
pub mod trigger;
mod turns;
pub mod zone;
