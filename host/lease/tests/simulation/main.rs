//! Simulation of several hosts that share one cell: random histories from seeds.

mod checker;
mod faults;
mod histories;
#[cfg(feature = "mutants")]
mod mutants;
mod network;
#[path = "../../../scheduler/tests/simulation/rng.rs"]
mod rng;
mod scenarios;
mod store;
mod world;
