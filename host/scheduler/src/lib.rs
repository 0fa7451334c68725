//! The scheduler core of Roost: it decides which runs are due, which may start and which steps are owed.
//!
//! A [`scheduler::Scheduler`] takes events ([`event::Event`]) and returns the changes to store ([`event::Change`]) and
//! the effects to start ([`event::Effect`]). It does no I/O and reads no clock, so a year can be simulated in seconds,
//! and every fault can be reproduced.
//!
//! ```
//! use roost_scheduler::{time::{Instant, Site}, trigger::{Context, CronCache, Search, Almanac, parse}};
//!
//! let now = Instant::from_millis(1_800_000_000_000).expect("in range"); // 2027-01-15T08:00:00Z
//! let site = Site { zone: roost_scheduler::calendar::parse_zone("Europe/London").expect("a zone"), location: None };
//! let trigger = parse("cron 30 6 * * MON-FRI", &Context::at(now), &mut CronCache::default()).expect("a trigger");
//! let Search::Found(next) = trigger.next(now, &site, &mut Almanac::default()) else { unreachable!("it fires") };
//! assert_eq!(next.to_string(), "2027-01-18T06:30:00Z");
//! ```
//!
//! # Words
//!
//! * A *plugin* has *devices*; a device has *jobs*, which its *plan* lists ([`model`], [`names`]).
//! * A job's *trigger* ([`trigger`]) states when it is due. Each such time is an *occurrence*; one occurrence of one
//!   job is a *run*, identified permanently by [`names::RunId`].
//! * A run has *steps*, one message each; one try to send a step is an *attempt*. Once the first step of a run has been
//!   sent, its later steps are *owed*.
//! * The way in which a run ended is its *outcome*, with a reason ([`outcome`]).
//!
//! # Guarantees
//!
//! * Equal events give equal steps.
//! * An occurrence never becomes two runs, regardless of new plans, restarts and crashes, provided that changes are
//!   made durable in order and effects that require it wait for them.
//! * Owed steps are sent even if the job, the device or the plugin is removed.
//! * Every run ends with a recorded outcome.
//! * The work of each step is bounded; the bounds are in [`limits`].
//!
//! # What it does not do
//!
//! It does not load plugins, store anything, speak MQTT or wait: the host does. It does not parse reports of devices
//! either: the link states whether a report matches.
#![warn(missing_docs)]

pub mod accept;
mod agenda;
pub mod body;
mod budget;
pub mod calendar;
mod catalog;
mod change;
mod commits;
mod delivery;
pub mod event;
mod keys;
pub mod limits;
pub mod model;
pub mod mutants;
pub mod names;
mod occurrence;
pub mod outcome;
mod packing;
pub mod pause;
mod policy;
mod qos;
pub mod rate;
mod runs;
pub mod scheduler;
mod slab;
pub mod suggest;
pub mod text;
pub mod time;
pub mod topic;
pub mod trigger;
mod version;
mod work_queue;
pub mod zone;
