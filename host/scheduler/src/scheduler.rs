//! The scheduler: a deterministic state machine that does no I/O and reads no clock (I1).

mod clock;
mod lookup;
mod occurrences;
mod operator;
mod planning;
mod restore;
mod running;
mod saving;
mod state;
mod step;
mod view;
mod zones;

pub use self::{
    state::{Operator, Scheduler, api_device},
    view::{DeviceView, JobView, NextRun, PluginView, RunUnderWay},
};
pub use crate::occurrence::start_of;
