//! The contract, version 1: the bindings of its types and functions.

mod imports;
#[cfg(test)]
mod tests;

/// The bindings generated from `wit/`.
#[allow(unreachable_pub, clippy::all, reason = "generated")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "device-plugin",
        imports: { default: trappable },
        exports: { default: async },
    });

    /// The world of plugins with tasks, with the same types.
    pub(super) mod with_tasks {
        wasmtime::component::bindgen!({
            path: "../wit",
            world: "with-tasks",
            with: { "roost:device/types@1.0.0": super::roost::device::types },
            imports: { default: trappable },
            exports: { default: async },
        });
    }
}

pub(super) mod bindings {
    pub(in super::super) use super::generated::{
        DevicePlugin, DevicePluginPre,
        exports::roost::device::schedule::{
            Action, Cron, DayOfYear, DayRange, Days, Every, Interval, IntervalUnit, Job, Misfire, Overlap, Policy,
            Retry, Sun, Trigger, Weekday,
        },
        roost::device::{
            calendar, log, sun, types,
            types::{
                Confirm, Context, Date, JsonRange, JsonValue, Location, Matches, Message, MessageProperties, Reply,
                Step, SunEvent, Task, Time,
            },
        },
        with_tasks::{WithTasksPre, exports::roost::device::tasks::TaskDescription},
    };
}
use bindings as wit;

roost_scheduler::drafts_from_bindings!(wit);

/// Converts a list of the contract's types into drafts.
pub(super) fn drafts<T, D: From<T>>(list: Vec<T>) -> Vec<D> {
    list.into_iter().map(D::from).collect()
}
