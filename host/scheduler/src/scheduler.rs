//! The scheduler: a deterministic state machine that does no I/O and reads no clock (I1).

mod calendars;
mod clock;
mod lookup;
mod occurrences;
mod operator;
mod pausing;
mod planning;
mod restore;
mod running;
mod saving;
mod state;
mod status;
mod step;
mod view;
mod zones;

pub use self::{
    state::{Operator, Scheduler, api_device},
    status::{JobStatus, NextStep, RunStatus, SkippedBy},
    view::{DeviceView, DueTime, PluginView},
};
pub use crate::{occurrence::NextRun, runs::Phase};
