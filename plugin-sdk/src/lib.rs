//! An SDK for writing Roost device plugins in an evening.
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
//! (`path` leads from the crate to Roost's sources.) After `rustup target add wasm32-wasip2`, once, `cargo build
//! --release --target wasm32-wasip2` builds `target/wasm32-wasip2/release/coop_door.wasm` from a crate called
//! `coop-door`. In the host's `plugins` folder the file needs a hyphen again, because a plugin's name has no
//! underscores: `coop-door.wasm`. Its settings are in `coop-door.toml` beside it:
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
//! - A *job* is what a device declares: an id, a trigger, and the messages to publish. [`Job`] builds one.
//! - A *plan* is the list of all jobs that a device should have: [`Device::schedule_jobs`] returns it.
//! - A *run* is one occurrence of one job. It has an id that is never used again, which its messages carry.
//! - A *task* is a call to the plugin when a job is due or on request, for messages that are known only then: see
//!   [`Tasks`].
//! - A [`Context`] is the device that a call is about, with its time and its location.
//!
//! # What you can rely on
//!
//! - The host compares a plan with the previous one. Unchanged jobs continue; removed jobs have no further runs. How often
//!   a plan is made does not matter, and an occurrence never runs twice.
//! - A message is tried until the broker has it (or the device has [confirmed](Job::confirm) it), or until the job's
//!   retries are exhausted; the outcome is recorded. Once the first message of a run was sent, the others are sent
//!   too: a valve that was opened is closed.
//! - After an error or a panic the previous plan stays in force, and users see the text. A task that fails is tried again.
//!
//! # What it does not do
//!
//! - A plugin has no side effects: no files, no sockets, no messages but those of its jobs and tasks. Each call starts in a
//!   fresh instance, so nothing is kept from one to the next: equal settings on an equal day should give an equal plan.
//! - A message may arrive twice: QoS 1 allows it, and after a crash the host repeats messages that may not have arrived.
//!   Messages that set a state (`OPEN`) tolerate that; those that change it (`TOGGLE`) do not, and should be sent
//!   [`once`](Job::once).
//!
//! # Tests
//!
//! Plans and replies to tasks can be tested with a plain `cargo test`, with the calendar and the sun of the host: see
//! [`testing`].
#![warn(missing_docs)]

#[doc(hidden)]
pub mod bindings;
mod config;
mod context;
mod days;
mod error;
mod host;
mod job;
mod json_value;
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
    days::Days,
    error::{Error, Result},
    job::Job,
    json_value::JsonValue,
    matches::Matches,
    messages::Messages,
    sun::{Location, SunEvent},
    tasks::{Reply, Task, TaskDescription, Tasks},
    time::{Date, Instant, Local, Span, Time, Weekday, days, hours, milliseconds, minutes, seconds},
};

/// Compiles the examples of that page.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugins.md")]
struct Page;

/// A device, described by its settings.
///
/// Implement it for the type of the settings: the host merges the device's `config` over the plugin's, and serde
/// deserializes it into `Self`. An error names the wrong key. A plugin without settings is `struct Chime;`.
pub trait Device: serde::de::DeserializeOwned {
    /// Returns every job that the device should have from now on.
    ///
    /// Called when the plugin or its settings change and after each local midnight, so it must not matter how often.
    /// Recurring jobs continue by themselves; times that no trigger can express (holidays, tides, prices) are computed,
    /// and listed as [`Job::at`] up to [`Context::until`].
    ///
    /// # Errors
    /// Return an error if no plan can be made. The device then keeps its current plan.
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>>;
}

/// Exports the plugin: `roost_plugin_sdk::export!(CoopDoor);`, once per crate, with the type that implements
/// [`Device`]; `export!(CoopDoor, tasks)` if it implements [`Tasks`] as well.
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

        // Natively nothing calls it, but the bounds are checked.
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

/// The entry point of an exported plugin.
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
