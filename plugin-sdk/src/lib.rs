//! Write a device plugin for Roost in an evening.
//!
//! ```
//! use roost_plugin_sdk::{Context, Device, Job, Result, Span, SunEvent, Time};
//! use serde::Deserialize;
//!
//! /// A door that opens with the sun, and closes when the birds are in.
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Door {
//!     open_not_before: Time,
//!     close_after_dusk: Span,
//! }
//!
//! impl Device for Door {
//!     fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
//!         let door = ctx.topic("door/set");
//!         Ok(vec![
//!             Job::sunrise("open").not_before(self.open_not_before).publish(&door, "OPEN"),
//!             Job::sun("close", SunEvent::CivilDusk).offset(self.close_after_dusk).publish(&door, "CLOSE"),
//!         ])
//!     }
//! }
//!
//! roost_plugin_sdk::export!(Door);
//! # fn main() {}
//! ```
//!
//! The crate is a library of the type `cdylib`:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! roost-plugin-sdk = { path = "../../plugin-sdk" }
//! serde = { version = "1", features = ["derive"] }
//!
//! [dev-dependencies]
//! serde_json = "1"
//! ```
//!
//! (`path` is where Roost's sources are, seen from the crate.) After a `rustup target add wasm32-wasip2`, once,
//! `cargo build --release --target wasm32-wasip2` makes `target/wasm32-wasip2/release/coop_door.wasm` of a crate called
//! `coop-door`. Copied into the host's `plugins` folder it needs a hyphen again, for a plugin's name has no underscores:
//! `coop-door.wasm`. Its settings lie beside it, in `coop-door.toml`:
//!
//! ```toml
//! [config]
//! open_not_before = "06:30"
//! close_after_dusk = "20m"
//!
//! [[device]]
//! name = "north"
//! ```
//!
//! # Words
//!
//! - A *plugin* is one component file. A *device* is one configured instance of it: two hundred doors are two hundred
//!   devices of one plugin. The [`Device`] trait is implemented by the type of a device's settings.
//! - A *job* is what a device declares: an id, when it is due, what it publishes then. [`Job`] builds one.
//! - A *plan* is the list of all jobs that a device should have: what [`Device::schedule_jobs`] returns.
//! - A *run* is one occurrence of one job. It has an id that is never used again, and messages carry it.
//! - A *task* is something that a device can be asked to do when it is due, by a job or by a person, because its messages
//!   are known only then: see [`Tasks`].
//! - [`Context`] is the device that a plan is for, and the moment and the place of it.
//!
//! # What you can rely on
//!
//! - The host compares a plan with the one before. What is the same goes on as it was; what is gone has no further
//!   runs. How often a plan is made does not matter, and an occurrence never runs twice.
//! - A message is tried until the broker has it (or the device has [confirmed](Job::confirm) it), or until the job's
//!   patience is over; and how that ended is recorded. Once the first message of a run was sent, the others are sent
//!   too: a valve that was opened is closed.
//! - An error keeps the former plan, and people see its text. So does a panic. A task that fails is tried again.
//!
//! # What it does not do
//!
//! - A plugin has no side effects: no files, no sockets, no messages but those of its jobs and tasks. Each call starts afresh, so
//!   nothing is remembered from one to the next: equal settings and an equal day should give an equal plan.
//! - A message may arrive twice: QoS 1 says so, and after a crash the host repeats what it is not sure of. Messages that
//!   say how things should be (`OPEN`) bear it; those that change how they are (`TOGGLE`) do not, and are sent
//!   [`once`](Job::once).
//!
//! # Tests
//!
//! A plan, and what a task answers, can be looked at in a plain `cargo test`, with the calendar and the sun that the host has: see [`testing`].
#![warn(missing_docs)]

#[doc(hidden)]
pub mod bindings;
mod config;
mod context;
mod error;
mod host;
mod job;
pub mod log;
mod matches;
mod messages;
mod sun;
mod tasks;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod time;

pub use self::{
    context::Context,
    error::{Error, Result},
    job::Job,
    matches::{JsonValue, Matches},
    messages::Messages,
    sun::{Location, SunEvent},
    tasks::{Reply, Task, TaskDescription, Tasks},
    time::{Date, Instant, Local, Span, Time, Weekday, days, hours, milliseconds, minutes, seconds},
};

/// The example there has to compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugins.md")]
struct Page;

/// A device, as its settings describe it.
///
/// The type that implements it is the type of the settings: the host merges the device's `config` over the plugin's,
/// and serde reads it into `Self`. What does not fit is told to people with the key that is wrong. A plugin without
/// settings is `struct Chime;`.
pub trait Device: serde::de::DeserializeOwned {
    /// Every job that the device should have from now on.
    ///
    /// Called when the plugin or its settings change and after each local midnight, so it must not matter how often.
    /// Jobs that recur go on by themselves; what no trigger can say (holidays, tides, prices) is computed, and listed as
    /// [`Job::at`] up to [`Context::until`].
    ///
    /// # Errors
    /// Whatever keeps it from making a plan. The device then keeps the plan it has.
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>>;
}

/// Makes the crate a plugin: `roost_plugin_sdk::export!(CoopDoor);`, once, with the type that implements [`Device`]; with
/// `export!(CoopDoor, tasks)` if it implements [`Tasks`] as well.
#[macro_export]
macro_rules! export {
    ($device:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::bindings::exports::roost::device::schedule::Guest for Component {
                fn schedule_jobs(
                    ctx: $crate::bindings::roost::device::types::Context,
                ) -> ::std::result::Result<
                    ::std::vec::Vec<$crate::bindings::exports::roost::device::schedule::Job>,
                    ::std::string::String,
                > {
                    $crate::__schedule_jobs::<$device>(ctx)
                }
            }

    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };

        // On this machine nobody asks; it must compile all the same.
        #[cfg(not(target_family = "wasm"))]
        const _: () = $crate::__is_device::<$device>();
    };
    ($device:ty, tasks) => {
        $crate::export!($device);

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::bindings::with_tasks::exports::roost::device::tasks::Guest for Component {
                fn list_tasks()
                -> ::std::vec::Vec<$crate::bindings::with_tasks::exports::roost::device::tasks::TaskDescription>
                {
                    $crate::__list_tasks::<$device>()
                }

                fn run_task(
                    ctx: $crate::bindings::roost::device::types::Context,
                    task: $crate::bindings::roost::device::types::Task,
                    due: i64,
                ) -> ::std::result::Result<$crate::bindings::roost::device::types::Reply, ::std::string::String>
                {
                    $crate::__run_task::<$device>(ctx, task, due)
                }
            }

    $crate::bindings::with_tasks::export_tasks!(Component with_types_in $crate::bindings::with_tasks);
        };

        #[cfg(not(target_family = "wasm"))]
        const _: () = $crate::__has_tasks::<$device>();
    };
}

/// What an exported plugin does when the host asks it.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub fn __schedule_jobs<D: Device>(
    call: bindings::roost::device::types::Context,
) -> std::result::Result<Vec<bindings::exports::roost::device::schedule::Job>, String> {
    config::plan::<D>(&Context::new(call, host::Host)).map_err(|error| error.to_string())
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[must_use]
pub fn __list_tasks<D: Tasks>() -> Vec<bindings::with_tasks::exports::roost::device::tasks::TaskDescription> {
    tasks::list::<D>()
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub fn __run_task<D: Tasks>(
    call: bindings::roost::device::types::Context,
    task: bindings::roost::device::types::Task,
    due: i64,
) -> std::result::Result<bindings::roost::device::types::Reply, String> {
    tasks::run::<D>(&Context::new(call, host::Host), &Task::new(task, due)).map_err(|error| error.to_string())
}

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub const fn __is_device<D: Device>() {}

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub const fn __has_tasks<D: Tasks>() {}
