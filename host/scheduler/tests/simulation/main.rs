//! Simulation tests of the scheduler: short scenarios, and random histories from seeds.

mod calendars;
mod checker;
mod clocks;
mod confirmation;
mod corners;
mod cut_short;
mod days;
mod disk;
mod dsl;
mod histories;
mod large;
#[cfg(feature = "mutants")]
mod mutants;
mod overrides;
mod pauses;
mod policies;
mod rates;
mod reconcile;
mod resources;
mod rng;
mod scenarios;
mod subscribers;
mod suspects;
mod tasks;
mod world;
mod zones;
