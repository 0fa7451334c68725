//! A component, but not a plugin: it exports something else.
#![allow(unsafe_code, reason = "generated")]

#[allow(clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package kitchen:timer@0.1.0;

            interface egg {
                minutes: func(grams: u32) -> u32;
            }

            world timer {
                export egg;
            }
        ",
    });
}

struct Timer;

impl bindings::exports::kitchen::timer::egg::Guest for Timer {
    fn minutes(grams: u32) -> u32 {
        grams / 12
    }
}

bindings::export!(Timer with_types_in bindings);
