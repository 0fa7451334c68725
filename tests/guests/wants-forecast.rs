//! A plugin that also imports an interface that no host has.
#![allow(unsafe_code, reason = "generated")]

#[allow(clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package weather:client@0.1.0;

            interface forecast {
                rain-mm: func() -> u32;
            }

            world with-forecast {
                include roost:device/device-plugin@1.0.0;
                import forecast;
            }
        ",
        generate_all,
    });
}

use bindings::{
    exports::roost::device::schedule::{Guest, Job},
    roost::device::types::Context,
    weather::client::forecast,
};

struct WantsForecast;

impl Guest for WantsForecast {
    fn schedule_jobs(_: Context) -> Result<Vec<Job>, String> {
        Err(format!("{} mm of rain", forecast::rain_mm()))
    }
}

bindings::export!(WantsForecast with_types_in bindings);
