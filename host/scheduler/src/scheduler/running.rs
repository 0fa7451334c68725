//! Runs from their admission to their end.

mod attempts;
mod lifecycle;
mod order;
mod reports;
mod resource_holds;
mod run_timers;
mod start_refusal;
mod subscriptions;
mod tasks;
mod waiting;
