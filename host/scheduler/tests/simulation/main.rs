//! The scheduler in a world of its own: short scenarios, and histories that a seed makes up.

mod clocks;
mod confirmation;
mod corners;
mod dice;
mod disk;
mod histories;
mod large;
mod policies;
mod rates;
mod reconcile;
mod resources;
mod scenarios;
mod subscribers;
mod suspects;
mod tasks;
mod wishes;
mod witness;
mod world;
mod zones;
