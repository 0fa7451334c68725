//! Runs from their admission to their end.

mod attempts;
mod lifecycle;
mod queues;
mod refusals;
mod reports;
mod resource_holds;
mod run_timers;
mod subscriptions;
mod tasks;
mod waiting;
