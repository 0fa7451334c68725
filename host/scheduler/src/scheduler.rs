//! The scheduler: a deterministic state machine that does no I/O and reads no clock (I1).

mod ad_hoc;
mod admission;
mod attempts;
mod catch_up;
mod clock;
mod finished;
mod groups;
mod lifecycle;
mod lookup;
mod passed;
mod pauses;
mod plans;
mod queues;
mod reconcile;
mod refusals;
mod removal;
mod replanning;
mod reports;
mod requests;
mod resource_holds;
mod restore;
mod run_timers;
mod saving;
mod state;
mod step;
mod subscriptions;
mod tasks;
mod timers;
mod view;
mod waiting;
mod zones;

pub use self::{
    state::{Operator, Scheduler, api_device},
    view::{DeviceView, JobView, NextRun, PluginView, RunUnderWay},
};
pub use crate::occurrence::start_of;
