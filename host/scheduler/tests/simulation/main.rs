//! The scheduler in a world of its own: short scenarios, and histories that a seed makes up.

mod checker;
mod clocks;
mod confirmation;
mod corners;
mod disk;
mod histories;
mod large;
mod overrides;
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
