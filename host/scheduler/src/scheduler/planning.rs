//! Versions, plans and jobs made by hand: what becomes a job, and what is removed.

mod ad_hoc;
mod finished;
mod plans;
mod reconcile;
mod removal;
mod replanning;
